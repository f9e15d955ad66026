"""The real-time job's own code: any bytes are a flight or rejected, and a run of late flights is unusual."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.events import FLIGHTS
from contracts.reader import read
from flink_jobs.delays.flights import WINDOW_MS, Flight, is_late, parse
from flink_jobs.delays.forest import SHINGLE, DelayForest, Point, Settings, point
from producers import flights
from tests.unit.near_events import near_events, near_lines

EVENT = next(flights.events())
ON_2013_01_01_AT_10_15 = 1_357_035_300_000
SETTINGS = Settings(seed=7, warm_up=64, memory=256)


def test_a_flight_is_timed_by_its_scheduled_departure() -> None:
    known = ("2013-01-01-UA-1545-EWR", 2013, 1, 1, "UA", "EWR", "IAH", 5, 15, 819, 1400.0)
    assert parse(json.dumps(EVENT).encode()) == Flight(*known, ON_2013_01_01_AT_10_15, 2.0)
    elsewhere = EVENT | {"time_hour": "2013-01-01T05:00:00-05:00"}
    assert parse(json.dumps(elsewhere).encode()) == Flight(*known, ON_2013_01_01_AT_10_15, 2.0)


def test_a_cancelled_flight_has_no_delay() -> None:
    flight = parse(json.dumps(EVENT | {"dep_delay": None}).encode())
    assert isinstance(flight, Flight)
    assert flight.delay is None


@settings(max_examples=200)
@given(near_events("flights") | near_lines("flights") | st.binary())
def test_what_the_contract_rejects_is_rejected_and_nothing_else(data: bytes) -> None:
    event, flight = read(data, FLIGHTS), parse(data)
    if isinstance(flight, Flight):
        derived = {"scheduled_ms": flight.scheduled_ms, "delay": event["dep_delay"]}
        assert (event | derived).items() >= flight._asdict().items()
    else:
        assert flight == event


def test_a_flight_is_late_once_its_whole_window_is_over() -> None:
    start = ON_2013_01_01_AT_10_15
    assert not is_late(start, start + WINDOW_MS - 2)
    assert is_late(start, start + WINDOW_MS - 1)
    assert is_late(start + WINDOW_MS - 1, start + WINDOW_MS - 1)
    assert not is_late(start + WINDOW_MS, start + WINDOW_MS - 1)


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
