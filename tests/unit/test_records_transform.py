"""The transform Lambda's rules: any bytes are an event or rejected with the right reason, on either path."""

import base64
import functools
import hashlib
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas.flights
import schemas.weather
from producers import damage, flights, weather

EVENT: dict[str, Any] = {
    "event_id": "2013-01-01-UA-1545-EWR",
    "time_hour": "2013-01-01T10:00:00Z",
    "year": 2013,
    "month": 1,
    "day": 1,
    "carrier": "UA",
    "flight": 1545,
    "tailnum": "N14228",
    "origin": "EWR",
    "dest": "IAH",
    "sched_dep_time": 515,
    "dep_time": 517,
    "dep_delay": 2.0,
    "sched_arr_time": 819,
    "arr_time": 830,
    "arr_delay": 11.0,
    "air_time": 227.0,
    "distance": 1400.0,
    "hour": 5,
    "minute": 15,
}
BUCKET = "quarantine"
GLUE_TYPES = {"int": (int,), "double": (float, int), "string": (str,)}

Parse = Callable[[bytes], Any]
Import = Callable[[str], dict[str, ModuleType]]


@pytest.fixture(scope="module")
def logic(import_lambda: Import) -> ModuleType:
    return import_lambda("records_transform")["logic"]


@pytest.fixture(scope="module")
def contracts(import_lambda: Import) -> dict[str, Any]:
    contracts: dict[str, Any] = import_lambda("records_transform")["contract"].CONTRACTS
    return contracts


@pytest.fixture(scope="module", params=["logic", "fast"])
def parser(request: pytest.FixtureRequest, import_lambda: Import, contracts: dict[str, Any]) -> Callable[[str], Parse]:
    """What reads records of a contract: the logic alone, or behind the fast path. Every rule holds for both."""
    modules = import_lambda("records_transform")
    if request.param == "fast":
        return lambda name: modules["fast"].parser(contracts[name])
    return lambda name: functools.partial(modules["logic"].parse, contract=contracts[name])


@pytest.fixture(scope="module")
def parse(parser: Callable[[str], Parse]) -> Parse:
    return parser("flights")


def encode(event: object) -> bytes:
    return json.dumps(event).encode()


@pytest.mark.requirement("st-partition-date")
def test_a_valid_event_is_compact_json_in_contract_order_with_its_day(parse: Parse) -> None:
    shuffled = dict(reversed(EVENT.items())) | {"distance": 1400}
    outcome = parse(json.dumps(shuffled, indent=2).encode())
    assert outcome.event_id == EVENT["event_id"]
    assert outcome.partition == {"year": "2013", "month": "01", "day": "01"}
    assert outcome.data == json.dumps(EVENT, separators=(",", ":")).encode() + b"\n"


def test_optional_fields_may_be_null_or_absent(parse: Parse) -> None:
    optional = ("tailnum", "dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
    nulls = {**EVENT, **dict.fromkeys(optional)}
    absent = {name: value for name, value in EVENT.items() if name not in optional}
    assert parse(encode(nulls)) == parse(encode(absent))
    assert json.loads(parse(encode(nulls)).data) == nulls


@pytest.mark.parametrize(("name", "schema"), [("flights", schemas.flights), ("weather", schemas.weather)])
def test_fields_are_the_columns_that_the_stacks_declare(
    contracts: dict[str, Any], name: str, schema: ModuleType
) -> None:
    fields = contracts[name].fields
    declared = {column: GLUE_TYPES[kind] for column, kind in schema.RAW_COLUMNS + schema.PARTITION_KEYS}
    assert {field.name: field.types for field in fields} == declared
    keys = {column for column, _ in schema.PARTITION_KEYS}
    assert [field.name for field in fields if field.name not in keys] == [column for column, _ in schema.RAW_COLUMNS]


def edited(**fields: object) -> bytes:
    return encode({**EVENT, **fields})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "broken_json"),
        (b"\xff\xfe", "broken_json"),
        (b"\xef\xbb\xbf" + encode(EVENT), "broken_json"),
        (encode(EVENT)[:-1], "broken_json"),
        (encode(EVENT) + b"{}", "broken_json"),
        (encode(EVENT)[:-1] + b', "day": 1}', "broken_json"),
        (b'{"a": {"b": 1, "b": 1}}', "broken_json"),
        (b"[" * 200_000, "broken_json"),
        (b"[" * 200_000 + b"]" * 200_000, "broken_json"),
        (b'{"year": ' + b"9" * 5_000 + b"}", "broken_json"),
        (edited(arr_delay=float("nan")), "broken_json"),
        (edited(arr_delay=float("inf")), "broken_json"),
        (edited(distance=float("-inf")), "broken_json"),
        (edited(carrier=None), "missing_field"),
        (b"{}", "missing_field"),
        (edited(passengers=3), "unexpected_field"),
        (edited(**{"\ud800": None}), "unexpected_field"),
        (b"null", "wrong_type"),
        (b"[]", "wrong_type"),
        (b'"flight"', "wrong_type"),
        (edited(flight=True), "wrong_type"),
        (edited(distance=False), "wrong_type"),
        (edited(flight="1545"), "wrong_type"),
        (edited(hour=5.0), "wrong_type"),
        (edited(origin=["EWR"]), "wrong_type"),
        (edited(tailnum=14228), "wrong_type"),
        (edited(month=13), "impossible_value"),
        (edited(month=2, day=29), "impossible_value"),
        (edited(year=20130), "impossible_value"),
        (edited(dep_time=1299), "impossible_value"),
        (edited(arr_time=2401), "impossible_value"),
        (edited(distance=0), "impossible_value"),
        (edited(distance=10**400), "impossible_value"),
        (encode(EVENT).replace(b"1400.0", b"1e999"), "impossible_value"),
        (edited(dep_delay=2881), "impossible_value"),
        (edited(origin="ewr"), "impossible_value"),
        (edited(carrier="UA\n"), "impossible_value"),
        (edited(event_id=""), "impossible_value"),
        (edited(time_hour="2013-02-30T10:00:00Z"), "impossible_value"),
        (edited(time_hour="2013-01-01T24:00:00Z"), "impossible_value"),
        (edited(time_hour="2013-01-01"), "impossible_value"),
        (edited(time_hour="2013-01-01T20:00:00Z"), "impossible_value"),
        (edited(time_hour="2012-12-31T14:00:00Z"), "impossible_value"),
        (edited(time_hour="2014-01-01T10:00:00Z"), "impossible_value"),
        (edited(time_hour="0001-01-01T00:00:00+23:00"), "impossible_value"),
        (edited(day=2, time_hour="2013-01-02T10:00:00Z"), "impossible_value"),
        (edited(event_id="2013-02-31-UA-1545-EWR"), "impossible_value"),
        (edited(carrier=None, flight="x", month=13, extra=1), "missing_field"),
        (edited(flight="x", month=13, extra=1), "unexpected_field"),
        (edited(flight="x", month=13), "wrong_type"),
    ],
)
def test_each_damage_has_its_reason(parse: Parse, data: bytes, reason: str) -> None:
    assert parse(data).reason == reason


