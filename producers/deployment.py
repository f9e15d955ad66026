"""Finds a deployment's stream and buckets in its stack outputs and waits until the stream is being read."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

_POLL_SECONDS = 2
_TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Target:
    """Names of what the producer writes to, and of the delivery stream that reads it."""

    stream: str
    delivery_stream: str
    raw_bucket: str
    quarantine_bucket: str


def find(cloudformation: Any, prefix: str) -> Target:
    """Read the outputs of the stacks `<prefix>-data-lake` and `<prefix>-streaming`.

    Raises LookupError if a stack or an output is missing.
    """
    lake = _outputs(cloudformation, f"{prefix}-data-lake", "RawBucketName", "QuarantineBucketName")
    streaming = _outputs(cloudformation, f"{prefix}-streaming", "StreamName", "DeliveryStreamName")
    return Target(
        stream=streaming["StreamName"],
        delivery_stream=streaming["DeliveryStreamName"],
        raw_bucket=lake["RawBucketName"],
        quarantine_bucket=lake["QuarantineBucketName"],
    )


def _outputs(cloudformation: Any, stack: str, *keys: str) -> dict[str, str]:
    try:
        described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        raise LookupError(f"there is no stack {stack} in this account and region: deploy it first") from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    missing = [key for key in keys if key not in outputs]
    if missing:
        raise LookupError(f"the stack {stack} has no output {', '.join(missing)}: deploy it again")
    return outputs


def wait_until_read(
    kinesis: Any, firehose: Any, target: Target, *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Return once stream and delivery stream are ACTIVE; raises TimeoutError, or RuntimeError if one failed.

    Firehose reads from LATEST: what is put before the delivery stream is ACTIVE never reaches it.
    """

    def stream_status() -> str:
        described = kinesis.describe_stream_summary(StreamName=target.stream)
        return described["StreamDescriptionSummary"]["StreamStatus"]

    def delivery_status() -> str:
        described = firehose.describe_delivery_stream(DeliveryStreamName=target.delivery_stream)
        return described["DeliveryStreamDescription"]["DeliveryStreamStatus"]

    _wait(f"stream {target.stream}", stream_status, sleep)
    _wait(f"delivery stream {target.delivery_stream}", delivery_status, sleep)


def _wait(name: str, status: Callable[[], str], sleep: Callable[[float], None]) -> None:
    for _ in range(_TIMEOUT_SECONDS // _POLL_SECONDS):
        current = status()
        if current in ("ACTIVE", "UPDATING"):
            return
        if current != "CREATING":
            raise RuntimeError(f"the {name} is {current}: look at its events in the console and deploy again")
        sleep(_POLL_SECONDS)
    raise TimeoutError(f"the {name} is not ACTIVE after {_TIMEOUT_SECONDS} s: look at its stack's events")
