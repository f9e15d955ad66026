"""Compaction of a day's small files: killed at any step and run again, no row is lost and none is there twice."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.folder_s3 import FolderS3
from glue_jobs import compact as job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.xdist_group("spark")

PATH = "s3://curated/hourly/"
TASK = job.Task(PATH, "s3://curated/_checkpoints/hourly/", 24)
FIRST, SECOND = "year=2013/month=01/day=05", "year=2013/month=01/day=06"


class Killed(Exception):
    """The run ends here, as if its worker had gone."""


class FailingS3(FolderS3):
    """An S3 that dies before the `calls_left`-th next call that changes something."""

    calls_left = 10_000

    def _count(self) -> None:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise Killed

    def put_object(self, *arguments: Any, **named: Any) -> None:
        self._count()
        super().put_object(*arguments, **named)

    def delete_object(self, Bucket: str, Key: str) -> None:
        self._count()
        super().delete_object(Bucket, Key)


@pytest.fixture
def s3(buckets: dict[str, Path]) -> Iterator[FailingS3]:
    yield FailingS3(buckets)
    for folder in ("hourly", "_checkpoints"):
        shutil.rmtree(buckets["curated"] / folder, ignore_errors=True)


@pytest.fixture
def deliver(buckets: dict[str, Path]) -> Callable[[str, list[int]], None]:
    """Return a function that writes one file of rows to a day."""

    def write(key: str, numbers: list[int]) -> None:
        path = buckets["curated"] / "hourly" / f"{key}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"number": numbers}), path)

    return write


def now(hours: int = 0) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


def rows(buckets: dict[str, Path], day: str) -> Counter[int]:
    """How often each row is in a day's files, as Spark and Athena see it."""
    folder = buckets["curated"] / "hourly" / day
    return Counter(number for path in folder.rglob("*.parquet") for number in pq.read_table(path)["number"].to_pylist())