def test_a_rejected_event_keeps_its_id_and_day_where_they_can_be_read(logic: ModuleType, parse: Parse) -> None:
    cut = parse(encode(EVENT)[:-1])
    assert (cut.event_id, cut.partition) == (EVENT["event_id"], logic.UNKNOWN_DAY)
    extra = parse(edited(extra=1))
    assert (extra.event_id, extra.partition["month"]) == (EVENT["event_id"], "01")
    assert parse(edited(event_id=7)).event_id is None
    assert parse(edited(day=0)).partition == logic.UNKNOWN_DAY


def test_every_damage_the_producer_does_is_found_for_what_it_is(parse: Parse) -> None:
    for event in flights.events(months=[7], limit=40):
        for reason, ways in damage.DAMAGES.items():
            for way in ways:
                assert parse(way(event)).reason == reason, way(event)


@pytest.mark.parametrize(
    "fields",
    [
        {"time_hour": "2013-01-01T19:00:00Z"},  # 14 hours behind UTC
        {"time_hour": "2012-12-31T15:00:00Z"},  # 14 hours ahead
        {"time_hour": "2013-01-01T05:00:00-05:00"},
        {"event_id": "UA1545.20130102"},  # no day in the form that the producer writes
    ],
)
def test_an_hour_of_any_time_zone_and_an_id_of_any_form_are_valid(
    logic: ModuleType, parse: Parse, fields: dict[str, str]
) -> None:
    assert isinstance(parse(edited(**fields)), logic.Curated)


@pytest.mark.parametrize("sample", [{"months": [1]}, {"days": [1, 15]}])
def test_real_flights_are_valid_and_their_bytes_unchanged(
    logic: ModuleType, parse: Parse, sample: dict[str, list[int]]
) -> None:
    """January, and two days of each month; the whole year passed when the ranges were chosen."""
    for event in flights.events(**sample):
        data = damage.encode(event)
        assert parse(data) == logic.Curated(event["event_id"], logic.partition(event), data + b"\n")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=5,
)
damaged_events = st.dictionaries(st.sampled_from(list(EVENT)), json_values, max_size=4).map(
    lambda fields: encode({**EVENT, **fields})
)
cut_events = st.integers(0, len(encode(EVENT))).map(lambda end: encode(EVENT)[:end])


@settings(max_examples=150)
@given(st.binary() | json_values.map(encode) | damaged_events | cut_events)
def test_any_bytes_are_curated_or_rejected(logic: ModuleType, parse: Parse, data: bytes) -> None:
    outcome = parse(data)
    if isinstance(outcome, logic.Curated):
        # What goes on is a fixed point: valid, complete, the same when parsed again.
        assert parse(outcome.data) == outcome
        assert list(json.loads(outcome.data)) == list(EVENT)
    else:
        assert outcome.reason in logic.REASONS
        assert outcome.detail
        key, body = logic.quarantine_document(data, outcome, logic.datetime.now(logic.UTC), "flights/")
        assert base64.b64decode(json.loads(body)["data"]) == data
        assert key.endswith(f"/{hashlib.sha256(data).hexdigest()}.json")


def test_real_weather_is_valid_but_for_what_no_wind_can_be(logic: ModuleType, parser: Callable[[str], Parse]) -> None:
    parse, ids = parser("weather"), set()
    for event in weather.events():
        ids.add(event["event_id"])
        data = damage.encode(event)
        outcome = parse(data)
        if event["event_id"] in weather.IMPOSSIBLE_IDS:
            assert (outcome.reason, outcome.detail) == ("impossible_value", "wind_speed is 1048.36058, not 0 to 260")
        else:
            assert outcome == logic.Curated(event["event_id"], logic.partition(event), data + b"\n")
    assert len(ids) == 26_115
