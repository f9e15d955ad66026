"""Glue job: the hourly weather of each station and day as one object in two layouts, date first and station first.

A day is written again, whole, when a raw object of it has arrived within the last `arrived_hours`: a second run over
the same input writes the same bytes, late hours land in their own day, and a night without a run is made up for.
"""

import argparse
import io
import itertools
import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, Row, SparkSession, Window
from pyspark.sql import functions as F

from glue_jobs.days import list_by_day, read_days
from glue_jobs.paths import folder_path, split_path

PARTITION = ("year", "month", "day", "station")
# Partition columns are read from the path (year=2013/month=01/day=05).
RAW_SCHEMA = """event_id string, time_hour string, origin string, hour int, temp double, dewp double, humid double,
    wind_dir double, wind_speed double, wind_gust double, precip double, pressure double, visib double,
    year int, month int, day int"""
WRITTEN = pa.schema(
    [("event_id", pa.string()), ("time_hour", pa.string()), ("hour", pa.int32())]
    + [(name, pa.float64()) for name in ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip")]
    + [(name, pa.float64()) for name in ("pressure", "visib")]
)

_PUTS = 16  # at once


class Options(NamedTuple):
    """The job's arguments. `layouts` are s3:// folders with str.format's fields for year, month, day and station."""

    raw: str
    layouts: tuple[str, ...]
    stations: frozenset[str]
    arrived_hours: int


def recent_days(s3: Any, raw_path: str, since: datetime) -> set[str]:
    """The days ("year=2013/month=01/day=05") of which an object has arrived since then."""
    return {day for day, item in list_by_day(s3, raw_path) if item["LastModified"] >= since}


def hours(raw: DataFrame) -> DataFrame:
    """One row an event, a station's day together and in order. Of rows with one event_id the last to arrive wins."""
    values = [name for name in raw.columns if name != "arrived"]
    latest = Window.partitionBy("event_id").orderBy(F.col("arrived").desc(), F.xxhash64(*values))
    rows = raw.withColumn("rank", F.row_number().over(latest)).where("rank = 1").drop("rank", "arrived")
    return (
        rows.withColumnRenamed("origin", "station")
        .repartition(*PARTITION)
        .sortWithinPartitions(*PARTITION, "time_hour", "event_id")
    )


def files(rows: Iterable[Row], layouts: Sequence[str]) -> Iterator[tuple[str, bytes, str]]:
    """(place, Parquet, station) of each station's day in each layout, of rows in the order of `hours`."""
    for _, group in itertools.groupby(rows, key=lambda row: [row[key] for key in PARTITION]):
        day = [row.asDict() for row in group]
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(day, schema=WRITTEN), file, compression="snappy")
        folder = {key: day[0][key] for key in PARTITION}
        for layout in layouts:
            yield layout.format(**folder) + "hours.parquet", file.getvalue(), day[0]["station"]


def write(spark: SparkSession, s3: Any, options: Options, days: Collection[str]) -> tuple[int, set[str]]:
    """Write these days; return the number of objects and the stations they are of."""
    rows = hours(read_days(spark, options.raw, RAW_SCHEMA, days)).rdd

    def put(file: tuple[str, bytes, str]) -> str:
        place, body, station = file
        bucket, key = split_path(place)
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/vnd.apache.parquet")
        return station

    made = rows.mapPartitions(partial(files, layouts=options.layouts)).toLocalIterator()
    with ThreadPoolExecutor(_PUTS) as pool:
        written = list(pool.map(put, made))
    return len(written), set(written)


def run(spark: SparkSession, s3: Any, options: Options, now: datetime) -> None:
    """Write the days that changed and print one JSON line.

    Raises RuntimeError, when all is written, for stations that the tables don't list: queries would not find them.
    """
    days = recent_days(s3, options.raw, now - timedelta(hours=options.arrived_hours))
    objects, stations = write(spark, s3, options, days) if days else (0, set())
    print(json.dumps({"days": len(days), "objects": objects, "stations": sorted(stations)}), flush=True)
    if unlisted := sorted(stations - options.stations):
        raise RuntimeError(
            f"weather of {', '.join(unlisted)} is written but not in the tables, whose partitions are "
            f"{', '.join(sorted(options.stations))}: add what is missing to the setting data_catalog.stations"
        )


def parse_args(arguments: Sequence[str]) -> Options:
    """Return the job's options; Glue's own arguments (--JOB_NAME, --TempDir) are left alone."""
    parser = argparse.ArgumentParser(prog="weather_layouts", allow_abbrev=False)
    for name in ("raw_path", "by_date_path", "by_station_path"):
        parser.add_argument(f"--{name}", required=True, type=folder_path)
    parser.add_argument("--stations", required=True)
    parser.add_argument("--arrived_hours", required=True, type=int)
    given = parser.parse_known_args(arguments)[0]
    for name in ("by_date_path", "by_station_path"):
        fields = set(re.findall(r"{(\w+)", getattr(given, name)))
        if fields != set(PARTITION):
            parser.error(f"--{name} is {getattr(given, name)!r}: it needs a field for each of {', '.join(PARTITION)}")
    layouts = (given.by_date_path, given.by_station_path)
    return Options(given.raw_path, layouts, frozenset(given.stations.split(",")), given.arrived_hours)


def main() -> None:
    """Run as Glue runs it: a plain Spark session, with arguments from the command line."""
    options = parse_args(sys.argv[1:])
    spark = SparkSession.builder.appName("weather_layouts").getOrCreate()
    # The default, 200 tasks for a few hundred hours a day, outlasts the hours.
    spark.conf.set("spark.sql.shuffle.partitions", "4")
    run(spark, boto3.client("s3"), options, datetime.now(UTC))


if __name__ == "__main__":
    main()
