"""What every hook shares: one hook fills one gap of the pinned emulator, and `install()` puts it in place."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from ministack.core.responses import get_account_id, get_region

EMULATOR = "ministack 1.5.33"
Answer = tuple[int, dict[str, str], Any]  # status, headers, body
Handler = Callable[[dict[str, Any]], Answer]  # of one operation, in the emulator's tables


def state_folder() -> Path:
    """The running local cloud's folder, where images and job files go. It is emptied at a start without `resume`."""
    return Path(os.environ["MILLRACE_STATE"])


def swap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace `owner.name` (a module's attribute or a dict's key) by `make(original)`.

    Raises RuntimeError when the name isn't there: the emulator isn't the version the hook was written for.
    """
    table = owner if isinstance(owner, dict) else vars(owner)
    if name not in table:
        raise RuntimeError(
            f"{getattr(owner, '__name__', 'a table')} has no {name!r}: the hooks fit {EMULATOR}. Install the pinned "
            "requirements-dev.txt, or adapt the hook that patches it to the version installed."
        )
    table[name] = make(table[name])


def wrap(owner: Any, name: str, call: Callable[..., Any]) -> None:
    """Replace `owner.name` by `call`, which gets the original before the arguments. Raises as `swap` does."""
    swap(owner, name, lambda original: functools.partial(call, original))


def root_environment() -> dict[str, str]:
    """For programs that should see this local cloud, as the root of the account of the request being answered."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
        "AWS_REGION": get_region(),
        "AWS_DEFAULT_REGION": get_region(),
        "AWS_ACCESS_KEY_ID": get_account_id(),
        "AWS_SECRET_ACCESS_KEY": "local",
    }


def client(service: str) -> Any:
    """A boto3 client of this local cloud, for the account and region of the request being answered.

    Never to be called on the event loop: the same loop answers it.
    """
    return _client(service, get_account_id(), get_region())


@functools.cache
def _client(service: str, account: str, region: str) -> Any:
    endpoint = f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}"
    session = boto3.Session(aws_access_key_id=account, aws_secret_access_key="local", region_name=region)  # noqa: S106
    return session.client(service, endpoint_url=endpoint)
