"""Finds a deployment's streams and buckets in its stack outputs and waits until the streams are being read."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from command_line.deployment import outputs

_OUTPUTS_OF = {"weather": "Weather", "flights": ""}  # what the outputs' names of each source begin with
_POLL_SECONDS = 2
_TIMEOUT_SECONDS = 600


class Stream(NamedTuple):
    """Names of a stream and of the delivery stream that reads it."""

    name: str
    delivery: str


class FailedStreamError(RuntimeError):
    """A stream or delivery stream that is not there to be used, and will not be by itself."""


@dataclass(frozen=True)
class Target:
    """Names of what the producer writes to: the stream of each source, and buckets."""

    streams: dict[str, Stream]
    raw_bucket: str
    quarantine_bucket: str


def find(cloudformation: Any, prefix: str) -> Target:
    """Read the outputs of the stacks `<prefix>-data-lake` and `<prefix>-streaming`.

    Raises NotDeployedError if a stack or an output is missing.
    """
    lake = outputs(cloudformation, f"{prefix}-data-lake", "RawBucketName", "QuarantineBucketName")
    names = {source: (f"{of}StreamName", f"{of}DeliveryStreamName") for source, of in _OUTPUTS_OF.items()}
    streaming = outputs(cloudformation, f"{prefix}-streaming", *(key for keys in names.values() for key in keys))
    return Target(
        streams={source: Stream(*(streaming[key] for key in keys)) for source, keys in names.items()},
        raw_bucket=lake["RawBucketName"],
        quarantine_bucket=lake["QuarantineBucketName"],
    )


def wait_until_read(
    kinesis: Any, firehose: Any, target: Target, *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Return once streams and delivery streams are ACTIVE; raises TimeoutError, or FailedStreamError.

    Firehose reads from LATEST: what is put before the delivery stream is ACTIVE never reaches it.
    """

    def stream_status(name: str) -> str:
        described = kinesis.describe_stream_summary(StreamName=name)
        return described["StreamDescriptionSummary"]["StreamStatus"]

    def delivery_status(name: str) -> str:
        described = firehose.describe_delivery_stream(DeliveryStreamName=name)
        return described["DeliveryStreamDescription"]["DeliveryStreamStatus"]

    for stream in target.streams.values():
        _wait("stream", stream.name, stream_status, sleep)
        _wait("delivery stream", stream.delivery, delivery_status, sleep)


def _wait(kind: str, name: str, status: Callable[[str], str], sleep: Callable[[float], None]) -> None:
    for _ in range(_TIMEOUT_SECONDS // _POLL_SECONDS):
        current = status(name)
        if current in ("ACTIVE", "UPDATING"):
            return
        if current != "CREATING":
            raise FailedStreamError(f"the {kind} {name} is {current}: look at its stack's events and deploy again")
        sleep(_POLL_SECONDS)
    raise TimeoutError(f"the {kind} {name} is not ACTIVE after {_TIMEOUT_SECONDS} s: look at its stack's events")
