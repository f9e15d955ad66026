"""What every hook shares: one hook fills one gap of the pinned emulator, and `install()` puts it in place."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

EMULATOR = "ministack 1.5.33"


def state_folder() -> Path:
    """The running local cloud's folder, where images and job files go. It is emptied at each start."""
    return Path(os.environ["MILLRACE_STATE"])


def swap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace `owner.name` (a module's attribute or a dict's key) by `make(original)`.

    Raises RuntimeError when the name isn't there: the emulator isn't the version the hook was written for.
    """
    present = name in owner if isinstance(owner, dict) else hasattr(owner, name)
    if not present:
        where = getattr(owner, "__name__", "a table")
        raise RuntimeError(
            f"{where} has no {name!r}: the hooks fit {EMULATOR}. Install the pinned requirements-dev.txt, "
            "or adapt the hook that patches it to the version installed."
        )
    if isinstance(owner, dict):
        owner[name] = make(owner[name])
    else:
        setattr(owner, name, make(getattr(owner, name)))
