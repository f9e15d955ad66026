"""The transform Lambda's CSV: a line is the event that JSON of the same values is, or rejected with its reason."""

import base64
import csv
import io
import json
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from components.delivery import TRANSFORM_MIB
from producers import damage, flights, weather

EVENT = next(flights.events())

Import = Callable[[str], dict[str, ModuleType]]


@pytest.fixture(scope="module")
def modules(import_lambda: Import) -> dict[str, ModuleType]:
    return import_lambda("records_transform")


@pytest.fixture(scope="module")
def parse(modules: dict[str, ModuleType]) -> Callable[[bytes], Any]:
    return lambda data: modules["logic"].parse(data, modules["contract"].FLIGHTS)


def row(*values: object) -> bytes:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow("NA" if value is None else value for value in values)
    return written.getvalue().encode()


def line(**fields: object) -> bytes:
    return row(*{**EVENT, **fields}.values())


@pytest.mark.parametrize(
    ("name", "events"), [("flights", flights.events(days=[8], limit=500)), ("weather", weather.events(days=[8]))]
)
def test_csv_of_an_event_becomes_its_json(modules: dict[str, ModuleType], name: str, events: Any) -> None:
    parse = modules["fast"].parser(modules["contract"].CONTRACTS[name])
    for event in events:
        outcome = parse(row(*event.values()))
        assert outcome == parse(damage.encode(event))
        assert json.loads(outcome.data) == event


@pytest.mark.parametrize("event", [EVENT, next(weather.events())])
def test_the_answer_to_a_full_buffer_is_small_enough_for_lambda(
    modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, event: dict[str, Any]
) -> None:
    """However short the lines, which grow most. docs.aws.amazon.com/firehose/latest/dev/data-transformation.html"""
    name = "flights" if "flight" in event else "weather"
    short = {"event_id": "a", "flight": 1, "sched_dep_time": 5, "sched_arr_time": 5, "distance": 1}
    fields = modules["contract"].CONTRACTS[name].fields
    data = row(*(short.get(field.name, event[field.name]) if field.required else "" for field in fields))
    monkeypatch.setenv("CONTRACT", name)
    monkeypatch.setenv("QUARANTINE_PREFIX", f"{name}/")
    given = {"recordId": "4" * 64, "data": base64.b64encode(data).decode()}
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
    (answer,) = modules["handler"].handler({"records": [given]}, context)["records"]
    assert answer["result"] == "Ok"
    records = TRANSFORM_MIB * 2**20 // len(data)
    assert records * len(json.dumps(answer) + ", ") < 6_000_000


@pytest.mark.requirement("str-firehose-lambda")
def test_handler_takes_base64_of_csv_and_gives_that_of_json(
    modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTRACT", "flights")
    monkeypatch.setenv("QUARANTINE_PREFIX", "flights/")
    record = {"recordId": "1", "data": base64.b64encode(line()).decode()}
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
    assert modules["handler"].handler({"records": [record]}, context)["records"] == [
        {
            "recordId": "1",
            "result": "Ok",
            "data": base64.b64encode(damage.encode(EVENT) + b"\n").decode(),
            "metadata": {"partitionKeys": {"year": "2013", "month": "01", "day": "01"}},
        }
    ]


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
def test_a_line_may_be_written_in_other_ways(parse: Callable[[bytes], Any], data: bytes) -> None:
    assert parse(data).data == damage.encode(EVENT) + b"\n"


def test_na_and_nothing_are_null(parse: Callable[[bytes], Any]) -> None:
    for null in ("NA", ""):
        written = line(tailnum=null, dep_time=null, arr_delay=null)
        assert parse(written) == parse(damage.encode({**EVENT, "tailnum": None, "dep_time": None, "arr_delay": None}))


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
def test_a_line_is_rejected_for_what_is_wrong(
    parse: Callable[[bytes], Any], data: bytes, reason: str, detail: str
) -> None:
    outcome = parse(data)
    assert outcome.reason == reason
    assert outcome.detail.startswith(detail)


def test_a_broken_line_keeps_its_id(parse: Callable[[bytes], Any]) -> None:
    assert parse(line() + line()).event_id == EVENT["event_id"]
    assert parse(row(*EVENT)).event_id is None
    assert parse(b",x").event_id is None


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
def test_what_does_not_start_as_a_line_is_judged_as_json(parse: Callable[[bytes], Any], data: bytes) -> None:
    assert parse(data).reason in ("broken_json", "wrong_type")
