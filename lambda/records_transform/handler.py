"""Firehose transform: events of its CONTRACT go on to Parquet by day, all else to quarantine with its reason."""

import base64
import functools
import json
import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import fast
import logic
import msgspec
import store

from contracts.events import CONTRACTS
from contracts.reader import Rejected

# Kept of the invocation's time to encode and send the answer, up to 6 MB.
_ANSWER_SECONDS = 10


class _Record(msgspec.Struct, gc=False, rename="camel"):
    """What is read of a record; msgspec decodes base64 twice as fast as the standard library, a batch in one call."""

    record_id: str
    data: bytes
    approximate_arrival_timestamp: float | None = None


@functools.cache
def _parser(contract: str) -> Callable[[bytes], logic.Curated | Rejected]:
    return fast.parser(CONTRACTS[contract])


@functools.cache
def _quarantine() -> store.Quarantine:
    return store.Quarantine(os.environ["QUARANTINE_BUCKET"])


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer a Firehose batch record by record.

    A valid event is Ok with its partition keys; a rejected record is Dropped once quarantine holds it, and
    ProcessingFailed if that write failed or had no time, so that Firehose delivers its bytes to the error prefix.
    The line that is printed then is a metric as well: neither Lambda nor Firehose counts these records.
    """
    parse = _parser(os.environ["CONTRACT"])
    prefix = os.environ["QUARANTINE_PREFIX"]
    records = msgspec.convert(event["records"], list[_Record])
    outcomes = [parse(record.data) for record in records]
    curated = logic.Curated
    # Bytes become base64.
    lines = iter(msgspec.to_builtins([outcome.data for outcome in outcomes if type(outcome) is curated]))
    results: list[dict[str, Any]] = []
    documents: dict[str, bytes] = {}
    rejected: list[tuple[dict[str, Any], str]] = []
    counts: Counter[str] = Counter()
    for record, outcome in zip(records, outcomes, strict=True):
        if type(outcome) is curated:
            metadata = {"partitionKeys": outcome.partition}
            result = {"recordId": record.record_id, "result": "Ok", "data": next(lines), "metadata": metadata}
        else:
            counts[outcome.reason] += 1
            result = {"recordId": record.record_id, "data": base64.b64encode(record.data).decode()}
            key, body = logic.quarantine_document(record.data, outcome, _received_at(record), prefix)
            documents[key] = body
            rejected.append((result, key))
        results.append(result)
    seconds = context.get_remaining_time_in_millis() / 1000 - _ANSWER_SECONDS
    failed = _quarantine().put(documents, seconds) if documents else set()
    for result, key in rejected:
        result["result"] = "ProcessingFailed" if key in failed else "Dropped"
    done = {
        "records": len(results),
        "quarantine_failed": len(failed),
        "curated": len(results) - len(rejected),
        **counts,
    }
    print(json.dumps(done | _metric("quarantine_failed", context.function_name) if failed else done))
    return {"records": results}


def _metric(name: str, function: str) -> dict[str, Any]:
    """What makes a number in a line a metric of the function.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    directive = {
        "Namespace": os.environ["METRIC_NAMESPACE"],
        "Dimensions": [["FunctionName"]],
        "Metrics": [{"Name": name, "Unit": "Count"}],
    }
    about = {"Timestamp": round(datetime.now(UTC).timestamp() * 1000), "CloudWatchMetrics": [directive]}
    return {"_aws": about, "FunctionName": function}


def _received_at(record: _Record) -> datetime:
    """When the record arrived, so that a retried batch writes the same document; else now."""
    arrived = record.approximate_arrival_timestamp
    return datetime.fromtimestamp(arrived / 1000, UTC) if arrived else datetime.now(UTC)
