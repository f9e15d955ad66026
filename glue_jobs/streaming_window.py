"""Glue streaming job: flights by origin and what became of them, counted by the hour as they arrive on the stream.

An hour is counted once the latest scheduled departure seen is `late_hours` beyond its end: an event that arrives after
that is in the lake but not in the count. An event that is sent twice counts once, a record without an id not at all.
Each micro-batch writes its own folder of each day, so that a batch that Spark repeats after a failure replaces what it
wrote the first time. compact.py leaves the folders of batches that may be repeated. The target belongs to its
checkpoint: who deletes one deletes both, or the stream is counted twice.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming import DataStreamWriter

# The fields of an event that are counted by; the stream has more.
EVENT_SCHEMA = "event_id string, time_hour string, origin string, dep_time int, dep_delay double, minute int"
LATE_MINUTES = 15


class Task(NamedTuple):
    """The job's arguments; `target` and `checkpoint` are folders."""

    stream_arn: str
    target: str
    checkpoint: str
    late_hours: int
    batch_seconds: int


def count_by_hour(events: DataFrame, late_hours: int) -> DataFrame:
    """Return window_start (timestamp), origin, action, flights and the day of each hour, of a stream or a table."""
    hour = F.unix_timestamp(F.to_timestamp("time_hour")) + F.coalesce("minute", F.lit(0)) * 60
    action = F.when(F.col("dep_time").isNull(), "cancelled").when(F.col("dep_delay") > LATE_MINUTES, "late")
    timed = events.select(
        "event_id", "origin", action.otherwise("on time").alias("action"), F.timestamp_seconds(hour).alias("time")
    )
    seen = timed.where("event_id IS NOT NULL").withWatermark("time", f"{late_hours} hours")
    once = seen.dropDuplicatesWithinWatermark(["event_id"]) if events.isStreaming else seen.dropDuplicates(["event_id"])
    counts = once.groupBy(F.window("time", "1 hour"), "origin", "action").agg(F.count(F.lit(1)).alias("flights"))
    start = F.col("window.start")
    return counts.select(
        start.alias("window_start"), "origin", "action", "flights", F.date_format(start, "yyyy").alias("year"),
        F.date_format(start, "MM").alias("month"), F.date_format(start, "dd").alias("day"),
    )  # fmt: skip


def write_batch(target: str) -> Callable[[DataFrame, int], None]:
    """Return what writes a micro-batch's hours; written again it leaves the same."""

    def write(counts: DataFrame, batch: int) -> None:
        (
            counts.withColumn("batch", F.lit(batch))
            .coalesce(1)
            .write.mode("overwrite")
            .option("partitionOverwriteMode", "dynamic")
            .option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false")
            .partitionBy("year", "month", "day", "batch")
            .parquet(target)
        )

    return write


def write_counts(events: DataFrame, task: Task) -> DataStreamWriter:
    """The query from a stream of events to the target, not started."""
    counts = count_by_hour(events, task.late_hours)
    return (
        counts.writeStream.outputMode("append")
        .option("checkpointLocation", task.checkpoint)
        .foreachBatch(write_batch(task.target))
    )


def read_kinesis(spark: SparkSession, stream_arn: str) -> DataFrame:
    """The stream's events, from the oldest that it holds. Glue's reader, which exists in Glue alone.

    https://docs.aws.amazon.com/glue/latest/dg/aws-glue-programming-etl-connect-kinesis-home.html
    """
    from awsglue.context import GlueContext

    return GlueContext(spark.sparkContext).create_data_frame.from_options(
        connection_type="kinesis",
        connection_options={
            "streamARN": stream_arn,
            "startingPosition": "TRIM_HORIZON",
            "classification": "json",
            "inferSchema": "false",
            "schema": EVENT_SCHEMA,
        },
    )


def parse_args(arguments: Sequence[str]) -> Task:
    """Return the job's task; Glue's own arguments are left alone."""
    parser = argparse.ArgumentParser(prog="streaming_window", allow_abbrev=False)
    for name in ("stream_arn", "target_path", "checkpoint_path"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("late_hours", "batch_seconds"):
        parser.add_argument(f"--{name}", required=True, type=int)
    options, _ = parser.parse_known_args(arguments)
    return Task(
        options.stream_arn, options.target_path, options.checkpoint_path, options.late_hours, options.batch_seconds
    )


def main() -> None:
    """Run as Glue runs it, until it is stopped or fails."""
    task = parse_args(sys.argv[1:])
    spark = SparkSession.builder.appName("streaming_window").getOrCreate()
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.conf.set("spark.sql.shuffle.partitions", "4")
    query = write_counts(read_kinesis(spark, task.stream_arn), task)
    query.trigger(processingTime=f"{task.batch_seconds} seconds").start().awaitTermination()


if __name__ == "__main__":
    main()
