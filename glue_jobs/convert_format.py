"""Glue job: a flat table in any of CSV, JSON, Avro, Parquet, ORC and XML becomes any other of them, losing nothing.

Nulls and empty strings stay apart, doubles keep every bit, strings every character. What a format can't hold is refused
by name rather than changed: XML has no control characters, and CSV's mark of a null can't be a value as well.
CSV, JSON and XML don't say what their columns are: reading them takes a schema.

Spark writes four of the six. Glue reads and writes Avro through DynamicFrames, and reads XML but does not write it
(docs.aws.amazon.com/glue/latest/dg/aws-glue-programming-etl-format.html), with readers that exist in Glue alone. Here
fastavro and ElementTree encode each partition where it is, and the driver puts one object for each.
"""

import argparse
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import boto3
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from glue_jobs.paths import overlap, split_path

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
AVRO_TYPES = {"string": "string", "int": "int", "bigint": "long", "double": "double", "boolean": "boolean"}
XML_PARSERS: dict[str, Callable[[str], Any]] = {
    "string": str, "int": int, "bigint": int, "double": float, "boolean": lambda text: text == "true",
}  # fmt: skip
# What XML 1.0 can't hold, even escaped: https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
Columns = list[tuple[str, str]]  # name, Spark's name of the type
Encoder = Callable[[Columns, Iterable[Row]], bytes]
Decoder = Callable[[Columns, bytes], Iterator[tuple[Any, ...]]]


class Task(NamedTuple):
    """The job's arguments: folders, formats, and the schema as DDL (empty where the source says it itself)."""

    source: str
    source_format: str
    target: str
    target_format: str
    schema: str


def encode_avro(columns: Columns, rows: Iterable[Row]) -> bytes:
    """An Avro file of the rows, each column a union with null."""
    import fastavro

    fields = [{"name": name, "type": ["null", AVRO_TYPES[kind]]} for name, kind in columns]
    file = io.BytesIO()
    fastavro.writer(
        file, {"type": "record", "name": "row", "fields": fields}, (row.asDict() for row in rows), "deflate"
    )
    return file.getvalue()


def decode_avro(columns: Columns, body: bytes) -> Iterator[tuple[Any, ...]]:
    """The rows of an Avro file. Raises ValueError if its fields are others than the columns."""
    import fastavro

    records: Iterator[Any] = fastavro.reader(io.BytesIO(body))
    for record in records:
        if other := record.keys() ^ {name for name, _ in columns}:
            raise ValueError(f"field {', '.join(sorted(other))} is not in all Avro files, or not in the schema")
        yield tuple(record[name] for name, _ in columns)


def avro_schema(body: bytes) -> str:
    """The schema, as DDL, that an Avro file of flat records says. Raises ValueError for another type."""
    import fastavro

    names = {avro: spark for spark, avro in AVRO_TYPES.items()} | {"float": "double"}
    columns = []
    schema: Any = fastavro.reader(io.BytesIO(body)).writer_schema
    for field in schema["fields"]:
        union = field["type"] if isinstance(field["type"], list) else [field["type"]]
        kinds = [kind for kind in union if kind != "null"]
        if len(kinds) != 1 or str(kinds[0]) not in names:
            raise ValueError(f"Avro field {field['name']} is {field['type']}; a flat table has {', '.join(names)}")
        columns.append(f"`{field['name']}` {names[kinds[0]]}")
    return ", ".join(columns)


def encode_xml(columns: Columns, rows: Iterable[Row]) -> bytes:
    """<rows><row><column>value</column></row></rows>; a null has no element.

    Raises ValueError for a character that XML can't hold.
    """
    from xml.sax.saxutils import escape

    def element(name: str, kind: str, value: Any) -> str:
        text = str(value).lower() if kind == "boolean" else repr(value) if kind == "double" else str(value)
        if found := _NOT_XML.search(text):
            raise ValueError(f"column {name} has {found[0]!r}, which XML can't hold")
        escaped = escape(text, {"\r": "&#13;"})  # a parser takes every line end for \n, unless it is escaped
        return f"<{name}>{escaped}</{name}>"

    file = io.StringIO()
    file.write('<?xml version="1.0" encoding="UTF-8"?>\n<rows>\n')
    for row in rows:
        cells = [element(name, kind, row[name]) for name, kind in columns if row[name] is not None]
        file.write(f"<row>{''.join(cells)}</row>\n")
    file.write("</rows>\n")
    return file.getvalue().encode()


