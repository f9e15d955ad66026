"""Tables through every format and back: nothing is lost, and what a format can't hold is refused by name."""

import io
import itertools
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import pytest
from pyspark.sql import Row

from benchmarks.folder_s3 import FolderS3
from glue_jobs import codecs
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
    for old in ("part-00007.xml", "_staged/part-00007.xml"):
        s3.put_object("curated", f"convert/xml/{old}", b"<rows/>")
    job.run(spark, s3, job.Task("s3://curated/convert/avro/", "avro", "s3://curated/convert/xml/", "xml", ""))
    assert held(s3, "convert/xml/") == ["part-00000.xml", "part-00001.xml"]


def held(s3: FolderS3, prefix: str) -> list[str]:
    return [page["Contents"][0]["Key"].removeprefix(prefix) for page in s3.paginate("curated", prefix)]


@pytest.mark.parametrize("format_", job.FORMATS)
def test_a_table_without_rows_is_one_in_every_format(spark: "SparkSession", s3: FolderS3, format_: str) -> None:
    spark.createDataFrame([], "key bigint, text string").write.parquet("s3://curated/convert/0/")
    job.run(spark, s3, job.Task(path(0), "parquet", path(1), format_, ""))
    job.run(spark, s3, job.Task(path(1), format_, path(2), "orc", "key bigint, text string"))
    assert job.read(spark, path(2), "orc", "").dtypes == [("key", "bigint"), ("text", "string")]


def avro(schema: Any, *values: Any) -> bytes:
    file = io.BytesIO()
    fastavro.writer(file, schema, values)
    return file.getvalue()


def spoiled(spark: "SparkSession", buckets: dict[str, Path], format_: str, at: slice, by: bytes = b"") -> bytes:
    """A file that Spark wrote, with a part of its bytes replaced."""
    spark.range(1_000).coalesce(1).write.format(format_).mode("overwrite").save("s3://curated/convert/whole/")
    (whole,) = (buckets["curated"] / "convert" / "whole").glob(f"*.{format_}")
    body = bytearray(whole.read_bytes())
    body[at] = by
    return bytes(body)


