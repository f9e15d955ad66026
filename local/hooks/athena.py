"""Athena on Trino's SQL: MiniStack 1.5.33 gives the text to DuckDB as it is, knows no partition projection, copies
every object of a table for each query, and writes the result where the client isn't told.

Queries are translated by sqlglot, read objects in place, and only those of partitions that the WHERE clause leaves.
A partition that is neither projected nor in the catalogue, or a Parquet column of another type than the table's, is
what it is on AWS: unseen, and HIVE_BAD_DATA. Not here: statements but queries and MiniStack's CREATE EXTERNAL TABLE
and DROP TABLE, information_schema, result reuse, query limits, doubles in Java's notation.
"""

# ruff: noqa: S608 (the SQL is the user's own, on a database that lives for the query)
import asyncio
import io
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlparse

import duckdb
import pyarrow as pa
import sqlglot
from ministack.core.responses import error_response_json
from ministack.services import athena, firehose, glue, s3
from pyarrow import csv
from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from local.hooks import swap
from local.hooks.glue_spark import object_file

Answer = tuple[int, dict[str, str], bytes]
Table = dict[str, Any]
QUERIES = {"SELECT", "WITH", "VALUES", "("}
READABLE = {  # (a Parquet column's type, the table's): what Athena reads besides the same
    ("INTEGER", "BIGINT"), ("INTEGER", "SMALLINT"), ("INTEGER", "TINYINT"), ("FLOAT", "DOUBLE"), ("BLOB", "VARCHAR"),
    ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP"), ("TIMESTAMP_NS", "TIMESTAMP"),
}  # fmt: skip
UNITS = {"YEAR": 365, "MONTH": 30, "WEEK": 7, "DAY": 1, "HOUR": 1 / 24, "MINUTE": 1 / 1440, "SECOND": 1 / 86400}
JAVA_DATE = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


class QueryFailed(Exception):
    """A query that Athena would fail; the message is its StateChangeReason."""


@dataclass(frozen=True)
class Object:
    """An object of a table: its URI, file, size in bytes, and the values of its partition's keys as text."""

    uri: str
    path: str
    size: int
    values: tuple[str, ...]


