"""The real-time job's own code: any bytes are a flight or rejected, and a run of late flights is unusual."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.delays.flights import WINDOW_MS, Flight, Rejected, is_late, parse
from flink_jobs.delays.forest import SHINGLE, DelayForest, Point, Settings, point
from producers import damage, flights

# fmt: off
EVENT: dict[str, Any] = {
    "event_id": "2013-01-01-B6-725-JFK", "time_hour": "2013-01-01T10:00:00Z", "year": 2013, "month": 1, "day": 1,
    "carrier": "B6", "origin": "JFK", "dest": "BQN", "hour": 5, "minute": 15, "sched_arr_time": 1022,
    "distance": 1576, "dep_delay": 2.0,
}
# fmt: on
ON_2013_01_01_AT_10_15 = 1_357_035_300_000
SETTINGS = Settings(seed=7, warm_up=64, memory=256)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
events = st.fixed_dictionaries({}, optional={name: json_values | st.just(value) for name, value in EVENT.items()})


def test_a_flight_is_timed_by_its_scheduled_departure() -> None:
    known = ("2013-01-01-B6-725-JFK", 2013, 1, 1, "B6", "JFK", "BQN", 5, 15, 1022, 1576.0)
    assert parse(json.dumps(EVENT).encode()) == Flight(*known, ON_2013_01_01_AT_10_15, 2.0)
    elsewhere = EVENT | {"time_hour": "2013-01-01T05:00:00-05:00"}
    assert parse(json.dumps(elsewhere).encode()) == Flight(*known, ON_2013_01_01_AT_10_15, 2.0)


def test_a_cancelled_flight_has_no_delay() -> None:
    flight = parse(json.dumps(EVENT | {"dep_delay": None}).encode())
    assert isinstance(flight, Flight)
    assert flight.delay is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"origin": None}, "missing_field"),
        ({"origin": ["JFK"]}, "wrong_type"),
        ({"minute": True}, "wrong_type"),
        ({"dep_delay": "2"}, "wrong_type"),
        ({"origin": "Kennedy"}, "impossible_value"),
        ({"minute": 60}, "impossible_value"),
        ({"dep_delay": 99_999.0}, "impossible_value"),
        ({"dep_delay": float("nan")}, "impossible_value"),
        ({"time_hour": "2013-02-30T10:00:00Z"}, "impossible_value"),
        ({"time_hour": "2013-01-01T10:15:00Z"}, "impossible_value"),
        ({"time_hour": "0001-01-01T00:00:00+01:00"}, "impossible_value"),
        ({"event_id": "2013 B6"}, "impossible_value"),
        ({"month": 2, "day": 30}, "impossible_value"),
        ({"carrier": "b6"}, "impossible_value"),
        ({"hour": 24}, "impossible_value"),
        ({"sched_arr_time": 1075}, "impossible_value"),
        ({"distance": 0}, "impossible_value"),
        ({"distance": None}, "missing_field"),
        ({"dest": 7}, "wrong_type"),
    ],
)
def test_what_is_wrong_is_rejected_with_its_reason(change: dict[str, Any], reason: str) -> None:
    rejected = parse(json.dumps(EVENT | change).encode())
    assert isinstance(rejected, Rejected)
    assert rejected.reason == reason


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_make_the_parser_fail(data: bytes) -> None:
    assert isinstance(parse(data), Flight | Rejected)


@given(events)
def test_no_fields_make_the_parser_fail(event: dict[str, Any]) -> None:
    assert isinstance(parse(json.dumps(event).encode()), Flight | Rejected)


def test_a_flight_is_late_once_its_whole_window_is_over() -> None:
    start = ON_2013_01_01_AT_10_15
    assert not is_late(start, start + WINDOW_MS - 2)
    assert is_late(start, start + WINDOW_MS - 1)
    assert is_late(start + WINDOW_MS - 1, start + WINDOW_MS - 1)
    assert not is_late(start + WINDOW_MS, start + WINDOW_MS - 1)


def test_every_real_flight_is_read() -> None:
    day = list(flights.events([1], [1]))
    read = [parse(damage.encode(event)) for event in day]
    assert [(each.event_id, each.delay) for each in read if isinstance(each, Flight)] == [
        (event["event_id"], event["dep_delay"]) for event in day
    ]


@pytest.mark.requirement("str-rcf-stream")
def test_a_run_of_late_flights_scores_higher_than_any_usual_minute() -> None:
    forest = DelayForest(SETTINGS)
    usual = [score for each in _usual_minutes(300) if (score := forest.score(each)) is not None]
    burst = [forest.score(point(240.0, 240.0, 1.0)) for _ in range(SHINGLE)]
    assert max(score for score in burst if score is not None) > max(usual)


def test_there_is_no_score_while_the_forest_warms_up() -> None:
    forest = DelayForest(SETTINGS)
    scores = [forest.score(each) for each in _usual_minutes(SETTINGS.warm_up + 1)]
    assert scores[:-1] == [None] * SETTINGS.warm_up
    assert isinstance(scores[-1], float)


def test_the_same_minutes_get_the_same_scores() -> None:
    first, second = (DelayForest(SETTINGS) for _ in range(2))
    minutes = _usual_minutes(200)
    assert [first.score(each) for each in minutes] == [second.score(each) for each in minutes]


def test_a_restarted_forest_goes_on_from_its_latest_minutes() -> None:
    whole, before = (DelayForest(SETTINGS) for _ in range(2))
    minutes = _usual_minutes(SETTINGS.memory)
    expected = [whole.score(each) for each in minutes]
    for each in minutes[:-10]:
        before.score(each)
    restarted = DelayForest(SETTINGS, list(before.latest))
    assert [restarted.score(each) for each in minutes[-10:]] == expected[-10:]


def _usual_minutes(count: int) -> list[Point]:
    chance = random.Random(2013)  # noqa: S311  reproducible, not secret
    delays = [[chance.gauss(2, 8) for _ in range(3)] for _ in range(count)]
    return [point(sum(each) / 3, max(each), sum(delay > 15 for delay in each) / 3) for each in delays]
