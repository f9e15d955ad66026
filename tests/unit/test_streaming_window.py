"""Hourly counts of a stream are those of the same flights as a table, whatever the batches, repeats and restarts."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from glue_jobs import compact
from glue_jobs import streaming_window as job
from producers import flights
from tests.unit.folder_s3 import FolderS3

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.xdist_group("spark")

Key = tuple[datetime, str, str]


def counted(events: list[dict[str, Any]]) -> Counter[Key]:
    """The counts by hour (UTC), origin and action, in plain Python."""
    found: Counter[Key] = Counter()
    for event in {event["event_id"]: event for event in events}.values():
        late = (event["dep_delay"] or 0) > 15
        action = "cancelled" if event["dep_time"] is None else "late" if late else "on time"
        found[(scheduled(event).replace(minute=0), event["origin"], action)] += 1
    return found


def scheduled(event: dict[str, Any]) -> datetime:
    """The scheduled departure in UTC, without saying so, as Spark gives it."""
    at = datetime.fromisoformat(event["time_hour"]) + timedelta(minutes=event["minute"])
    return at.astimezone(UTC).replace(tzinfo=None)


def collected(table: Any) -> Counter[Key]:
    rows = table.collect()
    assert len({(row.window_start, row.origin, row.action) for row in rows}) == len(rows)
    return Counter({(row.window_start, row.origin, row.action): row.flights for row in rows})


class Stream:
    """Flights of two days in four files, each a batch, one with what is no event; and the job's query over them."""

    def __init__(self, spark: "SparkSession", folder: Path) -> None:
        self.spark, self.source = spark, folder / "source"
        self.task = job.Task("", "s3://curated/hourly-counts/", f"{folder.as_uri()}/checkpoint/", 2, 1)
        self.events = list(flights.events(months=[1], days=[1, 2], limit=1_100))
        self.source.mkdir()
        # The last flights are of the next day: they close the windows of the day before.
        for number, batch in enumerate([self.events[:400], self.events[390:840], self.events[840:]]):
            lines = (json.dumps(event) + "\n" for event in batch)
            (self.source / f"{number}.json").write_text("".join(lines))
        unnamed = {"origin": "EWR", "time_hour": self.events[0]["time_hour"]}
        (self.source / "3.json").write_text(json.dumps(unnamed) + "\nno JSON\n")

    def process(self) -> None:
        """Run the query until it has read what there is."""
        events = self.spark.readStream.schema(job.EVENT_SCHEMA).option("maxFilesPerTrigger", 1).json(str(self.source))
        job.write_counts(events, self.task).trigger(availableNow=True).start().awaitTermination()

    def written(self) -> Counter[Key]:
        """The target's counts, each hour's once."""
        return collected(self.spark.read.option("recursiveFileLookup", True).parquet(self.task.target))

    def closed(self) -> Counter[Key]:
        """The counts of the hours that the watermark has closed."""
        until = max(map(scheduled, self.events)) - timedelta(hours=self.task.late_hours)
        return Counter({key: n for key, n in counted(self.events).items() if key[0] + timedelta(hours=1) <= until})


@pytest.fixture
def stream(
    spark: "SparkSession", buckets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stream]:
    zone = str(spark.conf.get("spark.sql.session.timeZone"))
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    monkeypatch.setenv("TZ", "UTC")
    yield Stream(spark, tmp_path)
    spark.conf.set("spark.sql.session.timeZone", zone)
    shutil.rmtree(buckets["curated"] / "hourly-counts", ignore_errors=True)


@pytest.mark.requirement("str-spark-streaming")
def test_the_stream_counts_what_the_table_does(stream: Stream, buckets: dict[str, Path], tmp_path: Path) -> None:
    stream.process()
    shutil.rmtree(tmp_path / "checkpoint" / "commits")  # killed after its batches were written: they are repeated
    stream.process()
    events = stream.spark.createDataFrame(_columns(stream.events), job.EVENT_SCHEMA)
    assert collected(job.count_by_hour(events, 2)) == counted(stream.events)
    assert stream.written() == stream.closed()
    assert len(stream.closed()) > 50
    target = buckets["curated"] / "hourly-counts"
    folders = {str(path.parent.relative_to(target)) for path in target.rglob("*.parquet")}
    assert all(folder.startswith("year=2013/month=01/day=0") and "/batch=" in folder for folder in folders)


def test_a_batch_that_is_repeated_after_its_day_was_due_for_compaction_counts_once(
    stream: Stream, buckets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between its second write of a day and the commit, idle for longer than compaction waits, and restarted."""
    s3 = FolderS3(buckets | {"checkpoint": tmp_path / "checkpoint"})
    task = compact.Task(stream.task.target, "s3://checkpoint/", 24)

    def compacted() -> dict[str, int]:
        compact.run(stream.spark, s3, task, datetime.now(UTC) + timedelta(days=30))
        return {day[-6:]: len(files) for day, files in compact.list_files(s3, task.path).items()}

    write_batch = job.write_batch

    def killed_after_two(target: str) -> Callable[[Any, int], None]:
        write, written = write_batch(target), []

        def write_or_die(counts: Any, batch: int) -> None:
            write(counts, batch)
            written.append(counts.count())
            if sum(count > 0 for count in written) == 2:
                raise RuntimeError("killed")

        return write_or_die

    with monkeypatch.context() as patched, pytest.raises(Exception, match="killed"):
        patched.setattr(job, "write_batch", killed_after_two)
        stream.process()
    assert compacted()["day=01"] == 2, "the second may be written again"
    stream.process()
    assert compacted() == {"day=01": 1, "day=02": 1}
    assert stream.written() == stream.closed()


def _columns(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = [field.split()[0] for field in job.EVENT_SCHEMA.split(", ")]
    return [tuple(event[name] for name in names) for event in events]
