"""Features of real flights: nothing that was not known before departure, and the same whichever way they are made."""

import itertools
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.folder_s3 import FolderS3
from glue_jobs import feature_table as job
from producers import flights
from schemas.flights import FEATURE_COLUMNS, RAW_COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.xdist_group("spark")

Event = dict[str, Any]
ARROW = {"int": pa.int32(), "double": pa.float64(), "string": pa.string()}
TASK = job.Task("s3://curated/known/", "s3://curated/features/", "s3://curated/_state/features.json", 2)
KEYS = {"aircraft": ("tailnum",), "route": ("origin", "dest"), "hour": ("origin", "hour")}


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """The flights of the first five days of January, of one airport and of what flew from it."""
    found = list(flights.events(months=[1], days=range(1, 6)))
    return [event for event in found if event["origin"] == "LGA"]


@pytest.fixture
def deliver(buckets: dict[str, Path]) -> Callable[[list[Event], int], None]:
    """Return a function that writes curated days whole, at a time in seconds."""

    def write(events: list[Event], at: int) -> None:
        for day, rows in itertools.groupby(events, key=folder):
            path = buckets["curated"] / "known" / day / "a.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            held = [{name: event[name] for name, _ in RAW_COLUMNS} for event in rows]
            pq.write_table(pa.Table.from_pylist(held, pa.schema([(n, ARROW[t]) for n, t in RAW_COLUMNS])), path)
            os.utime(path, (at, at))

    return write


@pytest.fixture
def s3(buckets: dict[str, Path], spark: "SparkSession") -> Iterator[FolderS3]:
    zone = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    yield FolderS3(buckets)
    spark.conf.set("spark.sql.session.timeZone", zone)


def folder(event: Event) -> str:
    return f"year={event['year']}/month={event['month']:02}/day={event['day']:02}"


def scheduled(event: Event) -> datetime:
    return datetime.fromisoformat(event["time_hour"]) + timedelta(minutes=event["minute"])


def expected(event: Event, events: list[Event]) -> dict[str, Any]:
    """The features of one flight in plain Python, from the flights that had left before it was to leave."""
    now, found = scheduled(event), {}
    for name, key in KEYS.items():
        past = []
        for other in events:
            if other["event_id"] == event["event_id"] or other["dep_delay"] is None:
                continue
            if any(other[part] is None or other[part] != event[part] for part in key):
                continue
            left = scheduled(other) + timedelta(minutes=other["dep_delay"])
            if now - timedelta(days=2) <= left < now:
                past.append(other["dep_delay"])
        found |= {f"{name}_delay": fmean(past) if past else None, f"{name}_flights": len(past)}
    return found


def written(buckets: dict[str, Path]) -> dict[str, dict[str, Event]]:
    """The features by day and event id."""
    root = buckets["curated"] / "features"
    return {
        str(path.parent.relative_to(root)): {
            row["event_id"]: row for row in pq.read_table(path, partitioning=None).to_pylist()
        }
        for path in root.rglob("*.parquet")
    }


@pytest.mark.requirement("etl-glue-etl", "etl-spark-preprocess")
def test_features_hold_what_was_known_and_late_data_changes_the_days_it_reaches(
    spark: "SparkSession",
    s3: FolderS3,
    buckets: dict[str, Path],
    deliver: Callable[[list[Event], int], None],
    events: list[Event],
    capsys: pytest.CaptureFixture[str],
) -> None:
    late = [event for event in events if event["day"] == 2][-40:]
    ids = {event["event_id"] for event in late}
    deliver([event for event in events if event["event_id"] not in ids], 1_000)
    job.run(spark, s3, TASK)
    first = written(buckets)
    assert [len(first[day]) for day in sorted(first)] == [
        sum(event["event_id"] not in ids for event in day) for _, day in _by_day(events)
    ]
    deliver([event for event in events if event["day"] == 2], 2_000)
    job.run(spark, s3, TASK)
    job.run(spark, s3, TASK)
    told = capsys.readouterr().out.splitlines()
    assert told == ['{"changed": 5, "days": 5}', '{"changed": 1, "days": 5}', '{"changed": 0, "days": 0}']
    second = written(buckets)
    assert second["year=2013/month=01/day=01"] == first["year=2013/month=01/day=01"]
    sample = [*late, *events[::40]]
    for event in sample:
        row = second[folder(event)][event["event_id"]]
        wanted = expected(event, events)
        assert row == {"event_id": event["event_id"]} | {
            name: pytest.approx(value) if value is not None else None for name, value in wanted.items()
        }
    assert sum(row["aircraft_flights"] > 0 for day in second.values() for row in day.values()) > 300


