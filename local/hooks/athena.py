"""Athena on Trino's SQL: MiniStack 1.5.33 gives the text to DuckDB as it is, knows no partition projection, copies
every object of a table for each query, and writes the result where the client isn't told.

Queries are translated by sqlglot and read Parquet objects in place; partition keys come from the folders of the table's
layout, within the projected integers and enums. DataScannedInBytes counts the whole objects of the partitions that a
query's WHERE leaves of a table that is in it alone. Not here: statements but queries, other
formats, other projections, partitions registered in the catalogue, which all fail by name; information_schema,
HIVE_BAD_DATA, result reuse, query limits, doubles in Java's notation.
"""

# ruff: noqa: S608 (the SQL is the user's own, on a database that lives for the query)
import asyncio
import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import duckdb
import pyarrow as pa
import sqlglot
from ministack.core.responses import error_response_json
from ministack.services import athena, firehose, glue, s3
from pyarrow import csv
from sqlglot import exp

from local.hooks import Answer, Handler, swap, wrap
from local.hooks.glue_spark import object_file

Table = dict[str, Any]
QUERIES = {"SELECT", "WITH", "VALUES", "("}
REASONS = {  # DuckDB's errors in Trino's words
    r'Referenced column "([^"]+)" not found': "COLUMN_NOT_FOUND: Column '{}' cannot be resolved",
    r'Table with name "?([^\s"]+)"? does not exist': "TABLE_NOT_FOUND: Table '{}' does not exist",
    r"Function with name (\S+) does not exist": "FUNCTION_NOT_FOUND: Function '{}' not registered",
    r"^Conversion Error: (.*)": "INVALID_CAST_ARGUMENT: {}",
    r"(?:^[\w ]+: )?(.*)": "SYNTAX_ERROR: {}",
}


class QueryFailed(Exception):
    """A query that Athena would fail, or that isn't supported here; the message is its StateChangeReason."""


class Rows:
    """The rows of a result, made when a page of them is asked for: a list of them would take 60 MB a dashboard."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __len__(self) -> int:
        return self.table.num_rows

    def __getitem__(self, page: slice) -> list[tuple[str | None, ...]]:
        start, stop, _ = page.indices(len(self))
        return list(zip(*(column.to_pylist() for column in self.table.slice(start, stop - start).columns), strict=True))


def translate(query: str) -> exp.Expr:
    """Trino's SQL as a syntax tree. Raises QueryFailed for what is no query, or not Trino's."""
    try:
        first = sqlglot.tokenize(query, read="trino")[0].text.upper()
        if first not in QUERIES:
            named = re.match(r"\s*([a-z]+(\s+[a-z]+)?)", query, re.IGNORECASE)
            raise QueryFailed(f"NOT_SUPPORTED: {(named[1] if named else first).upper()} is not in the local cloud")
        tree = sqlglot.parse_one(query, read="trino")
    except (sqlglot.errors.SqlglotError, IndexError) as error:  # IndexError: it is empty
        told = re.sub(r"\x1b\[\d+m", "", str(error))  # sqlglot underlines
        raise QueryFailed(f"SYNTAX_ERROR: {told}") from error
    for select in tree.find_all(exp.Select):
        for index, column in enumerate(select.expressions):
            if not isinstance(column, exp.Alias | exp.Column | exp.Star):
                select.expressions[index].replace(exp.alias_(column.copy(), f"_col{index}"))
    return tree


def bind(tree: exp.Expr, database: str, connection: duckdb.DuckDBPyConnection) -> int:
    """Make a view of each table of the catalogue that a query names; the bytes of the objects it has to read."""
    scanned = 0
    connection.execute("ATTACH ':memory:' AS awsdatacatalog")
    connection.execute(f'CREATE SCHEMA IF NOT EXISTS awsdatacatalog."{database}"; USE awsdatacatalog."{database}"')
    named: dict[tuple[str, str], list[exp.Table]] = {}
    for node in tree.find_all(exp.Table):
        named.setdefault((node.db or database, node.name), []).append(node)
    for (schema, name), nodes in named.items():
        table = glue._tables.get(f"{schema.lower()}/{name.lower()}")
        if table:  # else it is a WITH query's name, or DuckDB will say that there is none
            read = connection.from_arrow(objects(table)).filter(condition(table, nodes)).to_arrow_table()
            scanned += sum(read["bytes"].to_pylist())
            connection.register(f"{schema}.{name} objects", read)
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS awsdatacatalog."{schema}"')
            select = relation(table, read["file"].to_pylist(), f"{schema}.{name} objects", connection)
            connection.execute(f'CREATE VIEW IF NOT EXISTS awsdatacatalog."{schema}"."{name}" AS {select}')
    return scanned


def condition(table: Table, nodes: list[exp.Table]) -> str:
    """What a query says of a table's partition keys alone, as SQL; TRUE when the table is in it twice or joined."""
    select = nodes[0].find_ancestor(exp.Select)
    where = select.args.get("where") if select else None
    if len(nodes) > 1 or not select or not where or select.args.get("joins"):
        return "TRUE"
    keys = {key["Name"].lower(): firehose._hive_to_duckdb_type(key["Type"]) for key in table.get("PartitionKeys") or []}
    said = where.this.flatten() if isinstance(where.this, exp.And) else [where.this]
    known = [part.copy() for part in said if {column.name.lower() for column in part.find_all(exp.Column)} <= {*keys}]
    for part in known:  # objects have them as texts
        for column in list(part.find_all(exp.Column)):
            column.replace(exp.cast(exp.column(column.name), keys[column.name.lower()]))
    return " AND ".join(f"({part.sql('duckdb')})" for part in known if not part.find(exp.Select)) or "TRUE"


