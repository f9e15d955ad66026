"""Tables through every format and back: nothing is lost, and what a format can't hold is refused by name."""

import itertools
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import Row

from benchmarks.folder_s3 import FolderS3
from glue_jobs import convert_format as job
from producers import flights
from schemas.flights import RAW_COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.xdist_group("spark")

DDL = ", ".join(f"{name} {kind}" for name, kind in RAW_COLUMNS)
HARD: list[dict[str, Any]] = [
    {"carrier": None, "dep_delay": None, "flight": None},
    {"carrier": "", "dep_delay": -0.0, "flight": -1},
    {"carrier": 'a, "quoted"\\" value; <b>&amp;</b>', "dep_delay": 0.1 + 0.2, "flight": 2**31 - 1},
    {"carrier": " led and followed by blanks ", "dep_delay": float("inf")},
    {"carrier": "two\nlines\r\nand a \r return\ttab", "dep_delay": 5e-324},
    {"carrier": "null NULL NA \\ \\\\N NaN", "dep_delay": 1.7976931348623157e308},
    {"carrier": "Zürich ✈ 東京 \U0001f6eb e\u0301", "dep_delay": -123.456},
]
CHAIN = ("parquet", "csv", "json", "avro", "orc", "xml", "parquet")


@pytest.fixture
def s3(buckets: dict[str, Path]) -> Iterator[FolderS3]:
    """An S3 whose s3://curated/convert/ is gone afterwards."""
    yield FolderS3(buckets)
    shutil.rmtree(buckets["curated"] / "convert", ignore_errors=True)


def through(spark: "SparkSession", s3: FolderS3, table: "DataFrame", *formats: str) -> "DataFrame":
    """A table that was converted from each format to the next."""
    table.repartition(2).write.parquet("s3://curated/convert/0/")
    ddl = ", ".join(f"{name} {kind}" for name, kind in table.dtypes)
    for number, (source, target) in enumerate(itertools.pairwise(formats)):
        schema = ddl if source in job.WITHOUT_SCHEMA else ""
        job.run(spark, s3, job.Task(path(number), source, path(number + 1), target, schema))
    return job.read(spark, path(len(formats) - 1), formats[-1], ddl)


def path(number: int) -> str:
    return f"s3://curated/convert/{number}/"


@pytest.mark.requirement("etl-format-conv", "st-any-format")
def test_hard_values_and_real_flights_pass_through_every_format(spark: "SparkSession", s3: FolderS3) -> None:
    names = [name for name, _ in RAW_COLUMNS]
    real = list(flights.events(months=[1], days=[1], limit=200))
    hard = [real[0] | {"event_id": f"hard-{number}"} | values for number, values in enumerate(HARD)]
    sent = [tuple(event[name] for name in names) for event in (*hard, *real)]
    found = through(spark, s3, spark.createDataFrame(sent, DDL), *CHAIN)
    assert found.columns == names
    rows = sorted(tuple(row) for row in found.collect())
    assert rows == sorted(sent)
    zero = next(row for row in rows if row[0] == "hard-1")
    assert math.copysign(1, zero[names.index("dep_delay")]) == -1


def test_columns_in_the_path_and_what_the_target_held(spark: "SparkSession", s3: FolderS3) -> None:
    table = spark.createDataFrame([(1, "a", 5), (2, None, 6)], "key bigint, text string, day int")
    for day in (5, 6):
        job.write(s3, table.where(f"day = {day}").drop("day"), f"s3://curated/convert/avro/day={day}/", "avro")
    found = job.read(spark, "s3://curated/convert/avro/", "avro", "")
    assert sorted(map(tuple, found.collect())) == [(1, "a", 5), (2, None, 6)]
    s3.put_object("curated", "convert/xml/old.xml", b"<rows/>")
    job.write(s3, found.coalesce(1), "s3://curated/convert/xml/", "xml")
    assert [page["Contents"][0]["Key"] for page in s3.paginate("curated", "convert/xml/")] == [
        "convert/xml/part-00000.xml"
    ]


@pytest.mark.parametrize(
    ("format_", "value", "message"),
    [
        ("xml", "a\x00b", r"column text has '\\x00', which XML can't hold"),
        ("csv", "\\N", r"column text has \\N as a value"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    spark: "SparkSession", s3: FolderS3, format_: str, value: str, message: str
) -> None:
    table = spark.createDataFrame([(value,)], "text string")
    with pytest.raises(Exception, match=message):
        job.write(s3, table, "s3://curated/convert/refused/", format_)


def test_other_inputs_are_refused(spark: "SparkSession", s3: FolderS3) -> None:
    nested = spark.createDataFrame([([1],)], "list array<int>")
    with pytest.raises(ValueError, match="column list is array<int>; a flat table has"):
        job.write(s3, nested, "s3://curated/convert/refused/", "avro")
    with pytest.raises(ValueError, match="column 'a b' can't be called so"):
        job.write(s3, spark.createDataFrame([(1,)], "`a b` int"), "s3://curated/convert/refused/", "xml")
    s3.put_object("curated", "convert/json/a.json", b'{"a": 1, "b": 2}')
    with pytest.raises(ValueError, match="--schema has no b, which s3://curated/convert/json/ has"):
        job.read(spark, "s3://curated/convert/json/", "json", "a int")
    two = job.encode_avro([("a", "int"), ("b", "int")], [Row(a=1, b=2)])
    with pytest.raises(ValueError, match="field b is not in all Avro files, or not in the schema"):
        list(job.decode_avro([("a", "int")], two))
    with pytest.raises(ValueError, match="<row> has <b>, which is no column"):
        list(job.decode_xml([("a", "int")], b"<rows><row><b>1</b></row></rows>"))
    bomb = b'<!DOCTYPE rows [<!ENTITY a "aa">]><rows><row><a>&a;</a></row></rows>'
    with pytest.raises(ValueError, match="EntitiesForbidden"):
        list(job.decode_xml([("a", "string")], bomb))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--source_format": "csv"}, "--schema is missing: csv doesn't say"),
        ({"--target_path": "s3://curated/flights/x/"}, "--target_path is the source or lies in it"),
        ({"--target_path": "s3://curated/convert"}, "give s3://bucket/folder/, with a slash at the end"),
        ({"--target_path": "s3://another/"}, "give s3://bucket/folder/, with a slash at the end"),
        ({"--target_format": "xlsx"}, "invalid choice: 'xlsx'"),
    ],
)
def test_arguments(change: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = {
        "--source_path": "s3://curated/flights/", "--source_format": "parquet",
        "--target_path": "s3://curated/convert/", "--target_format": "avro", "--JOB_NAME": "convert",
    }  # fmt: skip
    words = [word for pair in given.items() for word in pair]
    assert job.parse_args(words) == job.Task("s3://curated/flights/", "parquet", "s3://curated/convert/", "avro", "")
    with pytest.raises(SystemExit):
        job.parse_args([word for pair in (given | change).items() for word in pair])
    assert message in capsys.readouterr().err