class Rows:
    """The rows of a result, made when a page of them is asked for: a list of them would take 60 MB a dashboard."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __len__(self) -> int:
        return self.table.num_rows

    def __getitem__(self, page: slice) -> list[tuple[str | None, ...]]:
        start, stop, _ = page.indices(len(self))
        return list(zip(*(column.to_pylist() for column in self.table.slice(start, stop - start).columns), strict=True))


def objects(table: Table) -> list[Object]:
    """A table's objects, as Athena sees them."""
    location, keys = table["StorageDescriptor"]["Location"], [key["Name"] for key in table.get("PartitionKeys") or []]
    parameters = table.get("Parameters") or {}
    if not keys:
        return list(_under(location, ()))
    if parameters.get("projection.enabled", "false").lower() != "true":
        registered = glue._partitions.get(f"{table['DatabaseName']}/{table['Name']}") or []
        return [
            found
            for partition in registered
            for found in _under(partition["StorageDescriptor"]["Location"], tuple(partition["Values"]))
        ]
    hive = f"{location.rstrip('/')}/" + "/".join(f"{key}=${{{key}}}" for key in keys)
    template = parameters.get("storage.location.template", hive).rstrip("/") + "/"
    pattern = re.sub(r"\\\$\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template))
    found = []
    for item in _under(template.partition("${")[0].rpartition("/")[0], ()):
        place = re.match(pattern, item.uri)
        if place and all(projected(key, place[key], parameters) for key in keys):
            found.append(replace(item, values=tuple(place[key] for key in keys)))
    return found


def _under(location: str, values: tuple[str, ...]) -> Iterator[Object]:
    """The objects below an s3:// folder, but for Hive's hidden ones."""
    place = urlparse(location)
    prefix = place.path.strip("/") + "/" if place.path.strip("/") else ""
    bucket = s3._buckets.get(place.netloc) or {"objects": {}}
    for key, item in list(bucket["objects"].items()):
        if key.startswith(prefix) and not key.endswith("/") and not athena._hidden(key[len(prefix) :]):
            file = object_file(place.netloc, key)
            if item["body"] is None or file.is_file():  # else its put has not ended: the bytes are not on disk yet
                yield Object(f"s3://{place.netloc}/{key}", str(file), item["size"], values)


def projected(key: str, value: str, parameters: dict[str, str]) -> bool:
    """Whether partition projection makes this value of a key.

    https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html
    """
    given = {name.rpartition(".")[2]: v for name, v in parameters.items() if name.startswith(f"projection.{key}.")}
    match given.get("type"):
        case "enum":
            return value in [item.strip() for item in given["values"].split(",")]
        case "integer":
            low, high = (int(bound) for bound in given["range"].split(","))
            width = int(given.get("digits", 0))
            if not value.isdigit() or str(int(value)).zfill(width) != value:
                return False
            return low <= int(value) <= high and not (int(value) - low) % int(given.get("interval", 1))
        case "date":
            form = re.sub("|".join(JAVA_DATE), lambda part: JAVA_DATE[part[0]], given["format"]).replace("'", "")
            try:
                moment = datetime.strptime(value, form).replace(tzinfo=UTC)
            except ValueError:
                return False
            first, last = (_bound(text.strip(), form) for text in given["range"].split(","))
            return first <= moment <= last
        case "injected":
            return True
    raise QueryFailed(f"INVALID_TABLE_PROPERTY: projection.{key}.type is {given.get('type')!r}")


def _bound(text: str, form: str) -> datetime:
    """One end of a projected range of dates: a date, or NOW with an offset like -3YEARS (years and months roughly)."""
    relative = re.fullmatch(r"NOW\s*(?:([+-])\s*(\d+)\s*([A-Z]+?)S?)?", text)
    if not relative:
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    sign, count, unit = relative.groups()
    days = (1 if sign == "+" else -1) * int(count or 0) * UNITS[unit or "DAY"]
    return datetime.now(UTC) + timedelta(days=days)


def translate(query: str) -> exp.Expr:
    """Trino's SQL as a syntax tree. Raises QueryFailed for what is no query, or not Trino's."""
    try:
        first = sqlglot.tokenize(query, read="trino")[0].text.upper()
        if first not in QUERIES:
            named = re.match(r"\s*([a-z]+(\s+[a-z]+)?)", query, re.IGNORECASE)
            raise QueryFailed(f"NOT_SUPPORTED: {(named[1] if named else first).upper()} is not in the local cloud")
        tree = sqlglot.parse_one(query, read="trino")
    except (sqlglot.errors.SqlglotError, IndexError) as error:
        told = re.sub(r"\x1b\[\d+m", "", str(error)).splitlines() or ["the query is empty"]
        raise QueryFailed(f"SYNTAX_ERROR: {told[0]}") from error
    for select in tree.find_all(exp.Select):
        for index, column in enumerate(select.expressions):
            if not isinstance(column, exp.Alias | exp.Column | exp.Star):
                select.expressions[index].replace(exp.alias_(column.copy(), f"_col{index}"))
    return tree


def bind(tree: exp.Expr, database: str, connection: duckdb.DuckDBPyConnection) -> int:
    """Replace each table by a view over its objects; the bytes of those. Raises QueryFailed for an unknown table."""
    scanned = 0
    sources: list[tuple[Scope, Any, str]] = [
        (scope, node, name)
        for scope in traverse_scope(tree)
        for name, (node, source) in scope.selected_sources.items()
        if isinstance(source, exp.Table)
    ]
    for column in tree.find_all(exp.Column):  # db.table.column: the view has the table's name, and no database
        column.set("catalog", None)
        column.set("db", None)
    for number, (scope, node, name) in enumerate(sources):
        schema = (node.db or database).lower()
        table = glue._tables.get(f"{schema}/{node.name.lower()}")
        if table is None or not (table.get("StorageDescriptor") or {}).get("Location"):
            full = f"awsdatacatalog.{schema}.{node.name.lower()}"
            raise QueryFailed(f"TABLE_NOT_FOUND: {position(node.this)}: Table '{full}' does not exist")
        found = prune(scope, name, table, objects(table), connection)
        scanned += sum(item.size for item in found)
        view = f"table_{number}"
        connection.execute(f"CREATE TEMP VIEW {view} AS {relation(table, found, view, connection)}")
        node.replace(exp.alias_(exp.to_table(view), name, table=True, quoted=True))
    return scanned


def prune(
    scope: Scope, name: str, table: Table, found: list[Object], connection: duckdb.DuckDBPyConnection
) -> list[Object]:
    """The objects in partitions that the WHERE clause leaves: its conditions on partition keys alone are tried."""
    keys = {key["Name"]: firehose._hive_to_duckdb_type(key["Type"]) for key in table.get("PartitionKeys") or []}
    select = scope.expression
    where = select.args.get("where") if isinstance(select, exp.Select) else None
    if not keys or not where or any(join.side for join in select.args.get("joins") or []):
        return found  # below an outer join, leaving a partition out could add rows
    conditions = []
    for part in where.this.flatten() if isinstance(where.this, exp.And) else [where.this]:
        columns = list(part.find_all(exp.Column))
        own = all(column.name.lower() in keys and column.table in ("", name) for column in columns)
        if columns and own and not part.find(exp.Select):
            conditions.append(f"({part.sql('duckdb')})")
    if not conditions:
        return found
    partitions = sorted({item.values for item in found})
    connection.register("partitions", _texts(list(keys), partitions))
    typed = ", ".join(f'CAST("{key}" AS {kind}) AS "{key}"' for key, kind in keys.items())
    numbered = f"SELECT {typed}, row_number() OVER () - 1 AS number FROM partitions"
    kept = connection.execute(f'SELECT number FROM ({numbered}) AS "{name}" WHERE {" AND ".join(conditions)}')
    left = {partitions[number] for (number,) in kept.fetchall()}
    return [item for item in found if item.values in left]


def _texts(names: list[str], rows: list[tuple[str, ...]]) -> pa.Table:
    return pa.table({name: pa.array([row[index] for row in rows], pa.string()) for index, name in enumerate(names)})


def relation(table: Table, found: list[Object], name: str, connection: duckdb.DuckDBPyConnection) -> str:
    """SQL for the table's columns over these objects. Raises QueryFailed when a Parquet type isn't the table's."""
    if not found:
        return f"SELECT * FROM {athena._empty_relation(table)}"
    paths = [item.path for item in found]
    if athena._data_format(table) != "parquet":
        return f"SELECT * FROM {athena._table_relation(table, paths)}"
    files = f"read_parquet({athena._sql_list(paths)}, union_by_name = true, filename = true, hive_partitioning = false)"
    stored = {row[0].lower(): row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {files}").fetchall()}
    columns = []
    for column in table["StorageDescriptor"]["Columns"]:
        label, kind = column["Name"], firehose._hive_to_duckdb_type(column["Type"])
        has = stored.get(label.lower(), "")
        plain = (has.partition("(")[0], kind.partition("(")[0])
        if has and plain[0] != plain[1] and plain not in READABLE and "(" not in has:
            raise QueryFailed(
                f"HIVE_BAD_DATA: Field {label}'s type {has} in parquet file is incompatible with type {column['Type']} "
                f"defined in table schema of {table['DatabaseName']}.{table['Name']}"
            )
        value = f'o."{label}"' if has else "NULL"
        columns.append(f'CAST({value} AS {kind}) AS "{label}"')
    keys = table.get("PartitionKeys") or []
    if not keys:
        return f"SELECT {', '.join(columns)} FROM {files} AS o"
    rows = [(item.path, *item.values) for item in found]
    connection.register(f"{name}_partitions", _texts(["object", *(key["Name"] for key in keys)], rows))
    for key in keys:
        columns.append(f'CAST(p."{key["Name"]}" AS {firehose._hive_to_duckdb_type(key["Type"])}) AS "{key["Name"]}"')
    return f"SELECT {', '.join(columns)} FROM {files} AS o JOIN {name}_partitions AS p ON o.filename = p.object"


def position(node: exp.Expr) -> str:
    """Where a name stands in the query, in Trino's words."""
    meta = node.meta
    return f"line {meta.get('line', 1)}:{meta.get('col', 1) - meta.get('end', 0) + meta.get('start', 0)}"


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
            raise QueryFailed(reason(error, tree)) from error
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


def reason(error: duckdb.Error, tree: exp.Expr) -> str:
    """DuckDB's error in Trino's words."""
    text = str(error).splitlines()[0].partition(": ")[2]
    if missing := re.search(r'Referenced column "([^"]+)" not found', text):
        columns = [column for column in tree.find_all(exp.Column) if column.name == missing[1]]
        where = position(columns[0].this) if columns else "line 1:1"
        return f"COLUMN_NOT_FOUND: {where}: Column '{missing[1]}' cannot be resolved"
    if missing := re.search(r"Function with name (\S+) does not exist", text):
        return f"FUNCTION_NOT_FOUND: line 1:1: Function '{missing[1]}' not registered"
    if isinstance(error, duckdb.ConversionException):
        return f"INVALID_CAST_ARGUMENT: {text}"
    return f"SYNTAX_ERROR: line 1:1: {text}"


async def execute(query_id: str, query: str, database: str, ddl: Any, _catalog: str | None = None) -> None:
    """Run a query beside the event loop; its state is settled when the result is in S3."""
    await asyncio.to_thread(settle, athena._executions[query_id], query, database, ddl)


def settle(execution: dict[str, Any], query: str, database: str, ddl: Any) -> None:
    """Run a query, write its CSV, set its statistics and last state."""
    status, statistics, started = execution["Status"], execution["Statistics"], time.monotonic()
    status["State"] = "RUNNING"
    try:
        if ddl is None:
            table, types, scanned = run(query, database)
            execution["_column_types"] = types
            statistics["DataScannedInBytes"] = scanned
        else:
            athena._run_ddl(ddl, database)
            table = pa.table({})
        execution["_results"] = {"columns": table.column_names, "rows": Rows(table)}
        write(execution["ResultConfiguration"]["OutputLocation"], table)
        outcome = "SUCCEEDED"
    except (QueryFailed, ValueError) as failure:  # ValueError: MiniStack's DDL
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


def start(original: Callable[[dict[str, Any]], Answer]) -> Callable[[dict[str, Any]], Answer]:
    def call(data: dict[str, Any]) -> Answer:
        """StartQueryExecution: an enforced workgroup decides where results go, and a folder ends with a slash."""
        group = athena._workgroups.get(data.get("WorkGroup", "primary"))
        if group is None:
            return error_response_json("InvalidRequestException", f"WorkGroup {data['WorkGroup']} is not found.", 400)
        own = (group.get("Configuration") or {}).get("ResultConfiguration") or {}
        asked = data.get("ResultConfiguration") or {}
        enforced = (group.get("Configuration") or {}).get("EnforceWorkGroupConfiguration") and own.get("OutputLocation")
        place = own["OutputLocation"] if enforced else asked.get("OutputLocation") or own.get("OutputLocation")
        given = {"OutputLocation": place.rstrip("/") + "/"} if place else {}
        return original(data | {"ResultConfiguration": asked | given})

    return call


def install() -> None:
    """Put this engine behind MiniStack's Athena API; it reads objects where `glue_spark` keeps them, in files."""
    s3.S3_PERSIST = True
    swap(athena, "_execute_query", lambda _original: execute)
    swap(athena, "_start_query_execution", start)
