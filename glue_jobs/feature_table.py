"""Glue job: what is known of a flight's aircraft, route and hour of the day before it is to depart, from past flights.

For each flight, the mean departure delay (minutes) and the number of the others that had left in `window_days` before
its scheduled departure with the same aircraft, on the same route, and from the same airport at the same hour. A past
flight counts from the moment it left, not from when it should have: nothing that wasn't known then is in its features.
Itself it never counts, though more than half of all flights leave before their time.

Incremental by day: a curated day that is newer than at its last run is recomputed together with the days whose window
reaches back to it, and each of their partitions is replaced.
"""

import argparse
import json
import sys
from collections.abc import Collection, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import boto3
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from glue_jobs.days import DAY_KEYS, list_days
from glue_jobs.paths import folder_path
from glue_jobs.watermark import changed_days, check_one_file_a_day, load_state, replace_days, save_state

KEYS = {"aircraft": ("tailnum",), "route": ("origin", "dest"), "hour": ("origin", "hour")}
DAY_SECONDS = 86_400
# A flight that leaves more than a day late is no history: days before the window's first would have to be read for it.
LONGEST_DELAY = 1_440  # minutes
# A day is the origin's: an aircraft's flight from Tokyo may have left before one that Honolulu files a day earlier.
ZONES = 1  # day


class Task(NamedTuple):
    """The job's arguments; `curated` and `features` are folders."""

    curated: str
    features: str
    state: str
    window_days: int


def transform(flights: DataFrame, window_days: int) -> DataFrame:
    """Return one row a flight: event_id, <key>_delay (minutes, null without history), <key>_flights, and its day.

    flights has the curated columns used here and year, month, day; event_id is unique.
    """
    # time_hour is the start of the hour, with its offset: 2013-01-01T05:00:00-05:00
    scheduled = F.unix_timestamp(F.to_timestamp("time_hour")) + F.col("minute") * 60
    reach, none = window_days * DAY_SECONDS, F.lit(None)
    late = (F.col("dep_delay") * 60).cast("long")
    timed = flights.withColumn("at", scheduled).withColumn("late", F.when(late <= LONGEST_DELAY * 60, late))
    own = F.when(F.col("late").between(-reach, -1), F.col("dep_delay"))  # it is in its own window
    asked = timed.withColumns({"own_delay": own, "past_delay": none.cast("double")})
    left = timed.where("late IS NOT NULL").withColumns(
        {"at": F.col("at") + F.col("late"), "event_id": none.cast("string"),
         "own_delay": none.cast("double"), "past_delay": F.col("dep_delay")}
    )  # fmt: skip
    keys = sorted({part for key in KEYS.values() for part in key})
    columns = ["event_id", "at", "own_delay", "past_delay", *keys, *DAY_KEYS]
    events = asked.select(*columns).unionByName(left.select(*columns))
    for name, key in KEYS.items():
        window = Window.partitionBy(*key).orderBy("at").rangeBetween(-reach, -1)
        known = F.lit(True) if name == "hour" else F.col(key[0]).isNotNull()  # flights without a tail number aren't one
        others = F.count("past_delay").over(window) - F.col("own_delay").isNotNull().cast("int")
        total = F.sum("past_delay").over(window) - F.coalesce("own_delay", F.lit(0.0))
        events = events.withColumns(
            {
                f"{name}_delay": F.when(known & (others > 0), total / others),
                f"{name}_flights": F.when(known, others).otherwise(0).cast("int"),
            }
        )
    features = [f"{name}_{kind}" for name in KEYS for kind in ("delay", "flights")]
    return events.where("event_id IS NOT NULL").select("event_id", *features, *DAY_KEYS)


def reaching(days: Collection[str], existing: Collection[str], first: int, last: int) -> list[str]:
    """Return the existing days that lie from `first` to `last` days after any of `days`; both may be negative."""
    wanted = {_date(day) + timedelta(days=offset) for day in days for offset in range(first, last + 1)}
    return sorted(day for day in existing if _date(day) in wanted)


def _date(day: str) -> date:
    return date(*(int(part.partition("=")[2]) for part in day.split("/")))


def _span(task: Task) -> int:
    """How many days before a flight's own its window reaches: one more for those that left late, and for zones."""
    return task.window_days + 1 + ZONES


def compute(spark: SparkSession, task: Task, days: Collection[str], existing: Collection[str]) -> None:
    """Replace these days' features, from all curated days that their windows reach."""
    read = [f"{task.curated}{day}/" for day in reaching(days, existing, -_span(task), ZONES)]
    flights = spark.read.option("basePath", task.curated).parquet(*read)
    wanted = spark.createDataFrame([(_date(day),) for day in days], "date date")
    features = transform(flights, task.window_days).withColumn("date", F.make_date(*DAY_KEYS))
    dated = features.join(F.broadcast(wanted), "date", "left_semi").drop("date")
    padded = dated.withColumns({key: F.lpad(F.col(key).cast("string"), 2, "0") for key in ("month", "day")})
    replace_days(padded.repartition(4, *DAY_KEYS).sortWithinPartitions(*DAY_KEYS, "event_id"), task.features)


def run(spark: SparkSession, s3: Any, task: Task) -> None:
    """Compute the features that changed days change; print how many as one JSON line.

    The days are listed before they are read: one that changes meanwhile is done again by the next run.
    """
    state = load_state(s3, task.state)
    existing = list_days(s3, task.curated)
    changed = changed_days(existing, state)
    days = reaching(changed, existing, -ZONES, _span(task))
    if days:
        compute(spark, task, days, existing)
        check_one_file_a_day(s3, task.features, days)
        save_state(s3, task.state, state | changed)
    print(json.dumps({"changed": len(changed), "days": len(days)}), flush=True)


def parse_args(arguments: Sequence[str]) -> Task:
    """Return the job's task; Glue's own arguments are left alone."""
    parser = argparse.ArgumentParser(prog="feature_table", allow_abbrev=False)
    for name in ("curated_path", "features_path"):
        parser.add_argument(f"--{name}", required=True, type=folder_path)
    parser.add_argument("--state_path", required=True)
    parser.add_argument("--window_days", required=True, type=int)
    options, _ = parser.parse_known_args(arguments)
    if options.window_days < 1:
        parser.error(f"--window_days is {options.window_days}: give 1 or more")
    return Task(options.curated_path, options.features_path, options.state_path, options.window_days)


def main() -> None:
    """Run as Glue runs it."""
    task = parse_args(sys.argv[1:])
    spark = SparkSession.builder.appName("feature_table").getOrCreate()
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    run(spark, boto3.client("s3"), task)


if __name__ == "__main__":
    main()