def objects(table: Table) -> pa.Table:
    """The objects that Athena would see in a table: file, bytes, and each partition key as text. Raises QueryFailed."""
    location = table["StorageDescriptor"]["Location"].rstrip("/") + "/"
    layout, accepted = projection(table, location)
    rows = []
    for path, file, size in visible(location):
        values = layout.match(location + path)
        if values and all(accepts(values[name]) for name, accepts in accepted.items()):
            rows.append({"file": str(file), "bytes": size, **values.groupdict()})
    texts = [(name, pa.string()) for name in ("file", *accepted)]
    return pa.Table.from_pylist(rows, pa.schema([*texts, ("bytes", pa.int64())]))


def visible(location: str) -> Iterator[tuple[str, Path, int]]:
    """What Athena and Glue's crawlers see below a location: each object's path there, its file and its bytes."""
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    for key, item in list((s3._buckets.get(bucket) or {"objects": {}})["objects"].items()):
        path = key.removeprefix(prefix)
        if key.startswith(prefix) and not key.endswith("/") and not athena._hidden(path):
            file = object_file(bucket, key)
            # A put that has not ended has a key, and its bytes are not on disk yet.
            if item["body"] is None or file.is_file():
                yield path, file, item["size"]


def projection(table: Table, location: str) -> tuple[re.Pattern[str], dict[str, Callable[[str], bool]]]:
    """What objects' places match, and which values of each partition key are projected.

    Raises QueryFailed for a table that can't be read here.
    https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html
    """
    given, keys = table.get("Parameters") or {}, [key["Name"] for key in table.get("PartitionKeys") or []]
    folders = location + "".join(f"{key}=${{{key}}}/" for key in keys)
    on = given.get("projection.enabled") == "true"
    kinds = {on and given.get(f"projection.{key}.type") for key in keys}
    template = given.get("storage.location.template", folders).rstrip("/") + "/"
    rules = [
        (athena._data_format(table) == "parquet", "a format but Parquet"),
        (kinds <= {"integer", "enum"}, "a partition key but projected integers and enums"),
        (sorted(re.findall(r"\$\{(\w+)\}", template)) == sorted(keys), "a layout but one folder a key"),
    ]
    for sound, what in rules:
        if not sound:
            raise QueryFailed(f"NOT_SUPPORTED: {table['Name']}: {what} is not in the local cloud")
    place = re.sub(r"\\\$\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template))
    return re.compile(place), {key: projected(given, key) for key in keys}


def projected(given: dict[str, str], key: str) -> Callable[[str], bool]:
    """Whether a folder's text is a value that projection makes for a key."""
    if given[f"projection.{key}.type"] == "enum":
        return given[f"projection.{key}.values"].split(",").__contains__
    low, high = map(int, given[f"projection.{key}.range"].split(","))
    step, digits = (int(given.get(f"projection.{key}.{name}", "1")) for name in ("interval", "digits"))
    span = range(low, high + 1, step)
    return lambda text: text.isdigit() and int(text) in span and text == f"{int(text):0{digits}}"


def relation(table: Table, files: list[str], objects: str, connection: duckdb.DuckDBPyConnection) -> str:
    """SQL for the columns as the table declares them, NULL when no file has one; partition keys are of `objects`."""
    if not files:
        return f"SELECT * FROM {athena._empty_relation(table)}"
    keys = table.get("PartitionKeys") or []
    read = f"read_parquet({athena._sql_list(files)}, union_by_name = true, hive_partitioning = false, filename = true)"
    stored = {row[0].lower() for row in connection.execute(f"DESCRIBE SELECT * FROM {read}").fetchall()}
    columns = [
        f'CAST({f"""stored."{name}" """ if name.lower() in stored else "NULL"} AS {kind}) AS "{name}"'
        for name, kind in map(_typed, table["StorageDescriptor"]["Columns"])
    ]
    columns += [f'CAST(placed."{name}" AS {kind}) AS "{name}"' for name, kind in map(_typed, keys)]
    return f'SELECT {", ".join(columns)} FROM {read} AS stored JOIN "{objects}" AS placed ON filename = file'


def _typed(column: dict[str, str]) -> tuple[str, str]:
    return column["Name"], firehose._hive_to_duckdb_type(column["Type"])


def run(query: str, database: str) -> tuple[pa.Table, list[str], int]:
    """(The result as text, its columns' Athena types, bytes scanned). Raises QueryFailed."""
    tree = translate(query)
    with duckdb.connect() as connection:
        connection.execute("SET integer_division = true; SET TimeZone = 'UTC'")  # as Trino's
        try:
            scanned = bind(tree, database, connection)
            translated = tree.sql("duckdb")
            described = connection.execute(f"DESCRIBE {translated}").fetchall()
            names = [f"c{index}" for index in range(len(described))]
            connection.execute(f"CREATE TEMP TABLE result({', '.join(names)}) AS {translated}")
            texts = [as_text(name, row[1]) for name, row in zip(names, described, strict=True)]
            result = connection.sql(f"SELECT {', '.join(texts)} FROM result").to_arrow_table()
        except duckdb.Error as error:
            found = ((re.search(pattern, str(error)), reason) for pattern, reason in REASONS.items())
            raise QueryFailed(next(reason.format(match[1]) for match, reason in found if match)) from error
    return result.rename_columns([row[0] for row in described]), [athena_type(row[1]) for row in described], scanned


def athena_type(kind: str) -> str:
    """What Athena calls a DuckDB type in a result's metadata."""
    if kind.startswith("TIMESTAMP"):
        return "timestamp with time zone" if "ZONE" in kind else "timestamp"
    return "array" if kind.endswith("]") else athena._DUCKDB_TYPE_MAP.get(kind.partition("(")[0], "varchar")


def as_text(name: str, kind: str) -> str:
    """SQL for a result column's values as Athena prints them."""
    if kind.startswith("TIMESTAMP"):
        zone = " || ' UTC'" if "ZONE" in kind else ""
        return f"strftime(CAST({name} AS TIMESTAMP), '%Y-%m-%d %H:%M:%S.%g'){zone}"
    return f"CAST({name} AS VARCHAR)"


async def execute(query_id: str, query: str, database: str, *_rest: Any) -> None:
    """Run a query beside the event loop; its state is settled when the result is in S3."""
    await asyncio.to_thread(settle, athena._executions[query_id], query, database)


def settle(execution: dict[str, Any], query: str, database: str) -> None:
    """Run a query, write its CSV, set its statistics and last state."""
    status, statistics, started = execution["Status"], execution["Statistics"], time.monotonic()
    status["State"] = "RUNNING"
    try:
        table, execution["_column_types"], statistics["DataScannedInBytes"] = run(query, database)
        execution["_results"] = {"columns": table.column_names, "rows": Rows(table)}
        write(execution["ResultConfiguration"]["OutputLocation"], table)
        outcome = "SUCCEEDED"
    except QueryFailed as failure:
        outcome, status["StateChangeReason"] = "FAILED", str(failure)
    except Exception as failure:
        outcome, status["StateChangeReason"] = "FAILED", f"GENERIC_INTERNAL_ERROR: {failure}"
        raise
    finally:
        milliseconds = int((time.monotonic() - started) * 1000)
        statistics["EngineExecutionTimeInMillis"] = statistics["TotalExecutionTimeInMillis"] = milliseconds
        status["CompletionDateTime"] = int(time.time())
        if status["State"] == "RUNNING":  # else it was cancelled
            status["State"] = outcome


def write(location: str, table: pa.Table) -> None:
    """Put a result as Athena's CSV: every value in quotes, nothing for NULL."""
    place, file = urlparse(location), io.BytesIO()
    if table.num_columns:
        csv.write_csv(table, file, csv.WriteOptions(quoting_style="all_valid"))
    body = file.getvalue()
    status, _, answer = s3._put_object(place.netloc, place.path.lstrip("/"), body, {"content-type": "text/csv"})
    if status >= 300:
        raise QueryFailed(f"An error occurred while writing to S3: {answer.decode(errors='replace')}")


def start(original: Handler, data: dict[str, Any]) -> Answer:
    """StartQueryExecution: an enforced workgroup decides where results go, and a folder ends with a slash."""
    group = athena._workgroups.get(data.get("WorkGroup", "primary"))
    if group is None:
        return error_response_json("InvalidRequestException", f"WorkGroup {data['WorkGroup']} is not found.", 400)
    settings, asked = group.get("Configuration") or {}, data.get("ResultConfiguration") or {}
    own = (settings.get("ResultConfiguration") or {}).get("OutputLocation")
    place = own if own and settings.get("EnforceWorkGroupConfiguration") else asked.get("OutputLocation") or own
    given = {"OutputLocation": place.rstrip("/") + "/"} if place else {}
    return original(data | {"ResultConfiguration": asked | given})


def install() -> None:
    """Put this engine behind MiniStack's Athena API; it reads objects where `glue_spark` keeps them, in files."""
    s3.S3_PERSIST = True
    swap(athena, "_execute_query", lambda _original: execute)
    wrap(athena, "_start_query_execution", start)
