"""The Glue job on real flights of two days: joins, duplicates, late data, and runs that change nothing."""

import csv
import functools
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from benchmarks.folder_s3 import FolderS3
from glue_jobs import curate_flights as job
from glue_jobs import days as lake_days
from glue_jobs import watermark
from producers import flights, weather
from schemas.flights import CURATED_COLUMNS, PARTITION_KEYS, RAW_COLUMNS, WEATHER_COLUMNS
from schemas.weather import RAW_COLUMNS as RAW_WEATHER_COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# One worker of a parallel run holds the only Spark session.
pytestmark = pytest.mark.xdist_group("spark")

PATHS = job.Paths(
    "s3://raw/flights/",
    "s3://raw/weather/",
    "s3://raw/reference/",
    "s3://curated/flights/",
    "s3://curated/_state/flights.json",
)
ARROW = {"int": pa.int32(), "double": pa.float64(), "string": pa.string()}
FIRST, SECOND = "year=2013/month=01/day=01", "year=2013/month=01/day=02"

Event = dict[str, Any]


@pytest.fixture(scope="module")
def days() -> list[list[Event]]:
    """The flights of 1 and 2 January."""
    found: list[list[Event]] = [[], []]
    for event in flights.events(months=[1], days=[1, 2]):
        found[event["day"] - 1].append(event)
    return found


@pytest.fixture(scope="module")
def hours() -> list[list[Event]]:
    """The weather of 1 and 2 January."""
    found: list[list[Event]] = [[], []]
    for event in weather.events(months=[1], days=[1, 2]):
        found[event["day"] - 1].append(event)
    return found


@pytest.fixture
def s3(buckets: dict[str, Path]) -> FolderS3:
    """Empty buckets but for the reference tables."""
    for folder in buckets.values():
        shutil.rmtree(folder)
        folder.mkdir()
    for name, path in flights.reference_files().items():
        folder = buckets["raw"] / "reference" / name
        folder.mkdir(parents=True)
        shutil.copy(path, folder / f"{name}.csv")
    return FolderS3(buckets)


@pytest.fixture
def deliver(buckets: dict[str, Path]) -> Callable[..., None]:
    """Return a function that writes one raw object as Firehose does, at a time in seconds."""

    def write(day: str, name: str, events: Iterable[Event], at: int, source: str = "flights") -> None:
        columns = {"flights": RAW_COLUMNS, "weather": RAW_WEATHER_COLUMNS}[source]
        rows = [{column: event[column] for column, _ in columns} for event in events]
        path = buckets["raw"] / source / day / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        schema = pa.schema([(name, ARROW[glue_type]) for name, glue_type in columns])
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
        os.utime(path, (at, at))

    return write


def curated_files(buckets: dict[str, Path]) -> dict[str, Path]:
    """Return the only file of each curated day."""
    root = buckets["curated"] / "flights"
    files = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")]
    by_day = {str(path.parent.relative_to(root)): path for path in files}
    assert len(by_day) == len(files)
    return by_day


