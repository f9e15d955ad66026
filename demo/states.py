"""Counts from the stream and the table whether each flight's item is its newest; shares no code with what it judges."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

READ, GET = 10_000, 100  # records of a GetRecords, items of a BatchGetItem, at most
TEXTS = ("status", "carrier", "tailnum", "origin", "dest", "scheduled")
NUMBERS = ("flight", "dep_delay", "arr_delay")


def check(dynamodb: Any, kinesis: Any, *, table: str, stream: str, sent: Mapping[bytes, str]) -> dict[str, list[str]]:
    """Hold the table against the undamaged flights `sent`, as event ids by the hash of their bytes; returns findings.

    An item has to be the one of its flight's last copy in the stream, which must still hold them all, and say what
    those bytes say. It takes 0.4 KB of memory an event.
    """
    newest: dict[str, tuple[int, int]] = {}
    for sequence, data in records(kinesis, stream):
        event_id = sent.get(hashlib.sha256(data).digest())
        if event_id and sequence > newest.get(event_id, (0, 0))[0]:
            newest[event_id] = (sequence, hash(told(json.loads(data))))
    missing, other = set(newest), []
    for item in items(dynamodb, table, iter(newest)):
        event_id = item["event_id"]["S"]
        missing.discard(event_id)
        if (int(item["version"]["S"].rpartition(".")[2]), hash(said(item))) != newest[event_id]:
            other.append(event_id)
    # AWS counts a table's items every six hours, the local cloud at once.
    more = dynamodb.describe_table(TableName=table)["Table"]["ItemCount"] - len(newest) + len(missing)
    return {
        "flights are not in the stream any more": sorted(set(sent.values()) - newest.keys()),
        "items of the table are not what the last copy of their flight says": other,
        "flights have no item in the table": sorted(missing),
        "items of the table are of no undamaged flight": ["?"] * more,
    }


def records(kinesis: Any, stream: str) -> Iterator[tuple[int, bytes]]:
    """Sequence number and bytes of each record that the stream holds."""
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            answer = kinesis.get_records(ShardIterator=iterator, Limit=READ)
            yield from ((int(record["SequenceNumber"]), record["Data"]) for record in answer["Records"])
            iterator = answer["MillisBehindLatest"] and answer.get("NextShardIterator")


def items(dynamodb: Any, table: str, event_ids: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The items of these flights that are there."""
    while keys := [{"event_id": {"S": event_id}} for event_id in islice(event_ids, GET)]:
        wanted = {table: {"Keys": keys, "ConsistentRead": True}}
        while wanted:
            answer = dynamodb.batch_get_item(RequestItems=wanted)
            yield from answer["Responses"].get(table, [])
            wanted = answer["UnprocessedKeys"]


def told(event: dict[str, Any]) -> tuple[Any, ...]:
    """What an item has to say of an event."""
    known = "arrived" if event["arr_time"] is not None else "scheduled" if event["dep_time"] is None else "departed"
    hour = datetime.fromisoformat(event["time_hour"]).replace(minute=event["minute"]).astimezone(UTC)
    state = event | {"status": known, "scheduled": f"{hour:%Y-%m-%dT%H:%MZ}"}
    return tuple(state[name] for name in (*TEXTS, *NUMBERS))


def said(item: dict[str, Any]) -> tuple[Any, ...]:
    """What an item says; an attribute that is not there is None."""
    texts = (item[name]["S"] if name in item else None for name in TEXTS)
    numbers = (float(item[name]["N"]) if name in item else None for name in NUMBERS)
    return (*texts, *numbers)
