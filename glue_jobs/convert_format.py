"""Glue job: a flat table in any of CSV, JSON, Avro, Parquet, ORC and XML becomes any other of them, losing nothing.

Nulls and empty strings stay apart, doubles keep every bit, strings every character. What a format can't hold is refused
by name rather than changed: XML has no control characters, and CSV's mark of a null can't be a value as well.
CSV, JSON and XML don't say what their columns are: reading them takes a schema.

Spark writes four of the six. Glue reads and writes Avro through DynamicFrames, and reads XML but does not write it
(docs.aws.amazon.com/glue/latest/dg/aws-glue-programming-etl-format.html), with readers that exist in Glue alone. Here
codecs.py encodes each partition where it is, and the driver puts one object for each.

All is written and read back in `_staged/`, a folder of the target that neither Spark nor Athena sees, and copied from
there: a run that fails leaves the target as it was, and nobody finds it empty. While the copies are made, a moment
unless the run is killed there, a reader finds new objects beside old ones; the next run replaces them all.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import boto3
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from glue_jobs.codecs import AVRO_TYPES, CODECS, Columns, avro_columns
from glue_jobs.paths import list_objects, list_visible, overlap, split_path

STAGED = "_staged/"
NULL_IN_CSV = "\\N"
OPTIONS: dict[str, dict[str, Any]] = {
    "csv": {
        "header": True,
        "nullValue": NULL_IN_CSV,
        "emptyValue": "",
        "quoteAll": True,
        "escape": '"',
        "multiLine": True,
        "ignoreLeadingWhiteSpace": False,
        "ignoreTrailingWhiteSpace": False,
        "mode": "FAILFAST",
        "enforceSchema": False,
    },
    "json": {"mode": "FAILFAST", "ignoreNullFields": False},
    "parquet": {"mergeSchema": True},
    "orc": {"mergeSchema": True},
}
CORRUPT = "_corrupt_record"  # the column that Spark gives what it can't parse in
FORMATS = ("csv", "json", "parquet", "orc", *CODECS)
WITHOUT_SCHEMA = ("csv", "json", "xml")


class Task(NamedTuple):
    """The job's arguments: folders, formats, and the schema as DDL (empty where the source says it itself)."""

    source: str
    source_format: str
    target: str
    target_format: str
    schema: str


def read(spark: SparkSession, path: str, format_: str, schema: str) -> DataFrame:
    """Read a folder's table; `schema` is DDL. Columns in the path (year=2013/) are read as well."""
    if format_ in CODECS:
        return _read_decoded(spark, path, format_, schema)
    given = spark.read.schema(schema) if schema else spark.read
    table = given.format(format_).options(**OPTIONS[format_]).load(path)
    # Spark leaves out a field that the schema lacks; the other readers refuse it themselves.
    if format_ == "json" and (unknown := set(spark.read.json(path).columns) - {*table.columns, CORRUPT}):
        raise ValueError(f"--schema has no {', '.join(sorted(unknown))}, which {path} has")
    return table


def _read_decoded(spark: SparkSession, path: str, format_: str, schema: str) -> DataFrame:
    decode = CODECS[format_][1]

    def rows(file: Row) -> Iterator[tuple[Any, ...]]:
        try:
            for row in decode(columns, bytes(file.content)):
                yield (*row, *file[2:])
        except Exception as error:  # whatever a library makes of bytes that are none of its format
            raise ValueError(_unreadable(file.path, format_, error)) from error

    files = spark.read.format("binaryFile").load(path)
    in_path = [name for name in files.columns if name not in ("path", "modificationTime", "length", "content")]
    if not schema:
        (first,) = files.select("path", "content").take(1)
        try:
            schema = _ddl(avro_columns(first.content))
        except Exception as error:
            raise ValueError(_unreadable(first.path, format_, error)) from error
    wanted = spark.createDataFrame([], schema).schema
    columns = [(field.name, field.dataType.simpleString()) for field in wanted if field.name not in in_path]
    held = StructType([field for field in wanted if field.name not in in_path])
    for name in in_path:
        held = held.add(files.schema[name])
    return spark.createDataFrame(files.select("path", "content", *in_path).rdd.flatMap(rows), held, verifySchema=True)


