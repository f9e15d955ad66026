"""Segments of real airports, and where a job's table can go: S3, a catalogued table, a database."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import glue_jobs
from glue_jobs import jdbc, sinks
from glue_jobs import kmeans_segment as job
from producers import flights
from schemas.flights import RAW_COLUMNS, SEGMENT_COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.xdist_group("spark")

ARGUMENTS = {
    "--curated_path": "s3://curated/year/", "--target": "s3://curated/segments/", "--subject": "dest",
    "--segments": "0", "--least_flights": "20", "--seed": "1",
}  # fmt: skip
DERBY = {"url": "jdbc:derby:memory:millrace;create=true", "user": "app", "password": "secret"}


@pytest.fixture(scope="module")
def profiles(spark: "SparkSession") -> Iterator["DataFrame"]:
    """Profiles of the destinations of five days."""
    names = [name for name, _ in RAW_COLUMNS]
    rows = [tuple(event[name] for name in names) for event in flights.events(months=[1], days=range(1, 6))]
    table = spark.createDataFrame(rows, ", ".join(f"{name} {kind}" for name, kind in RAW_COLUMNS))
    found = job.profiles(table, "dest", 20).cache()
    yield found
    found.unpersist()


@pytest.mark.requirement("etl-spark-kmeans")
def test_segments_are_the_same_each_time_and_ordered_by_delay(profiles: "DataFrame") -> None:
    first, silhouettes = job.segment(profiles, 3, seed=1)
    again, _ = job.segment(profiles, 3, seed=1)
    rows = first.collect()
    assert rows == again.collect()
    assert [(field.name, field.dataType.simpleString()) for field in first.schema] == SEGMENT_COLUMNS
    assert len({row.subject for row in rows}) == len(rows) == profiles.count()
    assert 0 < silhouettes[3] <= 1
    means = [
        sum(row.arr_delay for row in rows if row.segment == number) / sum(row.segment == number for row in rows)
        for number in range(3)
    ]
    assert means == sorted(means)


def test_the_number_of_segments_is_the_one_with_the_best_silhouette(spark: "SparkSession") -> None:
    """Four groups that are far apart: four segments, and each group is one."""
    centres = [(0.0, 0.0), (0.0, 60.0), (60.0, 0.0), (60.0, 60.0)]
    rows = [
        (f"{number}-{shift}", 100, dep + shift, arr + shift, 0.1, 0.0, 4.6)
        for number, (dep, arr) in enumerate(centres)
        for shift in range(3)
    ]
    ddl = "subject string, flights bigint, " + ", ".join(f"{name} double" for name in job.FEATURES)
    table = spark.createDataFrame(rows, ddl)
    segments, silhouettes = job.segment(table, 0, seed=1)
    assert max(silhouettes, key=lambda number: silhouettes[number]) == 4
    assert len({(row.subject[0], row.segment) for row in segments.collect()}) == 4
    with pytest.raises(ValueError, match="3 profiles are too few for 4 segments: lower --least_flights"):
        job.segment(table.limit(3), 4, seed=1)


@pytest.mark.requirement("etl-targets")
def test_a_table_goes_to_s3_the_catalogue_or_a_database(
    spark: "SparkSession", profiles: "DataFrame", monkeypatch: pytest.MonkeyPatch, buckets: dict[str, Path]
) -> None:
    """Each target is replaced whole: after a second write it holds the second table."""
    connection = {"JDBC_CONNECTION_URL": DERBY["url"], "SECRET_ID": "a-secret"}
    clients = {
        "glue": SimpleNamespace(
            get_table=lambda **asked: (
                asked == {"DatabaseName": "lake", "Name": "segments"}
                and {"Table": {"StorageDescriptor": {"Location": "s3://curated/catalogued/"}}}
            ),
            get_connection=lambda **asked: (
                asked == {"Name": "warehouse", "HidePassword": True}
                and {"Connection": {"ConnectionProperties": connection}}
            ),
        ),
        "secretsmanager": SimpleNamespace(
            get_secret_value=lambda **asked: (
                asked == {"SecretId": "a-secret"}
                and {"SecretString": json.dumps({"username": DERBY["user"], "password": DERBY["password"]})}
            )
        ),
    }
    for module in (sinks, jdbc):
        monkeypatch.setattr(module, "boto3", SimpleNamespace(client=lambda name: clients[name]))
    places = {
        "s3://curated/segments/": lambda: spark.read.parquet("s3://curated/segments/"),
        "catalog://lake/segments": lambda: spark.read.parquet("s3://curated/catalogued/"),
        "jdbc://warehouse/app.segments": lambda: spark.read.jdbc(DERBY["url"], "app.segments", properties=DERBY),
    }
    table = profiles.select("subject", "flights", "arr_delay").coalesce(1)
    for target, read in places.items():
        sinks.write(table, target)
        sinks.write(table.where("flights > 100"), target)
        assert sorted(read().collect()) == sorted(table.where("flights > 100").collect()), target
    connection.pop("SECRET_ID")
    with pytest.raises(ValueError, match="the connection warehouse has no SECRET_ID: use a secret"):
        sinks.write(table, "jdbc://warehouse/app.segments")
    monkeypatch.setitem(sys.modules, "glue_jobs.jdbc", None)
    monkeypatch.delattr(glue_jobs, "jdbc")
    with pytest.raises(ValueError, match=r"may use no connection; set etl_jobs\.jdbc and deploy"):
        sinks.write(table, "jdbc://warehouse/app.segments")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--segments": "1"}, "--segments is 1: give 2 to 8, or 0"),
        ({"--target": "ftp://a/b"}, "--target is 'ftp://a/b': give s3://"),
        ({"--target": "jdbc://only"}, "jdbc://connection/table"),
        ({"--subject": "weather"}, "invalid choice: 'weather'"),
    ],
)
def test_arguments(change: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert job.parse_args([word for pair in ARGUMENTS.items() for word in pair]).subject == "dest"
    with pytest.raises(SystemExit):
        job.parse_args([word for pair in (ARGUMENTS | change).items() for word in pair])
    assert message in capsys.readouterr().err