def decode_xml(columns: Columns, body: bytes) -> Iterator[tuple[Any, ...]]:
    """The rows of such a document. Raises ValueError for an element that is no column."""
    from defusedxml.ElementTree import iterparse

    parsers = {name: XML_PARSERS[kind] for name, kind in columns}
    for _, row in iterparse(io.BytesIO(body)):
        if row.tag == "row":
            if unknown := [cell.tag for cell in row if cell.tag not in parsers]:
                raise ValueError(f"<row> has <{unknown[0]}>, which is no column; columns are {', '.join(parsers)}")
            found = {cell.tag: parsers[cell.tag](cell.text or "") for cell in row}
            yield tuple(found.get(name) for name in parsers)
            row.clear()


CODECS: dict[str, tuple[Encoder, Decoder]] = {"avro": (encode_avro, decode_avro), "xml": (encode_xml, decode_xml)}
FORMATS = ("csv", "json", "parquet", "orc", *CODECS)
WITHOUT_SCHEMA = ("csv", "json", "xml")


def read(spark: SparkSession, path: str, format_: str, schema: str) -> DataFrame:
    """Read a folder's table; `schema` is DDL. Columns in the path (year=2013/) are read as well."""
    if format_ not in CODECS:
        given = spark.read.schema(schema) if schema else spark.read
        table = given.format(format_).options(**OPTIONS[format_]).load(path)
        # Spark leaves out a field that the schema lacks; the other readers refuse it themselves.
        if format_ == "json" and (unknown := set(spark.read.json(path).columns) - set(table.columns)):
            raise ValueError(f"--schema has no {', '.join(sorted(unknown))}, which {path} has")
        return table
    files = spark.read.format("binaryFile").load(path)
    in_path = [name for name in files.columns if name not in ("path", "modificationTime", "length", "content")]
    first = files.select("content").first()
    if first is None:
        raise ValueError(f"{path} holds no files")
    wanted = spark.createDataFrame([], schema or avro_schema(first.content)).schema
    columns = [(field.name, field.dataType.simpleString()) for field in wanted if field.name not in in_path]
    decode = CODECS[format_][1]
    rows = files.select("content", *in_path).rdd.flatMap(
        lambda file: ((*row, *file[1:]) for row in decode(columns, bytes(file.content)))
    )
    held = StructType([field for field in wanted if field.name not in in_path])
    for name in in_path:
        held = held.add(files.schema[name])
    return spark.createDataFrame(rows, held, verifySchema=True)


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
    """Replace what a folder holds by the table."""
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
    table.write.format(format_).options(**OPTIONS[format_]).mode("overwrite").save(path)


def put_partitions(s3: Any, table: DataFrame, columns: Columns, path: str, format_: str) -> None:
    """Put one object a partition, then delete what the folder held besides: nobody finds it empty."""
    encode, (bucket, prefix) = CODECS[format_][0], split_path(path)
    bodies = table.rdd.mapPartitions(lambda rows: [encode(columns, rows)]).toLocalIterator()
    written = set()
    for number, body in enumerate(bodies):
        written.add(key := f"{prefix}part-{number:05d}.{format_}")
        s3.put_object(Bucket=bucket, Key=key, Body=bytes(body), ContentType="application/octet-stream")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            if item["Key"] not in written:
                s3.delete_object(Bucket=bucket, Key=item["Key"])


def run(spark: SparkSession, s3: Any, task: Task) -> None:
    """Convert the table; print its rows as one JSON line. Raises RuntimeError if another number of rows came out."""
    table = read(spark, task.source, task.source_format, task.schema)
    write(s3, table, task.target, task.target_format)
    ddl = ", ".join(f"`{name}` {kind}" for name, kind in table.dtypes)
    before, after = table.count(), read(spark, task.target, task.target_format, ddl).count()
    if before != after:
        raise RuntimeError(f"{task.target} has {after} rows of {before}: the source has changed, or it can't be read")
    print(json.dumps({"rows": after, "columns": len(table.columns)}), flush=True)


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