def _unreadable(path: str, format_: str, why: object) -> str:
    return f"{path} can't be read as {format_}, mend it or move it away: {str(why) or type(why).__name__}"


def _ddl(columns: Columns) -> str:
    return ", ".join(f"`{name}` {kind}" for name, kind in columns)


def flat(table: DataFrame) -> Columns:
    """A table's columns. Raises ValueError for a name or type that not every format holds."""
    columns = table.dtypes
    if wrong := [f"{name} is {kind}" for name, kind in columns if kind not in AVRO_TYPES]:
        raise ValueError(f"column {', '.join(wrong)}; a flat table has {', '.join(AVRO_TYPES)} columns: cast it first")
    # Avro's rule for names, and XML's is like it; "row" is the element that our XML has for a row.
    if wrong := [name for name, _ in columns if name == "row" or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)]:
        raise ValueError(
            f"column {wrong[0]!r} can't be called so in every format: letters, digits and _, and not 'row'"
        )
    return columns


def write(s3: Any, table: DataFrame, path: str, format_: str) -> None:
    """Write the table to a folder that holds nothing."""
    columns = flat(table)
    if format_ in CODECS:
        put_partitions(s3, table, columns, path, format_)
        return
    if format_ == "csv":
        marked = {
            name: F.when(
                F.col(name) == NULL_IN_CSV, F.raise_error(F.lit(f"column {name} has {NULL_IN_CSV} as a value"))
            )
            .otherwise(F.col(name))
            .cast("string")
            for name, kind in columns
            if kind == "string"
        }
        table = table.withColumns(marked)
    table.write.format(format_).options(**OPTIONS[format_]).save(path)


def put_partitions(s3: Any, table: DataFrame, columns: Columns, path: str, format_: str) -> None:
    """Put one object a partition, and one if there is none."""
    encode, (bucket, prefix) = CODECS[format_][0], split_path(path)
    bodies = table.rdd.mapPartitions(lambda rows: [encode(columns, rows)]).toLocalIterator()
    number = -1
    for number, body in enumerate(bodies):
        _put(s3, bucket, f"{prefix}part-{number:05d}.{format_}", bytes(body))
    if number < 0:
        _put(s3, bucket, f"{prefix}part-00000.{format_}", encode(columns, []))


def _put(s3: Any, bucket: str, key: str, body: bytes) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/octet-stream")


def check(s3: Any, source: str, format_: str) -> None:
    """Raise ValueError if there is nothing to read, or a file of no bytes, as an upload that failed leaves it."""
    sizes = {item["Key"]: item["Size"] for item in list_visible(s3, source)}
    if not sizes:
        raise ValueError(f"{source} holds no files")
    # Spark's JSON of no rows is of no bytes.
    if format_ != "json" and (empty := [key for key, size in sizes.items() if not size]):
        raise ValueError(
            f"s3://{split_path(source)[0]}/{empty[0]} is empty, as no {format_} is: write it again or move it away"
        )


def why(spark: SparkSession, task: Task, error: Py4JJavaError | PySparkException) -> str:
    """What Spark failed on, out of the chain of causes that it gives: the file, and what is wrong with it."""
    causes, cause = [], getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    while cause is not None:
        causes += [cause.getMessage().strip()] if cause.getMessage() else []
        cause = cause.getCause()
    last = causes[-1] if causes else str(error)
    if "Traceback" in last:  # of a worker's Python; what we raise there says it all
        return last.rpartition("\nValueError: ")[2]
    if named := re.search(r"(?:reading file|footer for file:|CSV file:) (\S+?)\.?(?:\s|$)", "\n".join(causes)):
        return _unreadable(named[1], task.source_format, last)
    if task.source_format in ("csv", "json") and (found := misfit(spark, task)):
        return _unreadable(found.file_path, task.source_format, f"--schema does not fit {found[CORRUPT]!r}")
    return last


