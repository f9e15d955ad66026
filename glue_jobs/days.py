"""What lies under each day of a path: its objects and its rows, for the jobs that go by the day.

A day is its folder's path, "year=2013/month=01/day=05"; `s3` is a boto3 client, paths are s3://bucket/prefix/.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from glue_jobs.paths import list_visible, split_path

DAY_KEYS = ("year", "month", "day")
_DAY_IN_KEY = re.compile(r"year=\d{4}/month=\d{2}/day=\d{2}(?=/)")


class Seen(NamedTuple):
    """A day's objects: when the newest was written (ISO, UTC) and how many there are.

    The count tells apart objects of the same second, which is as fine as S3's clock is.
    """

    newest: str
    objects: int


def list_by_day(s3: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object that Spark and Athena read in a day, as S3 lists it; those in folders of the day too."""
    prefix = split_path(path)[1]
    for item in list_visible(s3, path):
        found = _DAY_IN_KEY.match(item["Key"], len(prefix))
        if found and item["Size"]:
            yield found[0], item


def list_days(s3: Any, path: str) -> dict[str, Seen]:
    """Return what lies under each day of a path."""
    days: dict[str, Seen] = {}
    for day, item in list_by_day(s3, path):
        newest, objects = days.get(day, Seen("", 0))
        days[day] = Seen(max(newest, item["LastModified"].isoformat()), objects + 1)
    return days


def read_days(spark: SparkSession, path: str, schema: str, days: Collection[str]) -> DataFrame:
    """Read the rows of these days, which exist, and when each `arrived`: its object's time, and its place in that."""
    folders = [f"{path}{day}/" for day in sorted(days)]
    rows = spark.read.schema(schema).option("basePath", path).parquet(*folders)
    return rows.withColumn("arrived", F.struct("_metadata.file_modification_time", "_metadata.row_index"))