def passes(capsys: pytest.CaptureFixture[str]) -> list[dict[str, int]]:
    """Return the counts that the job printed, without seconds."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@functools.cache
def reference_rows() -> dict[str, list[dict[str, str]]]:
    tables = {}
    for name, path in flights.reference_files().items():
        with path.open(newline="") as file:
            tables[name] = list(csv.DictReader(file))
    return tables


def looked_up(event: Event, hours: list[Event]) -> Event:
    """Join one flight with hours of weather and the reference CSVs in plain Python."""
    tables = reference_rows()
    keys = {"origin": event["origin"], "time_hour": event["time_hour"]}
    (hour,) = [row for row in hours if keys.items() <= row.items()] or [{}]
    planes = [row | {"plane_year": row["year"]} for row in tables["planes"] if row["tailnum"] == event["tailnum"]]
    airports = [row for row in tables["airports"] if row["faa"] == event["dest"]]
    found = {
        **next(iter(planes), {}),
        **{f"dest_{name}": value for name, value in next(iter(airports), {}).items()},
    }
    convert = {"int": int, "double": float, "string": str}
    return {name: hour.get(name) for name, _ in WEATHER_COLUMNS} | {
        name: None if found.get(name, "NA") == "NA" else convert[glue_type](found[name])
        for name, glue_type in CURATED_COLUMNS[len(RAW_COLUMNS) + len(WEATHER_COLUMNS) :]
    }


def test_days_are_curated_and_only_changed_ones_again(
    spark: "SparkSession",
    s3: FolderS3,
    buckets: dict[str, Path],
    deliver: Callable[..., None],
    days: list[list[Event]],
    hours: list[list[Event]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = days
    deliver(FIRST, "a", hours[0], at=1_000, source="weather")
    deliver(FIRST, "a", first[:500], at=1_000)
    deliver(FIRST, "b", first[490:-1], at=1_001)
    deliver(SECOND, "a", second, at=1_000)
    files_by_pass = []

    def arrive_late() -> None:
        """While the first pass ends, in the second in which the day's newest object arrived."""
        files_by_pass.append(curated_files(buckets))
        deliver(FIRST, "late", first[-3:], at=1_001)

    s3.after_put = arrive_late
    job.run(spark, s3, PATHS, max_seconds=600)
    total = len(first) - 1 + len(second)
    assert passes(capsys) == [
        {"pass": 1, "days": 2, "rows_read": total + 10, "rows_written": total, "duplicates": 10},
        {"pass": 2, "days": 1, "rows_read": len(first) + 12, "rows_written": len(first), "duplicates": 12},
        {"pass": 3, "days": 0},
    ]
    files = curated_files(buckets)
    assert set(files) == {FIRST, SECOND}
    assert files[SECOND] == files_by_pass[0][SECOND]
    check_rows(files[FIRST], first, hours[0])
    check_rows(files[SECOND], second, [])

    # Late weather reaches the flights of its day, and of no other; an hour that is sent again is the last one's.
    s3.after_put = lambda: None
    changed = [hour | {"temp": 0.0} for hour in hours[1][:9]]
    deliver(SECOND, "a", hours[1], at=1_002, source="weather")
    deliver(SECOND, "b", changed, at=1_003, source="weather")
    deliver("year=2013/month=01/day=03", "a", hours[1], at=1_003, source="weather")
    job.run(spark, s3, PATHS, max_seconds=600)
    assert passes(capsys) == [
        {"pass": 1, "days": 1, "rows_read": len(second), "rows_written": len(second), "duplicates": 0},
        {"pass": 2, "days": 0},
    ]
    first_file, files = files[FIRST], curated_files(buckets)
    assert files[FIRST] == first_file
    check_rows(files[SECOND], second, [*changed, *hours[1][9:]])

    # A run over the same input does nothing; one that has lost its state writes the same bytes.
    job.run(spark, s3, PATHS, max_seconds=600)
    assert passes(capsys) == [{"pass": 1, "days": 0}]
    before = {day: hashlib.sha256(path.read_bytes()).digest() for day, path in files.items()}
    (buckets["curated"] / "_state/flights.json").unlink()
    job.run(spark, s3, PATHS, max_seconds=600)
    files = curated_files(buckets)
    assert {day: hashlib.sha256(path.read_bytes()).digest() for day, path in files.items()} == before