def misfit(spark: SparkSession, task: Task) -> Row | None:
    """The first record that the schema does not fit, with its file's path; Spark does not always name that."""
    options = OPTIONS[task.source_format] | {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT}
    table = spark.read.schema(f"{task.schema}, {CORRUPT} string").options(**options).format(task.source_format)
    return table.load(task.source).select("_metadata.file_path", "*").where(f"{CORRUPT} IS NOT NULL").first()


def publish(s3: Any, staged: str, target: str) -> int:
    """Copy what is staged to the target and delete what that held besides; return how many objects there are."""
    (bucket, prefix), folder = split_path(target), split_path(staged)[1]
    copies = {item["Key"]: prefix + item["Key"].removeprefix(folder) for item in list_visible(s3, staged)}
    for key, copy in copies.items():
        s3.copy(CopySource={"Bucket": bucket, "Key": key}, Bucket=bucket, Key=copy)
    kept = {*copies, *copies.values()}
    for old in [item["Key"] for item in list_objects(s3, target) if item["Key"] not in kept]:
        s3.delete_object(Bucket=bucket, Key=old)
    return len(copies)


def clear(s3: Any, path: str) -> None:
    """Delete all that a folder holds."""
    for item in list_objects(s3, path):
        s3.delete_object(Bucket=split_path(path)[0], Key=item["Key"])


def run(spark: SparkSession, s3: Any, task: Task) -> None:
    """Convert the table; print its rows as one JSON line.

    Raises ValueError, which names the file if it is one's fault, for what can't be read or written, and RuntimeError if
    another number of rows came out. The target is then as it was.
    """
    check(s3, task.source, task.source_format)
    staged = f"{task.target}{STAGED}"
    clear(s3, staged)  # of a run that was killed
    try:
        table = read(spark, task.source, task.source_format, task.schema)
        write(s3, table, staged, task.target_format)
        before, after = table.count(), read(spark, staged, task.target_format, _ddl(table.dtypes)).count()
        if before != after:
            raise RuntimeError(f"{after} rows of {before} came out: {task.source} has changed meanwhile, run again")
        files = publish(s3, staged, task.target)
    except (Py4JJavaError, PySparkException) as error:
        raise ValueError(why(spark, task, error)) from error
    finally:
        clear(s3, staged)
    print(json.dumps({"rows": after, "columns": len(table.columns), "files": files}), flush=True)


def parse_args(arguments: Sequence[str]) -> Task:
    """Return the job's task; Glue's own arguments are left alone."""
    parser = argparse.ArgumentParser(prog="convert_format", allow_abbrev=False)
    for name in ("source", "target"):
        parser.add_argument(f"--{name}_path", required=True)
        parser.add_argument(f"--{name}_format", required=True, choices=FORMATS)
    parser.add_argument("--schema", default="", help="DDL of the source's columns")
    options, _ = parser.parse_known_args(arguments)
    task = Task(options.source_path, options.source_format, options.target_path, options.target_format, options.schema)
    if task.source_format in WITHOUT_SCHEMA and not task.schema:
        parser.error(f"--schema is missing: {task.source_format} doesn't say what its columns are")
    # What the folder held is deleted: without the slash, its neighbours of a longer name would be as well.
    if not re.fullmatch("s3://[^/]+/.+/", task.target):
        parser.error(f"--target_path is {task.target!r}: give s3://bucket/folder/, with a slash at the end")
    if overlap(task.source, task.target):
        parser.error("--target_path is the source or lies in it, and would replace what is being read")
    return task


def main() -> None:
    """Run as Glue runs it."""
    task = parse_args(sys.argv[1:])
    run(SparkSession.builder.appName("convert_format").getOrCreate(), boto3.client("s3"), task)


if __name__ == "__main__":
    main()