RECORD = {"type": "record", "name": "r", "fields": [{"name": "a", "type": {"type": "array", "items": "int"}}]}
WRONG: dict[str, tuple[str, bytes | slice, str]] = {
    "a Parquet file cut short": ("parquet", slice(-20, None), "is not a Parquet file"),
    "a Parquet page overwritten": ("parquet", slice(50, 250), "FAILED_TO_UNCOMPRESS"),
    "an ORC file cut short": ("orc", slice(-20, None), "Malformed ORC file"),
    "an ORC file that is none": ("orc", b"hello, world", "Malformed ORC file"),
    "a CSV file with another header": ("csv", b"b\n1\n", "Expected: a but found: b"),
    "a CSV file with a value of another type": ("csv", b"a\n1\nx\n", "--schema does not fit 'x'"),
    "a CSV file with a value too many": ("csv", b"a\n1,2\n", "Malformed CSV record: 1,2"),
    "a JSON file cut short": ("json", b'{"a": 1}\n{"a":', """--schema does not fit '{"a":'"""),
    "a JSON file with a value of another type": ("json", b'{"a": "x"}\n', "Cannot parse the field name 'a'"),
    "an Avro file that is none": ("avro", b"hello", "is it an avro file"),
    "an Avro file of numbers": ("avro", avro("int", 1), "its schema is int, no record: write each value as a record"),
    "an Avro file of unions": ("avro", avro(["int", "string"], 1), "no record: write each value"),
    "an Avro file of lists": ("avro", avro(RECORD, {"a": [1]}), "field a is .*; a flat table has"),
    "an Avro file cut short": ("avro", job.CODECS["avro"][0]([("a", "int")], [Row(a=1)] * 99)[:-9], "sync marker"),
    "XML that is none": ("xml", b"hello", "syntax error: line 1"),
    "XML without rows": ("xml", b"<rows><flight><a>1</a></flight></rows>", "<rows> has no <row>: that is what"),
    "XML cut short": ("xml", b"<rows><row><a>1</a></row><row>", "no element found"),
    "XML with a value that is too large": ("xml", b"<rows><row><a>2147483648</a></row></rows>", "'2147483648', no int"),
    "XML with a number of Python's": ("xml", b"<rows><row><a>1_000</a></row></rows>", "'1_000', no int"),
    "XML with a value twice": ("xml", b"<rows><row><a>1</a><a>2</a></row></rows>", "row 1 has <a> twice"),
    "XML with attributes": ("xml", b'<rows><row b="1"><a>1</a></row></rows>', "row 1 has attributes"),
    "XML with elements in a column": ("xml", b"<rows><row><a>1<b/></a></row></rows>", "<a> has attributes or elements"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_file_that_cannot_be_read_is_named_and_the_target_stays(
    spark: "SparkSession", s3: FolderS3, buckets: dict[str, Path], what: str
) -> None:
    format_, wrong, message = WRONG[what]
    body = wrong if isinstance(wrong, bytes) else spoiled(spark, buckets, format_, wrong, b"\xff" * (wrong.stop or 0))
    s3.put_object("curated", f"convert/wrong/a.{format_}", body)
    s3.put_object("curated", "convert/target/old", b"as it was")
    schema = "a int" if format_ in job.WITHOUT_SCHEMA else ""
    to = "json" if format_ != "json" else "avro"
    named = f"s3://curated/convert/wrong/a.{format_} can't be read as {format_}, mend it or move it away: "
    with pytest.raises(ValueError, match=f"(?s){named}.*{message}"):
        job.run(spark, s3, job.Task("s3://curated/convert/wrong/", format_, "s3://curated/convert/target/", to, schema))
    assert held(s3, "convert/target/") == ["old"]


def test_no_files_and_empty_ones_are_told(spark: "SparkSession", s3: FolderS3) -> None:
    with pytest.raises(ValueError, match="s3://curated/convert/none/ holds no files"):
        job.run(spark, s3, job.Task("s3://curated/convert/none/", "orc", "s3://curated/convert/target/", "csv", ""))
    for format_ in set(job.FORMATS) - {"json"}:
        s3.put_object("curated", f"convert/{format_}/a", b"")
        with pytest.raises(ValueError, match=f"convert/{format_}/a is empty, as no {format_} is"):
            job.check(s3, f"s3://curated/convert/{format_}/", format_)


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
    spark.createDataFrame([(value,)], "text string").write.parquet("s3://curated/convert/0/")
    s3.put_object("curated", "convert/1/old", b"as it was")
    with pytest.raises(ValueError, match=f"^{message}"):
        job.run(spark, s3, job.Task(path(0), "parquet", path(1), format_, ""))
    assert held(s3, "convert/1/") == ["old"]


def test_other_inputs_are_refused(spark: "SparkSession", s3: FolderS3) -> None:
    nested = spark.createDataFrame([([1],)], "list array<int>")
    with pytest.raises(ValueError, match="column list is array<int>; a flat table has"):
        job.write(s3, nested, "s3://curated/convert/refused/", "avro")
    with pytest.raises(ValueError, match="column 'a b' can't be called so"):
        job.write(s3, spark.createDataFrame([(1,)], "`a b` int"), "s3://curated/convert/refused/", "xml")
    s3.put_object("curated", "convert/json/a.json", b'{"a": 1, "b": 2}')
    with pytest.raises(ValueError, match="--schema has no b, which s3://curated/convert/json/ has"):
        job.read(spark, "s3://curated/convert/json/", "json", "a int")
    two = codecs.encode_avro([("a", "int"), ("b", "int")], [Row(a=1, b=2)])
    with pytest.raises(ValueError, match="not all Avro files, or not the schema, have b int"):
        list(codecs.decode_avro([("a", "int")], two))
    with pytest.raises(ValueError, match="row 1 has <b>, which is no column; columns are a"):
        list(codecs.decode_xml([("a", "int")], b"<rows><row><b>1</b></row></rows>"))
    bomb = b'<!DOCTYPE rows [<!ENTITY a "aa">]><rows><row><a>&a;</a></row></rows>'
    with pytest.raises(ValueError, match="EntitiesForbidden"):
        list(codecs.decode_xml([("a", "string")], bomb))


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
