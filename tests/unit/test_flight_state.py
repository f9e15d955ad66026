"""The flight-state function: the newest stays, whatever comes twice, late or damaged, and faults are tried again."""

import base64
import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from contracts.events import FLIGHTS
from contracts.reader import Rejected, read
from producers import damage, flights
from tests.unit.invocation import context, create_table
from tests.unit.near_events import near_events, near_lines

TABLE = "flights"
ARRIVED = 1_700_000_000.5
FLIGHT = next(flights.events(limit=1))
SCHEDULED = FLIGHT | dict.fromkeys(("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"))
DEPARTED = SCHEDULED | {"dep_time": 517, "dep_delay": 2.0}
CONTEXT = context("update")
Modules = dict[str, ModuleType]


@pytest.fixture
def modules(import_lambda: Callable[[str], Modules], monkeypatch: pytest.MonkeyPatch) -> Iterator[Modules]:
    """The function's modules, and its table."""
    for name, value in (
        ("TABLE_NAME", TABLE),
        ("KEEP_DAYS", "30"),
        ("POWERTOOLS_METRICS_NAMESPACE", "Millrace/FlightState"),
        ("POWERTOOLS_SERVICE_NAME", "flight-state"),
    ):
        monkeypatch.setenv(name, value)
    found = import_lambda("flight_state")
    with mock_aws():
        create_table(TABLE, "event_id")
        found["handler"]._table.cache_clear()
        yield found
    found["handler"]._table.cache_clear()


def batch(*events: dict[str, Any] | bytes, first: int = 1) -> dict[str, Any]:
    """Events, or bytes, as Lambda gives them: their sequence numbers count up from `first`."""
    return {
        "Records": [
            {
                "eventID": f"shardId-000000000000:{number}",
                "kinesis": {
                    "sequenceNumber": str(number),
                    "approximateArrivalTimestamp": ARRIVED,
                    "data": base64.b64encode(each if isinstance(each, bytes) else damage.encode(each)).decode(),
                },
            }
            for number, each in enumerate(events, first)
        ]
    }


def answered(modules: Modules, event: dict[str, Any]) -> list[str]:
    """The sequence numbers that the function answers as failed."""
    answer = modules["handler"].handler(event, CONTEXT)
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]


def table() -> dict[str, dict[str, Any]]:
    """The table's items by event_id."""
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=TABLE)
    return {item["event_id"]["S"]: item for page in pages for item in page["Items"]}


