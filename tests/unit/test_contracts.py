"""The contracts' reader: any bytes are an event or rejected with the right reason."""

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.events import FLIGHTS, WEATHER, Contract
from contracts.reader import REASONS, Rejected, read
from contracts.values import Event
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


def encode(event: object) -> bytes:
    return json.dumps(event).encode()


def accepted(data: bytes, contract: Contract = FLIGHTS) -> Event:
    event = read(data, contract)
    assert not isinstance(event, Rejected), event
    return event


def rejected(data: bytes, contract: Contract = FLIGHTS) -> Rejected:
    outcome = read(data, contract)
    assert isinstance(outcome, Rejected), outcome
    return outcome


def test_an_event_has_every_field_in_the_contracts_order() -> None:
    shuffled = dict(reversed(EVENT.items())) | {"distance": 1400}
    event = accepted(json.dumps(shuffled, indent=2).encode())
    assert event == EVENT
    assert list(event) == list(EVENT)
    assert type(event["distance"]) is float


def test_optional_fields_may_be_null_or_absent() -> None:
    optional = ("tailnum", "dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
    nulls = {**EVENT, **dict.fromkeys(optional)}
    absent = {name: value for name, value in EVENT.items() if name not in optional}
    assert accepted(encode(nulls)) == accepted(encode(absent)) == nulls


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
        (edited(time_hour="2013-01-01T10:00:00+05:75"), "impossible_value"),
        (edited(time_hour="2013-01-01T10:00:00+24:00"), "impossible_value"),
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
def test_each_damage_has_its_reason(data: bytes, reason: str) -> None:
    assert rejected(data).reason == reason


def test_a_rejected_event_keeps_its_id_and_day_where_they_can_be_read() -> None:
    cut = rejected(encode(EVENT)[:-1])
    assert (cut.event_id, cut.day) == (EVENT["event_id"], None)
    extra = rejected(edited(extra=1))
    assert (extra.event_id, extra.day) == (EVENT["event_id"], date(2013, 1, 1))
    assert rejected(edited(event_id=7)).event_id is None
    assert rejected(edited(day=0)).day is None


def test_every_damage_the_producer_does_is_found_for_what_it_is() -> None:
    for event in flights.events(months=[7], limit=40):
        for reason, ways in damage.DAMAGES.items():
            for way in ways:
                assert rejected(way(event)).reason == reason, way(event)


@pytest.mark.parametrize(
    "fields",
    [
        {"time_hour": "2013-01-01T19:00:00Z"},  # 14 hours behind UTC
        {"time_hour": "2012-12-31T15:00:00Z"},  # 14 hours ahead
        {"time_hour": "2013-01-01T05:00:00-05:00"},
        {"event_id": "UA1545.20130102"},  # no day in the form that the producer writes
    ],
)
def test_an_hour_of_any_time_zone_and_an_id_of_any_form_are_valid(fields: dict[str, str]) -> None:
    assert accepted(edited(**fields)) == EVENT | fields


@pytest.mark.parametrize("sample", [{"months": [1]}, {"days": [1, 15]}])
def test_real_flights_are_valid(sample: dict[str, list[int]]) -> None:
    """January, and two days of each month; the whole year passed when the ranges were chosen."""
    for event in flights.events(**sample):
        assert accepted(damage.encode(event)) == event


def test_real_weather_is_valid_but_for_what_no_wind_can_be() -> None:
    ids = set()
    for event in weather.events():
        ids.add(event["event_id"])
        data = damage.encode(event)
        if event["event_id"] in weather.IMPOSSIBLE_IDS:
            outcome = rejected(data, WEATHER)
            assert (outcome.reason, outcome.detail) == ("impossible_value", "wind_speed is 1048.36058, not 0 to 260")
        else:
            assert accepted(data, WEATHER) == event
    assert len(ids) == 26_115


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
def test_any_bytes_are_an_event_or_rejected(data: bytes) -> None:
    outcome = read(data, FLIGHTS)
    if isinstance(outcome, Rejected):
        assert outcome.reason in REASONS
        assert outcome.detail
    else:
        assert list(outcome) == list(EVENT)
        assert accepted(damage.encode(outcome)) == outcome  # as it is written
