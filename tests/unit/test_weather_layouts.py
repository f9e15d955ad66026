"""Hourly readings of three stations end up in both layouts, whole and where the tables look for them."""

import io
import os
import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.folder_s3 import FolderS3
from glue_jobs import weather_layouts as job
from producers import weather
from schemas.weather import RAW_COLUMNS, STATION_COLUMNS
from stacks.data_catalog import BY_DATE, BY_STATION
from tests.unit.test_curate_flights import ARROW

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# One worker of a parallel run holds the only Spark session.
pytestmark = pytest.mark.xdist_group("spark")

RAW_ARROW = pa.schema([(name, ARROW[glue_type]) for name, glue_type in RAW_COLUMNS])
NOW = datetime(2026, 11, 28, 3, tzinfo=UTC)
LAYOUTS = (f"s3://curated/{BY_DATE.pattern}", f"s3://curated/{BY_STATION.pattern}")
STATIONS = frozenset({"EWR", "JFK", "LGA"})

Event = dict[str, Any]
Deliver = Callable[..., None]


@pytest.fixture
def s3(buckets: dict[str, Path]) -> FolderS3:
    """Empty buckets."""
    for folder in buckets.values():
        shutil.rmtree(folder)
        folder.mkdir()
    return FolderS3(buckets)


@pytest.fixture
def deliver(buckets: dict[str, Path], s3: FolderS3) -> Deliver:
    """Return a function that writes one raw object a day as Firehose does, so many hours before NOW."""

    def write(name: str, events: Iterable[Event], hours_ago: float = 1) -> None:
        days: dict[str, list[Event]] = {}
        for event in events:
            days.setdefault(f"year={event['year']}/month={event['month']:02}/day={event['day']:02}", []).append(event)
        for day, own in days.items():
            path = buckets["raw"] / "weather" / day / f"{name}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [{column: event[column] for column, _ in RAW_COLUMNS} for event in own]
            pq.write_table(pa.Table.from_pylist(rows, schema=RAW_ARROW), path)
            arrived = (NOW - timedelta(hours=hours_ago)).timestamp()
            os.utime(path, (arrived, arrived))

    return write


def run(spark: "SparkSession", s3: FolderS3, stations: frozenset[str] = STATIONS) -> None:
    job.run(spark, s3, job.Options("s3://raw/weather/", LAYOUTS, stations, 168), NOW)


def written(buckets: dict[str, Path]) -> dict[str, bytes]:
    root = buckets["curated"]
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}


@pytest.mark.requirement("cat-hourly-sensor", "cat-part-time", "cat-part-device")
def test_each_station_and_day_lies_in_both_layouts(
    spark: "SparkSession", s3: FolderS3, deliver: Deliver, buckets: dict[str, Path]
) -> None:
    readings = list(weather.events([1], [5, 6]))
    deliver("a", readings)
    deliver("b", readings[:7])  # delivered twice: the second one wins, and nothing counts double
    run(spark, s3)
    found = written(buckets)
    places = {"2013/01/05/EWR", "EWR/2013/01/05", "2013/01/06/LGA", "LGA/2013/01/06"}
    assert {key.partition("/")[2].removesuffix("/hours.parquet") for key in found} >= places
    for first, layout in (("weather_by_date", BY_DATE), ("weather_by_station", BY_STATION)):
        assert len([key for key in found if key.startswith(first)]) == 2 * 3
        for event in readings:
            place = {key: event[key] for key in ("year", "month", "day")} | {"station": event["origin"]}
            rows = pq.read_table(io.BytesIO(found[layout.folder(**place) + "hours.parquet"])).to_pylist()
            (row,) = (row for row in rows if row["event_id"] == event["event_id"])
            assert row == {name: event[name] for name, _ in STATION_COLUMNS}


def test_a_second_run_writes_the_same_bytes_and_late_hours_land_in_their_own_day(
    spark: "SparkSession", s3: FolderS3, deliver: Deliver, buckets: dict[str, Path]
) -> None:
    *early, late = weather.events([7], [1])
    deliver("a", early)
    run(spark, s3)
    first = written(buckets)
    run(spark, s3)
    assert written(buckets) == first
    deliver("late", [late])
    run(spark, s3)
    changed = {key for key, body in written(buckets).items() if body != first[key]}
    assert changed == {
        "weather_by_date/2013/07/01/LGA/hours.parquet",
        "weather_by_station/LGA/2013/07/01/hours.parquet",
    }


def test_days_without_new_objects_are_left_alone(
    spark: "SparkSession", s3: FolderS3, deliver: Deliver, buckets: dict[str, Path]
) -> None:
    deliver("a", weather.events([1], [5]), hours_ago=169)
    run(spark, s3)
    assert not written(buckets)


def test_a_station_that_no_table_lists_is_written_and_said(
    spark: "SparkSession", s3: FolderS3, deliver: Deliver, buckets: dict[str, Path]
) -> None:
    deliver("a", weather.events([1], [5]))
    with pytest.raises(
        RuntimeError, match=r"weather of JFK, LGA is written but not in the tables.*data_catalog.stations"
    ):
        run(spark, s3, frozenset({"EWR"}))
    assert any("JFK" in key for key in written(buckets))


def test_the_job_writes_the_columns_that_the_tables_declare() -> None:
    assert pa.schema([(name, ARROW[kind]) for name, kind in STATION_COLUMNS]) == job.WRITTEN
    assert set(BY_DATE.keys) == set(BY_STATION.keys) == set(job.PARTITION)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"raw_path": "s3://raw/weather"}, "give s3://bucket/folder/"),
        ({"by_date_path": "s3://c/{year}/{month}/{day}/"}, "it needs a field for each of year, month, day, station"),
    ],
)
def test_refuses_paths_that_would_mix_days(
    change: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"raw_path": "s3://r/", "by_date_path": LAYOUTS[0], "by_station_path": LAYOUTS[1], "stations": "EWR"}
    words = [word for name, value in (given | change).items() for word in (f"--{name}", value)]
    with pytest.raises(SystemExit):
        job.parse_args([*words, "--arrived_hours", "24"])
    assert message in capsys.readouterr().err