def test_small_files_become_one_and_a_second_run_changes_nothing(
    spark: "SparkSession",
    s3: FailingS3,
    buckets: dict[str, Path],
    deliver: Callable[[str, list[int]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for batch in range(3):
        deliver(f"{FIRST}/batch={batch}/a", [batch, batch + 10])
    deliver(f"{SECOND}/a", [7])
    s3.put_object("curated", "_checkpoints/hourly/commits/2", b"v1")
    job.run(spark, s3, TASK, now(23))
    job.run(spark, s3, TASK, now(25))
    before = {path: path.read_bytes() for path in (buckets["curated"] / "hourly").rglob("*.parquet")}
    job.run(spark, s3, TASK, now(25))
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["days"], line["files"]) for line in told] == [(0, 0), (1, 3), (0, 0)], "no day is written to"
    files = {day: len(found) for day, found in job.list_files(s3, PATH).items()}
    assert files == {FIRST: 1, SECOND: 1}
    assert rows(buckets, FIRST) == Counter([0, 10, 1, 11, 2, 12])
    assert before == {path: path.read_bytes() for path in (buckets["curated"] / "hourly").rglob("*.parquet")}


def test_killed_anywhere_and_run_again(
    spark: "SparkSession", s3: FailingS3, buckets: dict[str, Path], deliver: Callable[[str, list[int]], None]
) -> None:
    """At every step no row is away; after the next run each is there once, with what had come meanwhile."""
    for batch in range(3):
        deliver(f"{FIRST}/{batch}", [batch])
    job.stage(spark, s3, PATH, FIRST, job.list_files(s3, PATH)[FIRST])
    kept = shutil.copytree(buckets["curated"] / "hourly", buckets["curated"].parent / "kept")
    steps, doubled = 0, 0
    while True:
        shutil.rmtree(buckets["curated"] / "hourly")
        shutil.copytree(kept, buckets["curated"] / "hourly")
        s3.calls_left = steps
        try:
            job.swap(s3, PATH, FIRST)
        except Killed:
            seen = rows(buckets, FIRST)
            assert seen.keys() == {0, 1, 2}
            doubled += seen.total() > 3
            deliver(f"{FIRST}/late", [9])
            s3.calls_left = 10_000
            assert [job.swap(s3, PATH, day) for day in job.unfinished(s3, PATH)] or not list(_manifests(buckets))
            assert rows(buckets, FIRST) == Counter([0, 1, 2, 9])
            steps += 1
        else:
            break
    assert steps > 5, "copy, three files, manifest and staged file"
    assert doubled, "readers between copy and delete: as documented"
    assert job.unfinished(s3, PATH) == []


def _manifests(buckets: dict[str, Path]) -> Iterator[Path]:
    return (buckets["curated"] / "hourly" / "_compact").rglob("*.json")


def test_a_file_that_was_replaced_meanwhile_stays(
    spark: "SparkSession", s3: FailingS3, buckets: dict[str, Path], deliver: Callable[[str, list[int]], None]
) -> None:
    deliver(f"{FIRST}/a", [1])
    deliver(f"{FIRST}/b", [2])
    job.stage(spark, s3, PATH, FIRST, job.list_files(s3, PATH)[FIRST])
    deliver(f"{FIRST}/b", [3])
    assert job.swap(s3, PATH, FIRST) == 1
    assert (buckets["curated"] / "hourly" / FIRST / "b.parquet").exists()


def test_a_day_that_cannot_be_read_is_named_when_the_others_are_done(
    spark: "SparkSession", s3: FailingS3, buckets: dict[str, Path], deliver: Callable[[str, list[int]], None]
) -> None:
    for number, day in enumerate((FIRST, SECOND)):
        deliver(f"{day}/a", [number])
        deliver(f"{day}/b", [number + 10])
    s3.put_object("curated", f"hourly/{FIRST}/a.parquet", b"no Parquet")
    with pytest.raises(ExceptionGroup, match=r"days of s3://curated/hourly/ that can't be compacted") as raised:
        job.run(spark, s3, TASK, now(25))
    assert [error.__notes__ for error in raised.value.exceptions] == [[f"{PATH}{FIRST}/ is left as it is"]]
    assert {day: len(found) for day, found in job.list_files(s3, PATH).items()} == {FIRST: 2, SECOND: 1}
    assert rows(buckets, SECOND) == Counter([1, 11])


def test_what_is_due() -> None:
    def files(*sizes: int, hour: int = 0, key: str = "k") -> list[job.File]:
        return [job.File(key, "e", size, datetime(2026, 1, 1, hour, tzinfo=UTC)) for size in sizes]

    days = {"one": files(1), "two": files(1, 1), "fresh": files(1, 1, hour=5), "big": files(1, job.MOST_BYTES)}
    days |= {"old": files(1, 1, key="day=01/batch=9/f"), "open": files(1) + files(1, key="day=01/batch=10/f")}
    assert job.due(days, datetime(2026, 1, 1, 4, tzinfo=UTC), 9).keys() == {"two", "old"}


def test_the_last_commit_is_the_largest_number(s3: FailingS3) -> None:
    assert job.last_commit(s3, TASK.checkpoint) == -1
    for name in ("commits/9", "commits/10", "commits/.11.tmp", "commits/12.tmp", "offsets/11"):
        s3.put_object("curated", f"_checkpoints/hourly/{name}", b"")
    assert job.last_commit(s3, TASK.checkpoint) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--path": "s3://a/b"}, "--path: 's3://a/b' is no folder: give s3://bucket/folder/, with a slash at the end"),
        ({"--checkpoint_path": "/a/"}, "--checkpoint_path: '/a/' is no folder: give s3://"),
        ({"--idle_hours": "0"}, "give 1 or more"),
    ],
)
def test_arguments(change: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"--path": TASK.path, "--checkpoint_path": TASK.checkpoint, "--idle_hours": "24", "--JOB_NAME": "compact"}
    assert job.parse_args([word for pair in given.items() for word in pair]) == TASK
    with pytest.raises(SystemExit):
        job.parse_args([word for pair in (given | change).items() for word in pair])
    assert message in capsys.readouterr().err
