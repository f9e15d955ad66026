"""The flight-state function on a stream of the local cloud: shuffled, repeated and damaged events, the right states."""

import io
import json
import random
import time
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from local.tools import ROOT
from producers import damage, flights

pytestmark = pytest.mark.local

Event = dict[str, Any]
FLIGHTS, LAST, SEED = 300, 20, 2013
OUTCOME = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")


def told(flight: Event, chance: random.Random) -> tuple[list[Event], Event]:
    """Events of a flight in any order, some of them twice, and the one that says most."""
    scheduled = flight | dict.fromkeys(OUTCOME)
    departed = scheduled | {name: flight[name] for name in OUTCOME[:2]}
    events = [scheduled, departed, flight][: chance.randint(1, 3)]
    most = events[-1]
    events += chance.choices(events, k=2)
    chance.shuffle(events)
    return events, most


def state(item: dict[str, Any]) -> tuple[Any, ...]:
    """What an item of the table says, as `expected` does."""
    number = {name: float(item[name]["N"]) if name in item else None for name in ("dep_delay", "arr_delay")}
    return item["status"]["S"], item["dest"]["S"], number["dep_delay"], number["arr_delay"]


def expected(event: Event) -> tuple[Any, ...]:
    """The state that an event tells of, without the function's code."""
    status = "scheduled" if event["dep_time"] is None else "departed" if event["arr_time"] is None else "arrived"
    return status, event["dest"], event["dep_delay"], event["arr_delay"]


def test_the_table_holds_what_is_known_of_every_flight(client: Callable[[str], Any]) -> None:
    chance = random.Random(SEED)  # noqa: S311  reproducible, not secret
    ways = [way for kind in damage.DAMAGES.values() for way in kind]
    records, known = [], {}
    first, last = (found := [*flights.events(limit=FLIGHTS)])[:-LAST], found[-LAST:]
    for flight in first:
        events, most = told(flight, chance)
        known[flight["event_id"]] = expected(most)
        records += [damage.encode(event) for event in events]
        records += [chance.choice(ways)(flight | {"event_id": "damaged"})]
    chance.shuffle(records)
    # When these are in the table, all before them has been read: some are in each shard.
    records += map(damage.encode, last)
    known |= {flight["event_id"]: expected(flight) for flight in last}

    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        for path in (ROOT / "lambda" / "flight_state").glob("*.py"):
            archive.write(path, path.name)
        for path in (ROOT / "contracts").glob("*.py"):
            archive.write(path, path.relative_to(ROOT))
    dynamodb, kinesis = client("dynamodb"), client("kinesis")
    dynamodb.create_table(
        TableName="flight-state", BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "event_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "event_id", "AttributeType": "S"}],
    )  # fmt: skip
    variables = {"TABLE_NAME": "flight-state", "KEEP_DAYS": "1", "POWERTOOLS_METRICS_NAMESPACE": "Millrace"}
    client("lambda").create_function(
        FunctionName="flight-state", Runtime="python3.14", Handler="handler.handler", Timeout=60,
        Role="arn:aws:iam::000000000000:role/state", Code={"ZipFile": code.getvalue()},
        Environment={"Variables": variables},
    )  # fmt: skip
    kinesis.create_stream(StreamName="flight-events", ShardCount=2)
    summary = kinesis.describe_stream_summary(StreamName="flight-events")["StreamDescriptionSummary"]
    client("lambda").create_event_source_mapping(
        FunctionName="flight-state", EventSourceArn=summary["StreamARN"], StartingPosition="TRIM_HORIZON",
        BatchSize=100, MaximumBatchingWindowInSeconds=1, MaximumRetryAttempts=2, BisectBatchOnFunctionError=True,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )  # fmt: skip
    for start in range(0, len(records), 500):
        entries = [{"Data": data, "PartitionKey": str(chance.random())} for data in records[start : start + 500]]
        kinesis.put_records(StreamName="flight-events", Records=entries)

    deadline = time.monotonic() + 60
    while (found := table(dynamodb)) != known:
        assert time.monotonic() < deadline, json.dumps({name: (found.get(name), known[name]) for name in known})[:500]
        time.sleep(0.2)


def table(dynamodb: Any) -> dict[str, tuple[Any, ...]]:
    """The table's states by flight."""
    pages = dynamodb.get_paginator("scan").paginate(TableName="flight-state")
    return {item["event_id"]["S"]: state(item) for page in pages for item in page["Items"]}