def test_a_stream_that_never_rests_is_left_to_the_next_run_when_time_is_over(
    s3: FolderS3,
    deliver: Callable[..., None],
    days: list[list[Event]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = itertools.count(step=100)  # the clock is asked once before, and three times a pass
    monkeypatch.setattr(job, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    monkeypatch.setattr(job, "curate", lambda *_: {})
    objects = itertools.count()
    s3.after_put = lambda: deliver(FIRST, str(next(objects)), days[0][:1], at=1_000)
    s3.after_put()
    job.run(None, s3, PATHS, max_seconds=600)
    stopped = {"stopped": "what arrived since is left to the next run", "max_seconds": 600}
    assert passes(capsys) == [{"pass": 1, "days": 1}, {"pass": 2, "days": 1}, stopped]
    s3.after_put = lambda: None
    job.run(None, s3, PATHS, max_seconds=600)
    assert passes(capsys) == [{"pass": 1, "days": 1}, {"pass": 2, "days": 0}]


def check_rows(path: Path, events: list[Event], hours: list[Event]) -> None:
    """Hold a day's file against its events: the declared columns, every id once, a sample's values."""
    table = pq.read_table(path, partitioning=None)
    assert [(field.name, field.type) for field in table.schema] == [
        (name, ARROW[glue_type]) for name, glue_type in CURATED_COLUMNS
    ]
    assert pq.read_metadata(path).row_group(0).column(0).compression == "SNAPPY"
    rows = {row["event_id"]: row for row in table.to_pylist()}
    assert sorted(table["event_id"].to_pylist()) == sorted(event["event_id"] for event in events)
    for event in events[::100]:
        sent = {name: event[name] for name, _ in RAW_COLUMNS}
        assert rows[event["event_id"]] == sent | looked_up(event, hours)


@pytest.fixture(scope="module")
def references(spark: "SparkSession") -> dict[str, "DataFrame"]:
    """Small lookup tables with a key twice, and rows that nothing looks up."""
    null, early, late = None, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    rest = (28.0, 64.4, 260.0, 12.7, null, 0.0, 1011.9, 10.0, 2013, 1, 1)
    hours = [
        ("a", "2013-01-01T10:00:00Z", "EWR", 5, 39.0, *rest, late),
        ("a", "2013-01-01T10:00:00Z", "EWR", 5, 99.0, *rest, early),
        ("b", "2013-01-01T11:00:00Z", "EWR", 6, 39.0, *rest, early),
    ]
    plane = ("N14228", 1999, "Fixed wing", "BOEING", "737-824", 2, 149, null, "Turbo-fan")
    return {
        "weather": spark.createDataFrame(hours, f"{job.WEATHER_SCHEMA}, arrived timestamp"),
        "planes": spark.createDataFrame([plane, plane], job.PLANES_SCHEMA),
        "airports": spark.createDataFrame([], job.AIRPORTS_SCHEMA),
    }


def raw_rows(spark: "SparkSession", *changes: Event) -> "DataFrame":
    event = {
        "event_id": "a", "time_hour": "2013-01-01T05:00:00-05:00", "carrier": "UA", "flight": 1545,
        "tailnum": "N14228", "origin": "EWR", "dest": "IAH", "sched_dep_time": 515, "dep_time": 517,
        "dep_delay": 2.0, "sched_arr_time": 819, "arr_time": 830, "arr_delay": 11.0, "air_time": 227.0,
        "distance": 1400.0, "hour": 5, "minute": 15, "year": 2013, "month": 1, "day": 1,
        "arrived": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    rows = [tuple((event | change).values()) for change in changes]
    return spark.createDataFrame(rows, f"{job.RAW_SCHEMA}, arrived timestamp")


def test_the_last_copy_to_arrive_wins_and_a_doubled_key_adds_no_row(
    spark: "SparkSession", references: dict[str, "DataFrame"]
) -> None:
    raw = raw_rows(
        spark,
        {"dep_delay": 1.0, "arrived": datetime(2026, 1, 1, tzinfo=UTC)},
        {"dep_delay": 9.0, "arrived": datetime(2026, 1, 3, tzinfo=UTC)},
        {"dep_delay": 5.0, "arrived": datetime(2026, 1, 2, tzinfo=UTC)},
        {"event_id": "b", "tailnum": None, "dest": "SJU", "origin": "LGA"},
    )
    rows = {row.event_id: row for row in job.transform(raw, **references).collect()}
    assert len(rows) == 2
    assert rows["a"].dep_delay == 9.0
    # 05:00 in New York is the weather's 10:00 in UTC.
    assert (rows["a"].temp, rows["a"].plane_year, rows["a"].seats) == (39.0, 1999, 149)
    assert (rows["a"].year, rows["a"].month, rows["a"].day) == (2013, "01", "01")
    assert (rows["b"].temp, rows["b"].plane_year, rows["b"].dest_lat) == (None, None, None)


def test_of_two_copies_in_one_object_the_later_one_counts(
    spark: "SparkSession",
    s3: FolderS3,
    deliver: Callable[..., None],
    days: list[list[Event]],
    references: dict[str, "DataFrame"],
) -> None:
    """And an object in a folder of the day is read, as it is listed."""
    first = [event | {"dep_delay": -1.0} for event in days[0][:20]]
    deliver(FIRST, "a", [*first, *(event | {"dep_delay": 5.0} for event in first)], at=1_000)
    deliver(FIRST, "folder/b", days[0][20:22], at=1_000)
    raw = job.read_raw(spark, PATHS.raw, job.RAW_SCHEMA, [FIRST])
    found = {row.event_id: row.dep_delay for row in job.transform(raw, **references).collect()}
    assert {found[event["event_id"]] for event in first} == {5.0}
    assert len(found) == 22
    assert lake_days.list_days(s3, PATHS.raw)[FIRST].objects == 2


def test_flights_are_shuffled_once(
    spark: "SparkSession",
    s3: FolderS3,
    deliver: Callable[..., None],
    days: list[list[Event]],
    hours: list[list[Event]],
) -> None:
    deliver(FIRST, "a", days[0][:10], at=1_000)
    deliver(FIRST, "a", hours[0], at=1_000, source="weather")
    schemas = {"planes": job.PLANES_SCHEMA, "airports": job.AIRPORTS_SCHEMA}
    tables = {name: job.read_reference(spark, PATHS.reference, name, schema) for name, schema in schemas.items()}
    weather = job.read_raw(spark, PATHS.weather, job.WEATHER_SCHEMA, [FIRST])
    curated = job.transform(job.read_raw(spark, PATHS.raw, job.RAW_SCHEMA, [FIRST]), weather, **tables)
    plan = curated._jdf.queryExecution().executedPlan().toString()
    shuffled = [line for line in plan.splitlines() if "Exchange hashpartitioning" in line]
    assert sum("year#" in line for line in shuffled) == 1
    assert sum("origin#" in line for line in shuffled) == 1  # the hours, which are few and in many small objects
    assert len(shuffled) == 2
    assert plan.count("BroadcastHashJoin") == 3


def test_a_reference_table_with_other_columns_is_refused(
    spark: "SparkSession", s3: FolderS3, buckets: dict[str, Path]
) -> None:
    (buckets["raw"] / "reference/airports/airports.csv").write_text(
        "faa,name,lon,lat,alt,tz,dst,tzone\nA,B,1,2,3,4,A,C\n"
    )
    airports = job.read_reference(spark, PATHS.reference, "airports", job.AIRPORTS_SCHEMA)
    with pytest.raises(Exception, match="CSV header does not conform to the schema"):
        airports.collect()


def test_the_raw_schemas_are_what_the_stacks_declare(spark: "SparkSession") -> None:
    for schema, columns in ((job.RAW_SCHEMA, RAW_COLUMNS), (job.WEATHER_SCHEMA, RAW_WEATHER_COLUMNS)):
        fields = spark.createDataFrame([], schema).schema.fields
        declared = [*columns, *PARTITION_KEYS]
        assert [(field.name, field.dataType.simpleString()) for field in fields] == declared


@pytest.fixture
def bucket() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="a-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield client


def test_days_are_listed_without_what_spark_does_not_read(bucket: Any) -> None:
    for key in ("a.parquet", "b.parquet", ".hidden", "_SUCCESS", "sub/c.parquet", "_sub/d.parquet"):
        bucket.put_object(Bucket="a-bucket", Key=f"flights/{FIRST}/{key}", Body=b"x")
    bucket.put_object(Bucket="a-bucket", Key=f"flights/{SECOND}/", Body=b"")
    bucket.put_object(Bucket="a-bucket", Key="flights/readme.txt", Body=b"x")
    listed = lake_days.list_days(bucket, "s3://a-bucket/flights/")
    assert {day: seen.objects for day, seen in listed.items()} == {FIRST: 3}
    assert datetime.fromisoformat(listed[FIRST].newest).tzinfo
    with pytest.raises(RuntimeError, match=r"more than one file .*day=01': 3.*committer"):
        watermark.check_one_file_a_day(bucket, "s3://a-bucket/flights/", [FIRST, SECOND])


def test_state_survives_a_round_trip_and_is_empty_at_first(bucket: Any) -> None:
    assert watermark.load_state(bucket, "s3://a-bucket/_state/flights.json") == {}
    state = {FIRST: lake_days.Seen("2026-01-01T00:00:00+00:00", 3)}
    watermark.save_state(bucket, "s3://a-bucket/_state/flights.json", state)
    assert watermark.load_state(bucket, "s3://a-bucket/_state/flights.json") == state
    with pytest.raises(ClientError):
        watermark.load_state(bucket, "s3://another/_state/flights.json")


def test_arguments_of_glue_itself_are_left_alone() -> None:
    given = [part for name, path in PATHS._asdict().items() for part in (f"--{name}_path", path)]
    given += ["--max_seconds", "600"]
    assert job.parse_args(["--JOB_NAME", "curate", *given, "--TempDir", "s3://t/"]) == (PATHS, 600)


@pytest.mark.parametrize("wrong", ["s3://raw/flights", "/data/flights/"])
def test_a_path_that_is_no_s3_folder_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = PATHS._replace(raw=wrong)._asdict().items()
    with pytest.raises(SystemExit):
        job.parse_args(["--max_seconds=600", *(f"--{name}_path={path}" for name, path in given)])
    assert "give s3://bucket/folder/" in capsys.readouterr().err
