"""The records behind the SageMaker API, by account and region, the threads that work on them, and their events."""

import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ministack.core.concurrency import spawn_background
from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region

from local.hooks import events

Record = dict[str, Any]
lock = threading.RLock()  # each operation runs on a thread of its own: what reads before it writes holds this
_records = AccountRegionScopedDict()  # (noun, ARN) -> record
_workers: dict[str, threading.Thread] = {}  # ARN -> what works on its record


class SageMakerError(Exception):
    """An error the client gets, or the reason why something fails later: AWS's code and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = f"{code}: {message}"[:1024]


def invalid(message: str) -> SageMakerError:
    """A ValidationException."""
    return SageMakerError("ValidationException", message)


def split(noun: str, by: str) -> str:
    """TrainingJob is "Training Job" in events, "training-job" in ARNs; InService is IN_SERVICE in events."""
    return re.sub(r"(?<!^)(?=[A-Z])", by, noun)


def arn(noun: str, name: str) -> str:
    """The ARN of a name. An execution's name is `<pipeline>/execution/<id>`."""
    kind = "pipeline" if noun == "PipelineExecution" else split(noun, "-").lower()
    return f"arn:aws:sagemaker:{get_region()}:{get_account_id()}:{kind}/{name}"


def create(noun: str, name: str, request: Record, **fields: Any) -> Record:
    """Store a request with its name, ARN and times. Raises ResourceInUse when the name is taken."""
    key, now = (noun, arn(noun, name)), time.time()
    own = {f"{noun}Name": name, f"{noun}Arn": key[1], "CreationTime": now, "LastModifiedTime": now}
    with lock:
        if key in _records:
            raise SageMakerError("ResourceInUse", f'Cannot create already existing "{key[1]}".')
        _records[key] = record = {**request, **own, **fields}
    return record


def find(noun: str, reference: str) -> Record:
    """The record of a name or an ARN. Raises ResourceNotFound."""
    record = _records.get((noun, reference if reference.startswith("arn:") else arn(noun, reference)))
    if record is None:
        raise SageMakerError("ResourceNotFound", f'Could not find {split(noun, " ").lower()} "{reference}".')
    return record


def records(noun: str) -> list[Record]:
    """Every record of one noun, oldest first."""
    return [record for (kind, _), record in _records.items() if kind == noun]


def delete(noun: str, reference: str) -> Record:
    """Remove a record and answer it. Raises ResourceNotFound."""
    with lock:
        return _records.pop((noun, find(noun, reference)[f"{noun}Arn"]))


def work(arn: str, function: Callable[[], None], ended: Callable[[str], None]) -> None:
    """Run what changes a record on a thread of its own, then `ended` with the reason of a failure, or with ""."""

    def supervised() -> None:
        reason = "InternalServerError: the local cloud's log says more."
        try:
            function()
            reason = ""
        except SageMakerError as error:
            reason = error.reason
        finally:
            ended(reason)

    _workers[arn] = spawn_background(supervised, thread_name=arn.rpartition(":")[2])


def settled(noun: str, reference: str) -> Record:
    """A record, once what works on it, if anything, has ended. Raises ResourceNotFound."""
    record = find(noun, reference)
    if worker := _workers.get(record[f"{noun}Arn"]):
        worker.join()
    return record


def clear() -> None:
    """Forget everything."""
    _records.clear()


def iso(seconds: float) -> str:
    """An epoch time as 2026-01-31T12:00:00Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def emit(detail_type: str, detail: Record, *resources: str) -> None:
    """Put an aws.sagemaker event on the default bus.

    Shapes: docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
    """
    events.emit("aws.sagemaker", f"SageMaker {detail_type}", detail, *resources)
