"""Firehose transform: events of its CONTRACT go on to Parquet by day, all else to quarantine with its reason."""

import base64
import functools
import json
import os
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import logic
import store
from contract import CONTRACTS

# Kept of the invocation's time to encode and send the answer, up to 6 MB.
_ANSWER_SECONDS = 10


@functools.cache
def _quarantine() -> store.Quarantine:
    return store.Quarantine(os.environ["QUARANTINE_BUCKET"])


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer a Firehose batch record by record.

    A valid event is Ok with its partition keys; a rejected record is Dropped once quarantine holds it, and
    ProcessingFailed if that write failed or had no time, so that Firehose delivers its bytes to the error prefix.
    """
    contract = CONTRACTS[os.environ["CONTRACT"]]
    prefix = os.environ["QUARANTINE_PREFIX"]
    results: list[dict[str, Any]] = []
    documents: dict[str, bytes] = {}
    dropped: list[tuple[dict[str, Any], str]] = []
    counts: Counter[str] = Counter()
    for record in event["records"]:
        data = base64.b64decode(record["data"])
        outcome = logic.parse(data, contract)
        result = {"recordId": record["recordId"], "data": record["data"]}
        results.append(result)
        if isinstance(outcome, logic.Curated):
            counts["curated"] += 1
            result["result"] = "Ok"
            result["data"] = base64.b64encode(outcome.data).decode()
            result["metadata"] = {"partitionKeys": outcome.partition}
        else:
            counts[outcome.reason] += 1
            key, body = logic.quarantine_document(data, outcome, _received_at(record), prefix)
            documents[key] = body
            dropped.append((result, key))
    seconds = context.get_remaining_time_in_millis() / 1000 - _ANSWER_SECONDS
    failed = _quarantine().put(documents, seconds) if documents else set()
    for result, key in dropped:
        result["result"] = "ProcessingFailed" if key in failed else "Dropped"
    print(json.dumps({"records": len(results), "quarantine_failed": len(failed), **counts}))
    return {"records": results}


def _received_at(record: dict[str, Any]) -> datetime:
    """When the record arrived, so that a retried batch writes the same document; else now."""
    arrived = record.get("approximateArrivalTimestamp")
    return datetime.fromtimestamp(arrived / 1000, UTC) if arrived else datetime.now(UTC)
