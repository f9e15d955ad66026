"""The contracts' CSV: a line is the event that JSON of the same values is, or rejected with its reason."""

from typing import Any

import pytest

from contracts.events import CONTRACTS, FLIGHTS
from contracts.reader import Rejected, read
from producers import flights, weather
from tests.unit.near_events import row

EVENT = next(flights.events())


def line(**fields: object) -> bytes:
    return row(*{**EVENT, **fields}.values())


def rejected(data: bytes) -> Rejected:
    outcome = read(data, FLIGHTS)
    assert isinstance(outcome, Rejected), outcome
    return outcome


@pytest.mark.parametrize(
    ("name", "events"), [("flights", flights.events(days=[8], limit=500)), ("weather", weather.events(days=[8]))]
)
def test_csv_of_an_event_is_that_event(name: str, events: Any) -> None:
    for event in events:
        assert read(row(*event.values()), CONTRACTS[name]) == event


@pytest.mark.parametrize(
    "data",
    [
        line().rstrip(),
        line().replace(b"\n", b"\r\n"),
        line() + b"\n",
        line(distance=1400),
        line(distance="1.4e3"),
        b",".join(b'"%s"' % value for value in line().rstrip().split(b",")),
        row(*EVENT) + line(),
        row(*reversed(EVENT)) + row(*reversed(EVENT.values())),
    ],
    ids=["no end", "CRLF", "empty line", "integer", "exponent", "quotes", "header", "header of another order"],
)
def test_a_line_may_be_written_in_other_ways(data: bytes) -> None:
    assert read(data, FLIGHTS) == EVENT


@pytest.mark.parametrize("null", ["NA", ""])
def test_na_and_nothing_are_null(null: str) -> None:
    names = ("tailnum", "dep_time", "arr_delay")
    assert read(line(**dict.fromkeys(names, null)), FLIGHTS) == EVENT | dict.fromkeys(names)


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (line(carrier=None), "missing_field", "carrier is required"),
        (line(event_id=""), "missing_field", "event_id is required"),
        (line(flight="x"), "wrong_type", "flight is string, not integer"),
        (line(flight="0155"), "wrong_type", "flight is string, not integer"),
        (line(hour=5.0), "wrong_type", "hour is number, not integer"),
        (line(distance="NaN"), "wrong_type", "distance is string, not number"),
        (line(distance="9" * 5000), "wrong_type", "distance is string, not number"),
        (line(distance="1e999"), "impossible_value", "distance is about 1e15"),
        (line(origin=" EWR"), "impossible_value", "origin is ' EWR'"),
        (line(dest="I\nH"), "impossible_value", "dest is 'I\\nH'"),
        (line(month=13), "impossible_value", "month is 13, not 1 to 12"),
        (row(*EVENT, "extra") + row(*EVENT.values(), 1), "unexpected_field", "unknown fields 'extra'"),
        (row(*EVENT, "day") + row(*EVENT.values(), 1), "broken_csv", "a column occurs twice in the header"),
        (row(*EVENT), "broken_csv", "the record has 0 lines besides a header, an event is one"),
        (line() + line(), "broken_csv", "the record has 2 lines besides a header, an event is one"),
        (line().rsplit(b",", 1)[0], "broken_csv", "the line has 19 columns, not the 20 of event_id,time_hour"),
        (row(*EVENT.values(), 1), "broken_csv", "the line has 21 columns, not the 20 of"),
        (line(dest="\udcff".encode("utf-8", "surrogatepass")), "impossible_value", "dest is"),
        (line().replace(b"IAH", b"\xff"), "broken_csv", "the record is no CSV: 'utf-8' codec can't decode byte 0xff"),
        (line().replace(b"IAH", b'"IAH'), "broken_csv", "the record is no CSV: unexpected end of data"),
        (b",", "broken_csv", "the line has 2 columns"),
    ],
)
def test_a_line_is_rejected_for_what_is_wrong(data: bytes, reason: str, detail: str) -> None:
    outcome = rejected(data)
    assert outcome.reason == reason
    assert outcome.detail.startswith(detail)


def test_a_broken_line_keeps_its_id() -> None:
    assert rejected(line() + line()).event_id == EVENT["event_id"]
    assert rejected(row(*EVENT)).event_id is None
    assert rejected(b",x").event_id is None


@pytest.mark.parametrize(
    "data",
    [
        b"2013",
        b"hello",
        b'"a,b"',
        b'"a": 1, "b": 2}',
        b'r": 2013, "month": 1}',
        b"\xef\xbb\xbf" + line(),
        b"[1,2",
        b"{,",
        b"(a,b)",
    ],
)
def test_what_does_not_start_as_a_line_is_judged_as_json(data: bytes) -> None:
    assert rejected(data).reason in ("broken_json", "wrong_type")
