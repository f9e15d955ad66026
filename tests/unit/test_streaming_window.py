"""Hourly counts of a stream are those of the same flights as a table, whatever the batches, repeats and restarts."""

import json
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from glue_jobs import streaming_window as job
from producers import flights

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


@pytest.mark.requirement("str-spark-streaming")
def test_the_stream_counts_what_the_table_does(
    spark: "SparkSession", buckets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    monkeypatch.setenv("TZ", "UTC")
    events = list(flights.events(months=[1], days=[1, 2], limit=1_100))
    source = tmp_path / "source"
    source.mkdir()
    # The last flights are of the next day: they close the windows of the day before.
    batches = [events[:400], events[390:840], events[840:]]
    for number, batch in enumerate(batches):
        (source / f"{number}.json").write_text("".join(json.dumps(event) + "\n" for event in batch))
    (source / "3.json").write_text(json.dumps({"origin": "EWR", "time_hour": events[0]["time_hour"]}) + "\nno JSON\n")
    task = job.Task("", "s3://curated/hourly-counts/", str(tmp_path / "checkpoint"), 2, 1)
    target = buckets["curated"] / "hourly-counts"

    def process() -> None:
        stream = spark.readStream.schema(job.EVENT_SCHEMA).option("maxFilesPerTrigger", 1).json(str(source))
        job.write_counts(stream, task).trigger(availableNow=True).start().awaitTermination()

    try:
        process()
        shutil.rmtree(tmp_path / "checkpoint" / "commits")  # killed after its batches were written: they are repeated
        process()
        streamed = collected(spark.read.parquet(task.target))
        table = collected(job.count_by_hour(spark.createDataFrame(_columns(events), job.EVENT_SCHEMA), 2))
        assert table == counted(events)
        closed_until = max(map(scheduled, events)) - timedelta(hours=task.late_hours)
        closed = {key: count for key, count in table.items() if key[0] + timedelta(hours=1) <= closed_until}
        assert streamed == closed
        assert len(closed) > 50
        folders = {str(path.parent.relative_to(target)) for path in target.rglob("*.parquet")}
        assert all(folder.startswith("year=2013/month=01/day=0") and "/batch=" in folder for folder in folders)
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone)


def _columns(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = [field.split()[0] for field in job.EVENT_SCHEMA.split(", ")]
    return [tuple(event[name] for name in names) for event in events]