def counted(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """The metrics of the last batch."""
    lines = [
        json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line and "Written" in line
    ]
    return {name: lines[-1][name][0] for name in ("Written", "Stale", "Rejected", "Failed")}


def test_an_event_is_the_state_of_its_flight(modules: Modules, capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(modules, batch(FLIGHT)) == []
    assert table() == {
        "2013-01-01-UA-1545-EWR": {
            "event_id": {"S": "2013-01-01-UA-1545-EWR"},
            "version": {"S": "2.001.1"},
            "status": {"S": "arrived"},
            "carrier": {"S": "UA"},
            "flight": {"N": "1545"},
            "tailnum": {"S": "N14228"},
            "origin": {"S": "EWR"},
            "dest": {"S": "IAH"},
            "scheduled": {"S": "2013-01-01T10:15Z"},
            "dep_delay": {"N": "2"},
            "arr_delay": {"N": "11"},
            "expires_at": {"N": str(1_700_000_000 + 30 * 86_400)},
        }
    }
    assert counted(capsys) == {"Written": 1, "Stale": 0, "Rejected": 0, "Failed": 0}


def test_less_known_never_replaces_more_whenever_it_comes(modules: Modules, capsys: pytest.CaptureFixture[str]) -> None:
    """As from another shard, or sent again by hand: its sequence number is greater all the same."""
    other = FLIGHT | {"event_id": "another"}
    assert answered(modules, batch(FLIGHT, first=7)) == []
    assert answered(modules, batch(SCHEDULED, other, first=8)) == []
    assert answered(modules, batch(DEPARTED, first=900)) == []
    assert {name: item["version"]["S"] for name, item in table().items()} == {
        FLIGHT["event_id"]: "2.001.7",
        "another": "2.001.9",
    }
    assert counted(capsys) == {"Written": 0, "Stale": 1, "Rejected": 0, "Failed": 0}


def test_of_what_knows_as_much_the_later_stays(modules: Modules) -> None:
    corrected = FLIGHT | {"arr_delay": 25.0}
    for event in (batch(corrected, first=10), batch(FLIGHT, first=9)):
        assert answered(modules, event) == []
    assert table()[FLIGHT["event_id"]]["arr_delay"] == {"N": "25"}


def test_a_flights_events_in_one_batch_are_one_write(modules: Modules, capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(modules, batch(SCHEDULED, FLIGHT, DEPARTED, FLIGHT)) == []
    assert counted(capsys)["Written"] == 1
    assert table()[FLIGHT["event_id"]]["version"] == {"S": "2.001.4"}


def test_a_batch_given_again_changes_nothing(modules: Modules) -> None:
    event = batch(*flights.events(limit=120))
    assert answered(modules, event) == []
    before = table()
    assert answered(modules, event) == []
    assert table() == before
    assert len(before) == 120


def test_damaged_records_are_counted_and_stop_nothing(modules: Modules, capsys: pytest.CaptureFixture[str]) -> None:
    ways = [way for kind in damage.DAMAGES.values() for way in kind]
    good = [*flights.events(limit=40)]
    damaged = [ways[number % len(ways)](event) for number, event in enumerate(good)]
    assert answered(modules, batch(*damaged, *good)) == []
    assert table().keys() == {event["event_id"] for event in good}
    assert counted(capsys) == {"Written": 40, "Stale": 0, "Rejected": 40, "Failed": 0}


def test_what_the_contract_rejects_is_rejected_and_nothing_else(modules: Modules) -> None:
    logic = modules["logic"]

    @settings(max_examples=200)
    @given(near_events("flights") | near_lines("flights") | st.binary())
    def check(data: bytes) -> None:
        event, flight = read(data, FLIGHTS), logic.read(data)
        assert flight == event if isinstance(event, Rejected) else event.items() >= flight.model_dump().items()

    check()


class Faulty:
    """A client whose calls of one number, from 0, fail with an error code."""

    def __init__(self, client: Any, code: str, *calls: int) -> None:
        self.client, self.exceptions, self.code, self.calls, self.made = client, client.exceptions, code, calls, 0

    def transact_write_items(self, **request: Any) -> Any:
        self.made += 1
        if self.made - 1 in self.calls:
            response: dict[str, Any] = {"Error": {"Code": self.code, "Message": "on purpose"}}
            if self.code == "TransactionCanceledException":
                reasons = [{"Code": "TransactionConflict"}, *({"Code": "None"} for _ in request["TransactItems"][1:])]
                raise self.exceptions.TransactionCanceledException(response | {"CancellationReasons": reasons}, "x")
            raise ClientError(response, "TransactWriteItems")
        return self.client.transact_write_items(**request)


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalServerError", "TransactionCanceledException"])
def test_after_a_fault_the_rest_is_tried_again(
    modules: Modules, code: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = Faulty(boto3.client("dynamodb"), code, 1)
    monkeypatch.setattr(modules["handler"]._table(), "_client", faulty)
    events = [*flights.events(limit=250)]
    failed = answered(modules, batch(*events))
    assert failed == [str(number) for number in range(101, 251)]
    assert counted(capsys) == {"Written": 100, "Stale": 0, "Rejected": 0, "Failed": 150}
    assert faulty.made == 2
    assert answered(modules, batch(*events[100:], first=101)) == []
    assert table().keys() == {event["event_id"] for event in events}


def test_an_earlier_event_of_a_flight_fails_with_its_later_one(
    modules: Modules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda goes on from the lowest number: it has to be before everything that is not in the table."""
    others = [event for event in flights.events(limit=101) if event["event_id"] != FLIGHT["event_id"]]
    faulty = Faulty(boto3.client("dynamodb"), "ThrottlingException", 0)
    monkeypatch.setattr(modules["handler"]._table(), "_client", faulty)
    assert min(map(int, answered(modules, batch(b"damaged", SCHEDULED, *others[:50], FLIGHT)))) == 2


def test_a_batch_that_fails_whole_is_an_error(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = Faulty(boto3.client("dynamodb"), "ThrottlingException", 0)
    monkeypatch.setattr(modules["handler"]._table(), "_client", faulty)
    with pytest.raises(BatchProcessingError):
        answered(modules, batch(FLIGHT))


def test_a_record_that_the_code_fails_on_fails_alone(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> None:
    tell, events = modules["logic"].state, [*flights.events(limit=5)]

    def poisoned(flight: Any, *rest: Any) -> Any:
        if flight.event_id == events[2]["event_id"]:
            raise ZeroDivisionError
        return tell(flight, *rest)

    monkeypatch.setattr(modules["logic"], "state", poisoned)
    assert answered(modules, batch(*events)) == ["3"]
    assert table().keys() == {event["event_id"] for event in events if event != events[2]}


def test_versions_sort_by_what_is_known_and_then_by_number(modules: Modules) -> None:
    ranks, version = {"scheduled": 0, "departed": 1, "arrived": 2}, modules["logic"].version

    @given(st.lists(st.tuples(st.sampled_from([*ranks]), st.integers(0, 10**129 - 1)), min_size=2))
    def check(told: list[tuple[str, int]]) -> None:
        by_version = sorted(told, key=lambda each: version(each[0], str(each[1])))
        assert by_version == sorted(told, key=lambda each: (ranks[each[0]], each[1]))

    check()
