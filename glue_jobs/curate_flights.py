"""Glue job: raw flights become one curated row an event, joined with weather, plane and destination airport.

Incremental by day: a day whose raw flights or weather are newer than at its last run is recomputed whole and its
partition replaced, so that a run over the same input changes nothing and late data lands in its own day.
A flight joins the weather of its origin and hour. Both are filed under the origin's local day: a day of flights
needs the same day of weather and no other.
A day is only as complete as its raw objects: they have to outlive the latest data that may still arrive.
Reference tables count from a day's next run on: to join every day with new ones, delete the state and run the job.
"""

import argparse
import json
import sys
import time
from collections.abc import Collection, Sequence
from math import ceil
from typing import Any, NamedTuple

import boto3
from pyspark.sql import Column, DataFrame, Observation, SparkSession, Window
from pyspark.sql import functions as F

from glue_jobs.days import DAY_KEYS, Seen, list_days, read_days
from glue_jobs.paths import folder_path
from glue_jobs.watermark import changed_days, check_one_file_a_day, load_state, replace_days, save_state

# Partition columns are read from the path (year=2013/month=01/day=05).
RAW_SCHEMA = """event_id string, time_hour string, carrier string, flight int, tailnum string, origin string,
    dest string, sched_dep_time int, dep_time int, dep_delay double, sched_arr_time int, arr_time int,
    arr_delay double, air_time double, distance double, hour int, minute int, year int, month int, day int"""

WEATHER_SCHEMA = """event_id string, time_hour string, origin string, hour int, temp double, dewp double,
    humid double, wind_dir double, wind_speed double, wind_gust double, precip double, pressure double,
    visib double, year int, month int, day int"""

# Schemas of the CSV files in the order of their columns; Spark refuses a file whose header differs.
PLANES_SCHEMA = """tailnum string, year int, type string, manufacturer string, model string, engines int,
    seats int, speed int, engine string"""
AIRPORTS_SCHEMA = """faa string, name string, lat double, lon double, alt double, tz double, dst string,
    tzone string"""

_WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
_OF_WEATHER = "weather/"
# A task sorts its days: a year of 3.4 million flights in two tasks took 2.3 GB and spilled, in 23 tasks it takes 1 GB.
_DAYS_A_TASK = 16


class Paths(NamedTuple):
    """The job's s3:// arguments; all but the last are folders and end with a slash."""

    raw: str
    weather: str
    reference: str
    curated: str
    state: str


def transform(raw: DataFrame, weather: DataFrame, planes: DataFrame, airports: DataFrame, days: int = 1) -> DataFrame:
    """Return one curated row an event, with its day as zero-padded strings for the partition folders.

    raw and weather have the columns of RAW_SCHEMA and WEATHER_SCHEMA, and `arrived`, which orders them. Of flights with
    one event_id, and of weather of one origin and hour, the last to arrive wins.
    Every flight is kept: what weather, planes or airports don't know of it is null. Rows are grouped by day
    and sorted, so that each day is written as one file with the same bytes every time. `days` is how many there are.
    """
    partitions = max(raw.sparkSession.sparkContext.defaultParallelism, ceil(days / _DAYS_A_TASK))
    dated = raw.withColumns({key: F.lpad(F.col(key).cast("string"), 2, "0") for key in ("month", "day")})
    # The only shuffle of the flights: a window over (day, event_id) is content with rows grouped by day.
    by_day = dated.repartition(partitions, *DAY_KEYS)
    events = [name for name in raw.columns if name not in (*DAY_KEYS, "arrived")]
    latest = Window.partitionBy(*DAY_KEYS, "event_id").orderBy(F.col("arrived").desc(), F.xxhash64(*events))
    flights = by_day.withColumn("rank", F.row_number().over(latest)).where("rank = 1").drop("rank", "arrived")
    joined = (
        flights.withColumn("hour_start", F.to_timestamp("time_hour"))
        .join(F.broadcast(_hourly_weather(weather)), ["origin", "hour_start"], "left")
        .join(F.broadcast(_plane_columns(planes)), "tailnum", "left")
        .join(F.broadcast(_airport_columns(airports)), "dest", "left")
    )
    looked_up = [name for name in joined.columns if name not in (*events, *DAY_KEYS, "hour_start")]
    return joined.select(*events, *looked_up, *DAY_KEYS)


def _hourly_weather(weather: DataFrame) -> DataFrame:
    hours = weather.select("origin", F.to_timestamp("time_hour").alias("hour_start"), "arrived", *_WEATHER)
    return _one_row_a_key(hours, "origin", "hour_start").drop("arrived")


def _plane_columns(planes: DataFrame) -> DataFrame:
    columns = (
        "tailnum",
        F.col("year").alias("plane_year"),
        "manufacturer",
        "model",
        "engines",
        "seats",
        "engine",
    )
    return _one_row_a_key(planes.select(*columns), "tailnum")


def _airport_columns(airports: DataFrame) -> DataFrame:
    columns = [F.col(name).alias(f"dest_{name}") for name in ("lat", "lon", "alt", "tz")]
    return _one_row_a_key(airports.select(F.col("faa").alias("dest"), *columns), "dest")


