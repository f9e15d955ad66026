"""Bytes that Athena scans for five typical questions, of what the Glue job stores and of the same rows as CSV.

Athena reads of a Parquet object the column chunks of the columns that a query names, of a CSV object all of it, and of
a table the partitions that the query's conditions leave.
https://docs.aws.amazon.com/athena/latest/ug/performance-tuning.html
"""

from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import sqlglot
from sqlglot import exp
from sqlglot.optimizer import optimize

# ruff: noqa: S608  the SQL is made of our own names and paths
from schemas.flights import CURATED_COLUMNS, PARTITION_KEYS

QUESTIONS = {
    "flights a month": "SELECT year, month, count(*) AS flights FROM flights WHERE year = 2013 GROUP BY year, month",
    "delay by carrier in July": (
        "SELECT carrier, avg(arr_delay) AS delay FROM flights WHERE year = 2013 AND month = 7 GROUP BY carrier"
    ),
    "worst routes before Christmas": (
        "SELECT origin, dest, approx_quantile(arr_delay, 0.9) AS delay FROM flights "
        "WHERE year = 2013 AND month = 12 AND day BETWEEN 16 AND 24 GROUP BY origin, dest ORDER BY delay DESC LIMIT 20"
    ),
    "delay by rain and wind": (
        "SELECT round(precip, 1) AS rain, round(wind_speed / 10) AS wind, avg(dep_delay) AS delay, count(*) AS flights "
        "FROM flights WHERE year = 2013 GROUP BY 1, 2"
    ),
    "an aircraft's year": (
        "SELECT time_hour, origin, dest, dep_delay, arr_delay FROM flights "
        "WHERE year = 2013 AND tailnum = 'N725MQ' ORDER BY time_hour"
    ),
}


def scanned(table: Path, csv: Path) -> dict[str, tuple[int, int]]:
    """(Bytes of Parquet under `table`, bytes of CSV) by question; `csv` gets the same rows in the same partitions."""
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET partitioned_write_max_open_files = 400; SET enable_progress_bar = false")
    keys = "hive_types = {" + ", ".join(f"{name}: {kind}" for name, kind in PARTITION_KEYS) + "}, filename = true"
    connection.execute(f"CREATE VIEW flights AS FROM read_parquet('{table}/**/*.parquet', {keys})")
    connection.execute(
        f"COPY (SELECT * EXCLUDE (filename) FROM flights) TO '{csv}' (FORMAT csv, PARTITION_BY (year, month, day))"
    )
    connection.execute(f"CREATE VIEW flights_csv AS FROM read_csv('{csv}/**/*.csv', {keys}, all_varchar = true)")
    return {question: _scanned(connection, sql) for question, sql in QUESTIONS.items()}


def _scanned(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, int]:
    if not connection.execute(sql).fetchall():
        raise ValueError(f"a question that finds nothing says nothing: {sql}")
    columns, condition = _read(sql)

    def kept(view: str) -> list[Path]:
        found = connection.execute(f"SELECT DISTINCT filename FROM {view} AS flights WHERE {condition}").fetchall()
        return [Path(name) for (name,) in found]

    parquet = 0
    for footer in map(pq.read_metadata, kept("flights")):
        for group in map(footer.row_group, range(footer.num_row_groups)):
            chunks = map(group.column, range(group.num_columns))
            parquet += sum(chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema in columns)
    return parquet, sum(path.stat().st_size for path in kept("flights_csv"))


def _read(sql: str) -> tuple[set[str], str]:
    """(Columns that a query reads of the objects, its conditions on partitions), as an optimizer resolves them."""
    keys = {name for name, _ in PARTITION_KEYS}
    schema: dict[str, object] = {"flights": dict([*CURATED_COLUMNS, *PARTITION_KEYS])}
    tree = optimize(sqlglot.parse_one(sql, read="duckdb"), schema=schema, dialect="duckdb")
    columns = {column.name for column in tree.find_all(exp.Column)} & {name for name, _ in CURATED_COLUMNS}
    where = tree.find(exp.Where)
    if where is None:
        raise ValueError(f"a question without conditions reads every partition: {sql}")
    conditions = where.this.flatten() if isinstance(where.this, exp.And) else [where.this]
    on_keys = (each for each in conditions if {column.name for column in each.find_all(exp.Column)} <= keys)
    return columns, " AND ".join(each.sql(dialect="duckdb") for each in on_keys)
