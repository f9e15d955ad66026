"""Glue job: the small Parquet files of each day become one, where nobody has written for some hours.

S3 can't rename, so a day is swapped in steps that a killed run may leave anywhere, and the next run goes on from:

1. the day's files are read and written as one under `_compact/`, which neither Spark nor Athena sees;
2. a manifest beside it names the files and their ETags: from here on the swap will be completed;
3. the new file is copied into the day, then those of the manifest that are unchanged are deleted;
4. manifest and staged file are deleted.

Between the copy and the deletes, a moment unless the run is killed there, a reader finds the day's rows twice; deleting
first would show it none, and keep them in one place only. What arrives meanwhile is not in the manifest and stays.

A streaming job that was killed between a batch's write and its commit writes that batch again, into the same folder
(batch=7), whenever it is started: a day with such a batch is left until the checkpoint says that it is committed.

Not for prefixes whose files are replaced (curated flights, features: their jobs leave one file a day), nor for raw
flights, where the last copy of an event to arrive is the one that counts and the file says when it came.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import boto3
from botocore.exceptions import ClientError
from pyspark.sql import SparkSession

from glue_jobs.days import list_by_day
from glue_jobs.paths import folder_path, list_objects, split_path

STAGED = "_compact/"
MOST_BYTES = 4 * 1024**3  # CopyObject takes 5 GiB
_BATCH = re.compile(r"/batch=(\d+)/")


class Task(NamedTuple):
    """The job's arguments: the folder of days, its streaming job's checkpoint, and the hours without a write."""

    path: str
    checkpoint: str
    idle_hours: int


class File(NamedTuple):
    """An object of a day."""

    key: str
    etag: str
    size: int
    modified: datetime

    @property
    def batch(self) -> int:
        """The batch of the streaming job that wrote it; -1 for a file of none."""
        found = _BATCH.search(self.key)
        return int(found[1]) if found else -1


def list_files(s3: Any, path: str) -> dict[str, list[File]]:
    """Return each day's files, those of batches too."""
    days: dict[str, list[File]] = {}
    for day, item in list_by_day(s3, path):
        days.setdefault(day, []).append(File(item["Key"], item["ETag"], item["Size"], item["LastModified"]))
    return days


def last_commit(s3: Any, checkpoint: str) -> int:
    """The last batch that the streaming job has committed, -1 before the first. It may write later ones again."""
    names = (key.rpartition("/")[2] for key in _keys(s3, f"{checkpoint}commits/"))
    return max((int(name) for name in names if name.isdecimal()), default=-1)


def due(days: dict[str, list[File]], before: datetime, committed: int) -> dict[str, list[File]]:
    """The days of several files, all committed and none written since `before`, together no more than MOST_BYTES."""
    return {
        day: files
        for day, files in sorted(days.items())
        if len(files) > 1
        and max(file.batch for file in files) <= committed
        and max(file.modified for file in files) < before
        and sum(file.size for file in files) <= MOST_BYTES
    }


def stage(spark: SparkSession, s3: Any, path: str, day: str, files: Sequence[File]) -> None:
    """Steps 1 and 2. Raises RuntimeError if the new file has another number of rows than those it is made of."""
    bucket, prefix = split_path(path)
    folder = f"{path}{STAGED}{day}/"
    old = [f"s3://{bucket}/{file.key}" for file in files]
    rows = spark.read.option("mergeSchema", True).option("recursiveFileLookup", True).parquet(*old)
    rows.coalesce(1).write.mode("overwrite").parquet(folder)
    before, after = rows.count(), spark.read.parquet(folder).count()
    if before != after:
        raise RuntimeError(f"{folder} has {after} rows of {before}")
    (staged,) = (key for key in _keys(s3, folder) if key.endswith(".parquet"))
    manifest = {"staged": staged, "old": {file.key: file.etag for file in files}}
    s3.put_object(Bucket=bucket, Key=_manifest(prefix, day), Body=json.dumps(manifest).encode())


def swap(s3: Any, path: str, day: str) -> int:
    """Steps 3 and 4, for a day with a manifest, as often as it takes; returns the number of files deleted."""
    bucket, prefix = split_path(path)
    manifest = json.loads(s3.get_object(Bucket=bucket, Key=_manifest(prefix, day))["Body"].read())
    name = manifest["staged"].rpartition("/")[2]
    s3.copy_object(Bucket=bucket, Key=f"{prefix}{day}/{name}", CopySource={"Bucket": bucket, "Key": manifest["staged"]})
    unchanged = [key for key, etag in manifest["old"].items() if _etag(s3, bucket, key) == etag]
    for key in unchanged:
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_object(Bucket=bucket, Key=_manifest(prefix, day))
    for key in _keys(s3, f"{path}{STAGED}{day}/"):
        s3.delete_object(Bucket=bucket, Key=key)
    return len(unchanged)


def _manifest(prefix: str, day: str) -> str:
    return f"{prefix}{STAGED}{day.replace('/', '-')}.json"


def _keys(s3: Any, path: str) -> Iterator[str]:
    return (item["Key"] for item in list_objects(s3, path))


def _etag(s3: Any, bucket: str, key: str) -> str | None:
    """An object's ETag, or None if it is gone."""
    try:
        return str(s3.head_object(Bucket=bucket, Key=key)["ETag"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "404":
            raise
        return None


def unfinished(s3: Any, path: str) -> list[str]:
    """The days whose swap a killed run has left."""
    manifests = (key for key in _keys(s3, f"{path}{STAGED}") if key.endswith(".json"))
    return [key.rpartition("/")[2].removesuffix(".json").replace("-", "/") for key in manifests]


def run(spark: SparkSession, s3: Any, task: Task, now: datetime) -> None:
    """Finish what a killed run has left, then compact the days that are due; print one JSON line.

    Raises ExceptionGroup, when the other days are done, for those that can't be read or are not whole when written.
    """
    finished = unfinished(s3, task.path)
    for day in finished:
        swap(s3, task.path, day)
    committed = last_commit(s3, task.checkpoint)
    days = due(list_files(s3, task.path), now - timedelta(hours=task.idle_hours), committed)
    files, failed = 0, []
    for day, old in days.items():
        try:
            stage(spark, s3, task.path, day, old)
        except Exception as error:  # a day that no run can read must not keep the others from theirs
            error.add_note(f"{task.path}{day}/ is left as it is")
            failed.append(error)
        else:
            files += swap(s3, task.path, day)
    done = {"finished": len(finished), "days": len(days) - len(failed), "files": files, "failed": len(failed)}
    print(json.dumps({"path": task.path, **done}), flush=True)
    if failed:
        raise ExceptionGroup(f"days of {task.path} that can't be compacted", failed)


def parse_args(arguments: Sequence[str]) -> Task:
    """Return the job's task; Glue's own arguments are left alone."""
    parser = argparse.ArgumentParser(prog="compact", allow_abbrev=False)
    for name in ("path", "checkpoint_path"):
        parser.add_argument(f"--{name}", required=True, type=folder_path)
    parser.add_argument("--idle_hours", required=True, type=int)
    options, _ = parser.parse_known_args(arguments)
    if options.idle_hours < 1:
        parser.error(f"--idle_hours is {options.idle_hours}: give 1 or more, so that no writer is at work")
    return Task(options.path, options.checkpoint_path, options.idle_hours)


def main() -> None:
    """Run as Glue runs it."""
    task = parse_args(sys.argv[1:])
    run(SparkSession.builder.appName("compact").getOrCreate(), boto3.client("s3"), task, datetime.now(UTC))


if __name__ == "__main__":
    main()