def _one_row_a_key(table: DataFrame, *keys: str) -> DataFrame:
    """Keep the row of each key whose values, compared in their order, are the largest: the same one every time.

    A key twice in a lookup table would multiply flights.
    """
    values = [name for name in table.columns if name not in keys]
    best: Column = F.max(F.struct(*values)).alias("row")
    return table.groupBy(*keys).agg(best).select(*keys, "row.*")


def read_raw(spark: SparkSession, path: str, schema: str, days: Collection[str]) -> DataFrame:
    """Read the raw objects of these days, none or such as exist."""
    return read_days(spark, path, schema, days) if days else spark.createDataFrame([], f"{schema}, arrived timestamp")


def read_reference(spark: SparkSession, path: str, table: str, schema: str) -> DataFrame:
    """Read one reference CSV ("NA" is null); Spark raises if the header is not the schema's."""
    rows = spark.read.csv(f"{path}{table}/", schema=schema, header=True, nullValue="NA", enforceSchema=False)
    # One partition: grouping it by key then needs no shuffle.
    return rows.coalesce(1)


def curate(spark: SparkSession, paths: Paths, days: Collection[str], weather_days: Collection[str]) -> dict[str, int]:
    """Recompute these days' partitions from all of their raw rows; return the counts of flights.

    weather_days are those of them that have any weather.
    """
    read, written = Observation("read"), Observation("written")
    count = F.count(F.lit(1)).alias("rows")
    curated = transform(
        read_raw(spark, paths.raw, RAW_SCHEMA, days).observe(read, count),
        read_raw(spark, paths.weather, WEATHER_SCHEMA, weather_days),
        read_reference(spark, paths.reference, "planes", PLANES_SCHEMA),
        read_reference(spark, paths.reference, "airports", AIRPORTS_SCHEMA),
        len(days),
    ).observe(written, count)
    replace_days(curated, paths.curated)
    rows_read, rows_written = read.get["rows"], written.get["rows"]
    return {"rows_read": rows_read, "rows_written": rows_written, "duplicates": rows_read - rows_written}


def list_input(s3: Any, paths: Paths) -> dict[str, Seen]:
    """Return what each day with flights is made of: its flights by the day, its weather by "weather/" and the day."""
    flights, weather = list_days(s3, paths.raw), list_days(s3, paths.weather)
    return flights | {f"{_OF_WEATHER}{day}": seen for day, seen in weather.items() if day in flights}


def run(spark: SparkSession, s3: Any, paths: Paths, max_seconds: int) -> None:
    """Curate days with new flights or weather, and again until a listing finds none; print one JSON line a pass.

    What arrives while a pass runs starts no run of its own when the workflow's event was batched with an
    earlier one, hence the repetition. No pass begins after `max_seconds`: a stream that never rests is for the
    next run, which its events start, or else the scheduled sweep.
    """
    began = time.monotonic()
    state = load_state(s3, paths.state)
    passes = 0
    while True:
        started = time.monotonic()
        # Listed before it is read: an object that arrives in between is curated now and in the next pass.
        found = list_input(s3, paths)
        changed = changed_days(found, state)
        days = {part.removeprefix(_OF_WEATHER) for part in changed}
        counts = curate(spark, paths, days, [day for day in days if f"{_OF_WEATHER}{day}" in found]) if days else {}
        if changed:
            check_one_file_a_day(s3, paths.curated, days)
            state |= changed
            save_state(s3, paths.state, state)
        passes += 1
        seconds = round(time.monotonic() - started, 1)
        print(json.dumps({"pass": passes, "days": len(days), **counts, "seconds": seconds}), flush=True)
        if not changed:
            return
        if time.monotonic() - began >= max_seconds:
            print(json.dumps({"stopped": "what arrived since is left to the next run", "max_seconds": max_seconds}))
            return


def parse_args(arguments: Sequence[str]) -> tuple[Paths, int]:
    """Return the job's paths and its max_seconds; Glue's own arguments (--JOB_NAME, --TempDir) are left alone."""
    parser = argparse.ArgumentParser(prog="curate_flights", allow_abbrev=False)
    for name in Paths._fields:
        parser.add_argument(f"--{name}_path", required=True, type=str if name == "state" else folder_path)
    parser.add_argument("--max_seconds", required=True, type=int)
    options = vars(parser.parse_known_args(arguments)[0])
    max_seconds = options.pop("max_seconds")
    return Paths(*(options[f"{name}_path"] for name in Paths._fields)), max_seconds


def main() -> None:
    """Run as Glue runs it: a plain Spark session, with arguments from the command line."""
    paths, max_seconds = parse_args(sys.argv[1:])
    spark = SparkSession.builder.appName("curate_flights").getOrCreate()
    # The defaults, 200 tasks for each small lookup table and a task to list each day, outlast the flights.
    spark.conf.set("spark.sql.shuffle.partitions", "4")
    spark.conf.set("spark.sql.sources.parallelPartitionDiscovery.parallelism", "8")
    # S3 has none, and asking for it costs a call a file.
    spark.conf.set("spark.sql.sources.ignoreDataLocality", "true")
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    run(spark, boto3.client("s3"), paths, max_seconds)


if __name__ == "__main__":
    main()
