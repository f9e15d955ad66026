"""Glue job: airports or aircraft in segments of like delays, by K-Means.

A profile is one destination's, origin's or aircraft's flights: their mean delays at departure and arrival, the share
that arrived late or was cancelled, and how many they are. Profiles are standardized before they are compared. The
number of segments is given, or the one with the best silhouette is taken (Rousseeuw 1987,
doi.org/10.1016/0377-0427(87)90125-7). Same input, same seed, same segments; segment 0 has the smallest delays.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import NamedTuple

from pyspark.ml.clustering import KMeans
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from glue_jobs import sinks

LATE_MINUTES = 15  # as the label of training
SUBJECTS = ("dest", "origin", "tailnum", "carrier")
MOST_SEGMENTS = 8
FEATURES = ("dep_delay", "arr_delay", "late", "cancelled", "log_flights")


class Task(NamedTuple):
    """The job's arguments; `segments` 0 is for the best number by silhouette."""

    curated: str
    target: str
    subject: str
    segments: int
    least_flights: int
    seed: int


def profiles(flights: DataFrame, subject: str, least_flights: int) -> DataFrame:
    """One row a subject with FEATURES and flights; subjects of fewer flights, or whose flights all failed, aren't in.

    Delays are means in minutes, `late` and `cancelled` shares of 0 to 1.
    """
    made = flights.where(F.col(subject).isNotNull()).groupBy(F.col(subject).alias("subject"))
    table = made.agg(
        F.count(F.lit(1)).alias("flights"),
        F.avg("dep_delay").alias("dep_delay"),
        F.avg("arr_delay").alias("arr_delay"),
        F.avg((F.col("arr_delay") > LATE_MINUTES).cast("double")).alias("late"),
        F.avg(F.col("dep_time").isNull().cast("double")).alias("cancelled"),
    )
    kept = table.where((F.col("flights") >= least_flights) & F.col("arr_delay").isNotNull())
    return kept.withColumn("log_flights", F.log("flights"))


def segment(table: DataFrame, segments: int, seed: int) -> tuple[DataFrame, dict[int, float]]:
    """Return the profiles with their `segment`, and the silhouette (-1 to 1, 1 is best) of each number tried.

    Raises ValueError if there are too few profiles to tell apart.
    """
    points = VectorAssembler(inputCols=[*FEATURES], outputCol="raw").transform(table)
    scaled = StandardScaler(inputCol="raw", outputCol="features", withMean=True).fit(points).transform(points).cache()
    most = min(MOST_SEGMENTS, scaled.count() - 1)
    if most < max(2, segments):
        raise ValueError(f"{most + 1} profiles are too few for {segments or 2} segments: lower --least_flights")
    evaluator = ClusteringEvaluator(predictionCol="cluster")
    found = {
        number: KMeans(k=number, seed=seed, predictionCol="cluster").fit(scaled).transform(scaled)
        for number in ([segments] if segments else range(2, most + 1))
    }
    silhouettes = {number: round(evaluator.evaluate(clusters), 4) for number, clusters in found.items()}
    best = found[max(silhouettes, key=lambda number: (silhouettes[number], -number))]
    return _ordered(best).select("subject", "segment", "flights", *FEATURES), silhouettes


def _ordered(clusters: DataFrame) -> DataFrame:
    """Number clusters by their mean arrival delay: K-Means' own numbers mean nothing."""
    means = clusters.groupBy("cluster").agg(F.avg("arr_delay").alias("mean"))
    numbers = means.select("cluster", (F.row_number().over(Window.orderBy("mean", "cluster")) - 1).alias("segment"))
    return clusters.join(F.broadcast(numbers), "cluster").orderBy("segment", "subject")


def run(spark: SparkSession, task: Task) -> None:
    """Segment the subjects of all curated flights, write them, and print the silhouettes as one JSON line."""
    table = profiles(spark.read.parquet(task.curated), task.subject, task.least_flights)
    segments, silhouettes = segment(table, task.segments, task.seed)
    sinks.write(segments.coalesce(1), task.target)
    print(json.dumps({"subject": task.subject, "silhouettes": silhouettes}), flush=True)


def parse_args(arguments: Sequence[str]) -> Task:
    """Return the job's task; Glue's own arguments are left alone."""
    parser = argparse.ArgumentParser(prog="kmeans_segment", allow_abbrev=False)
    parser.add_argument("--curated_path", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--subject", required=True, choices=SUBJECTS)
    for name in ("segments", "least_flights", "seed"):
        parser.add_argument(f"--{name}", required=True, type=int)
    options, _ = parser.parse_known_args(arguments)
    if options.segments not in (0, *range(2, MOST_SEGMENTS + 1)):
        parser.error(f"--segments is {options.segments}: give 2 to {MOST_SEGMENTS}, or 0 for the best by silhouette")
    try:
        sinks.check(options.target)
    except ValueError as error:
        parser.error(f"--target is {error}")
    return Task(
        options.curated_path, options.target, options.subject, options.segments, options.least_flights, options.seed
    )


def main() -> None:
    """Run as Glue runs it."""
    task = parse_args(sys.argv[1:])
    spark = SparkSession.builder.appName("kmeans_segment").getOrCreate()
    spark.conf.set("spark.sql.shuffle.partitions", "4")
    run(spark, task)


if __name__ == "__main__":
    main()
