"""The records behind the SageMaker API, by account and region, and the events that tell of them."""

import json
import re
import threading
import time
from datetime import UTC, datetime
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region
from ministack.services import eventbridge

Record = dict[str, Any]
lock = threading.RLock()  # each operation runs on a thread of its own: what reads before it writes holds this
_records = AccountRegionScopedDict()  # (noun, ARN) -> record


class SageMakerError(Exception):
    """An error the client gets: AWS's code and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> SageMakerError:
    """A ValidationException."""
    return SageMakerError("ValidationException", message)


def split(noun: str, by: str) -> str:
    """TrainingJob is "Training Job" in events, "training-job" in ARNs, TRAINING_JOB in an endpoint's states."""
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


def lookup(noun: str, reference: str) -> Record | None:
    """The record of a name or an ARN, None when there is none."""
    return _records.get((noun, reference if reference.startswith("arn:") else arn(noun, reference)))


def find(noun: str, reference: str) -> Record:
    """The record of a name or an ARN. Raises ResourceNotFound."""
    if (record := lookup(noun, reference)) is None:
        raise SageMakerError("ResourceNotFound", f'Could not find {split(noun, " ").lower()} "{reference}".')
    return record


def tagged(target: str) -> Record:
    """The record with this ARN, whatever it is. Raises ResourceNotFound."""
    return find(next((noun for noun, key in _records.keys() if key == target), "resource"), target)  # noqa: SIM118


def records(noun: str) -> list[Record]:
    """Every record of one noun, oldest first."""
    return [record for (kind, _), record in _records.items() if kind == noun]


def delete(noun: str, reference: str) -> Record:
    """Remove a record and answer it. Raises ResourceNotFound."""
    with lock:
        return _records.pop((noun, find(noun, reference)[f"{noun}Arn"]))


def update(record: Record, **fields: Any) -> None:
    """Change a record and its LastModifiedTime."""
    record.update(fields, LastModifiedTime=time.time())


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
    entry = {"Source": "aws.sagemaker", "DetailType": f"SageMaker {detail_type}", "Detail": json.dumps(detail)}
    eventbridge._put_events({"Entries": [{**entry, "Resources": [*resources]}]}, allow_aws_source=True)
