"""What a job has done of each day, remembered in S3, and replacing days whole: for jobs that do changed days again."""

import json
from collections.abc import Collection
from typing import Any

from botocore.exceptions import ClientError
from pyspark.sql import DataFrame

from glue_jobs.days import DAY_KEYS, Seen, list_days
from glue_jobs.paths import split_path


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
