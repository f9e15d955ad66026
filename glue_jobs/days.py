"""What jobs that go by the day share: listing what each day holds, remembering it, and replacing days whole.

A day is its folder's path, "year=2013/month=01/day=05"; `s3` is a boto3 client, paths are s3://bucket/prefix/.
"""

import json
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from botocore.exceptions import ClientError
from pyspark.sql import DataFrame

from glue_jobs.paths import split_path

DAY_KEYS = ("year", "month", "day")
# Names that begin with a dot or an underscore are hidden to Spark.
_DAY_IN_KEY = re.compile(r"year=\d{4}/month=\d{2}/day=\d{2}(?=/[^/._][^/]*$)")


class Seen(NamedTuple):
    """A day's objects: when the newest was written (ISO, UTC) and how many there are.

    The count tells apart objects of the same second, which is as fine as S3's clock is.
    """

    newest: str
    objects: int


def list_days(s3: Any, path: str) -> dict[str, Seen]:
    """Return what lies under each day of a path."""
    bucket, prefix = split_path(path)
    days: dict[str, Seen] = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            found = _DAY_IN_KEY.match(item["Key"], len(prefix))
            if found and item["Size"]:
                newest, objects = days.get(found[0], Seen("", 0))
                days[found[0]] = Seen(max(newest, item["LastModified"].isoformat()), objects + 1)
    return days


def changed_days(listed: dict[str, Seen], state: dict[str, Seen]) -> dict[str, Seen]:
    """Return the days that hold newer or more objects than `state` says."""
    return {day: seen for day, seen in listed.items() if seen > state.get(day, ("", 0))}


def load_state(s3: Any, path: str) -> dict[str, Seen]:
    """Return what each day held when it was last done; nothing before the first run."""
    bucket, key = split_path(path)
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        # Without s3:ListBucket a missing object is AccessDenied: a fault of the role that must not pass.
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return {}
    return {day: Seen(**seen) for day, seen in json.loads(body)["days"].items()}


def save_state(s3: Any, path: str, days: dict[str, Seen]) -> None:
    """Write what each day held; MaxConcurrentRuns 1 makes this job the only writer."""
    bucket, key = split_path(path)
    body = json.dumps({"days": {day: seen._asdict() for day, seen in sorted(days.items())}}, indent=1)
    s3.put_object(Bucket=bucket, Key=key, Body=body.encode(), ContentType="application/json")


def replace_days(table: DataFrame, path: str) -> None:
    """Write a table's days, each in place of what its folder held; other days are left alone."""
    (
        table.write.mode("overwrite")
        .option("partitionOverwriteMode", "dynamic")
        .option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false")
        .partitionBy(*DAY_KEYS)
        .parquet(path, compression="snappy")
    )


def check_one_file_a_day(s3: Any, path: str, days: Collection[str]) -> None:
    """Raise RuntimeError if a written day holds more than one file.

    Some S3 committers append where Spark's own replaces (SPARK-56588): a day would count twice, silently.
    """
    held = list_days(s3, path)
    wrong = {day: held[day].objects for day in sorted(days) if day in held and held[day].objects > 1}
    if wrong:
        raise RuntimeError(
            f"days with more than one file under {path}: {wrong}. This job's Spark committer does "
            f"not replace partitions: set SQLHadoopMapReduceCommitProtocol, delete the days and run again"
        )