def _by_day(events: list[Event]) -> Iterator[tuple[str, Iterator[Event]]]:
    return itertools.groupby(events, key=folder)


def test_nothing_that_happens_after_the_scheduled_departure_changes_a_flights_features(
    spark: "SparkSession", s3: FolderS3, events: list[Event]
) -> None:
    """Other delays of what left later, and of the flight itself, leave its features as they were."""
    asked = next(event for event in events if event["day"] == 3 and event["hour"] == 12)
    now, changed = scheduled(asked), []
    for event in events:
        unknown = event["dep_delay"] is None or scheduled(event) + timedelta(minutes=event["dep_delay"]) >= now
        changed.append(event | {"dep_delay": 999.0, "arr_delay": 999.0} if unknown else event)
    early = [event | {"dep_delay": -20.0} if event == asked else event for event in events]
    assert sum(one != other for one, other in zip(events, changed, strict=True)) > 100
    names = [name for name, _ in RAW_COLUMNS] + ["year", "month", "day"]
    ddl = ", ".join(f"{name} {kind}" for name, kind in RAW_COLUMNS) + ", year int, month int, day int"
    found = [
        job.transform(spark.createDataFrame([tuple(event[name] for name in names) for event in world], ddl), 2)
        .where(f"event_id = '{asked['event_id']}'")
        .first()
        for world in (events, changed, early)
    ]
    assert found[0] == found[1] == found[2]
    assert found[0]["route_flights"] > 0
    declared = [*FEATURE_COLUMNS, ("year", "int"), ("month", "int"), ("day", "int")]
    assert list(found[0].asDict()) == [name for name, _ in declared]


def test_a_day_that_another_zone_files_earlier_is_reached(
    spark: "SparkSession",
    s3: FolderS3,
    buckets: dict[str, Path],
    deliver: Callable[[list[Event], int], None],
    events: list[Event],
) -> None:
    """The aircraft left Tokyo on the sixth, three hours before it was to leave Honolulu on the fifth."""
    local = {"year": 2014, "month": 1, "tailnum": "N1", "dep_delay": 4.0, "minute": 0}
    tokyo = {"event_id": "tokyo", "time_hour": "2014-01-06T06:00:00+09:00", "day": 6, "hour": 6}
    honolulu = {"event_id": "honolulu", "time_hour": "2014-01-05T14:00:00-10:00", "day": 5, "hour": 14}
    deliver([events[0] | local | honolulu], 1_000)
    job.run(spark, s3, TASK)
    deliver([events[0] | local | tokyo], 2_000)
    job.run(spark, s3, TASK)
    row = written(buckets)["year=2014/month=01/day=05"]["honolulu"]
    assert (row["aircraft_flights"], row["aircraft_delay"]) == (1, 4.0)


def test_days_that_a_change_reaches() -> None:
    days = [f"year=2013/month={month:02}/day={day:02}" for month, day in ((1, 30), (1, 31), (2, 1), (2, 4))]
    assert job.reaching([days[1]], days, 0, 2) == days[1:3]
    assert job.reaching([days[3]], days, -4, 0) == days[1:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"--curated_path": "s3://curated/flights"},
            "--curated_path: 's3://curated/flights' is no folder: give s3://bucket/folder/",
        ),
        ({"--window_days": "0"}, "give 1 or more"),
    ],
)
def test_refuses_arguments_that_would_find_nothing(
    change: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {
        "--curated_path": TASK.curated, "--features_path": TASK.features, "--state_path": TASK.state,
        "--window_days": "2", "--JOB_NAME": "features",
    }  # fmt: skip
    assert job.parse_args([word for pair in given.items() for word in pair]) == TASK
    with pytest.raises(SystemExit):
        job.parse_args([word for pair in (given | change).items() for word in pair])
    assert message in capsys.readouterr().err
