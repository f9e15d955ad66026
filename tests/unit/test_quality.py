"""Real flights and weather keep the rules of the tables, and each rule catches what it is there for."""

import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from glue_jobs import curate_flights as job
from producers import flights, weather
from schemas import weather as weather_columns
from schemas.flights import PARTITION_KEYS, RAW_COLUMNS, Column
from schemas.quality import rules
from tests.unit.dqdl import broken, split
from tests.unit.test_curate_flights import ARROW

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# One worker of a parallel run holds the only Spark session.
pytestmark = pytest.mark.xdist_group("spark")

MONTHS = [4, 7]  # a quiet month, and one with many cancelled flights

# What goes wrong, and the rule that says so; together they break every rule there is.
FAULTS = {
    "flights": [
        ("DELETE FROM flights", "RowCount > 0"),
        ("UPDATE flights SET event_id = NULL WHERE flight = 1", 'IsComplete "event_id"'),
        ("INSERT INTO flights FROM flights LIMIT 1", 'IsUnique "event_id"'),
        ("UPDATE flights SET time_hour = NULL WHERE flight = 1", 'IsComplete "time_hour"'),
        ("UPDATE flights SET carrier = NULL WHERE flight = 1", 'IsComplete "carrier"'),
        ("UPDATE flights SET flight = NULL WHERE flight = 1", 'IsComplete "flight"'),
        ("UPDATE flights SET dest = NULL WHERE flight = 1", 'IsComplete "dest"'),
        ("UPDATE flights SET hour = 24 WHERE flight = 1", 'ColumnValues "hour"'),
        ("UPDATE flights SET distance = 0 WHERE flight = 1", 'ColumnValues "distance"'),
        ("DELETE FROM weather WHERE origin = 'LGA'", "ReferentialIntegrity"),
        ("UPDATE flights SET dep_delay = NULL WHERE origin = 'EWR'", 'Completeness "dep_delay"'),
        ("UPDATE flights SET temp = NULL WHERE hour = 8", 'Completeness "temp"'),
        ("UPDATE flights SET seats = NULL WHERE origin = 'EWR'", 'Completeness "seats"'),
        ("UPDATE flights SET dest_lat = NULL WHERE origin = 'EWR'", 'Completeness "dest_lat"'),
        ("UPDATE flights SET dep_time = NULL WHERE flight = 1", 'CustomSql "select count(*) from primary where arr'),
        ("UPDATE flights SET arr_delay = 999 WHERE flight = 1", 'CustomSql "select count(*) from primary where abs'),
    ],
    "weather": [
        ("DELETE FROM weather", "RowCount > 0"),
        ("UPDATE weather SET event_id = NULL WHERE hour = 8", 'IsComplete "event_id"'),
        ("UPDATE weather SET time_hour = NULL WHERE hour = 8", 'IsComplete "time_hour"'),
        ("UPDATE weather SET origin = NULL WHERE hour = 8", 'IsComplete "origin"'),
        ("UPDATE weather SET hour = -1 WHERE hour = 8", 'ColumnValues "hour"'),
        ("UPDATE weather SET temp = NULL WHERE hour = 8", 'Completeness "temp"'),
        ("UPDATE weather SET visib = NULL WHERE hour = 8", 'Completeness "visib"'),
        ("UPDATE weather SET wind_dir = NULL WHERE origin = 'EWR'", 'Completeness "wind_dir"'),
        ("UPDATE weather SET pressure = NULL WHERE origin = 'EWR'", 'Completeness "pressure"'),
        ("UPDATE weather SET dewp = temp + 10 WHERE hour = 8", 'CustomSql "select count(*) from primary where dewp'),
        ("DELETE FROM weather WHERE origin = 'EWR' AND hour < 4", 'CustomSql "select min(hours)'),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def tables(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The tables flights, as the Glue job makes it, and weather, as the stream delivers it."""
    folder = tmp_path_factory.mktemp("quality")
    observed = (event for event in weather.events(MONTHS) if event["event_id"] not in weather.IMPOSSIBLE_IDS)
    save(folder / "weather.parquet", observed, weather_columns.RAW_COLUMNS + PARTITION_KEYS)
    save(folder / "raw.parquet", flights.events(MONTHS), RAW_COLUMNS + PARTITION_KEYS)
    for name, path in flights.reference_files().items():
        (folder / name).mkdir()
        shutil.copy(path, folder / name)
    raw, hours = (
        spark.read.parquet(str(folder / name)).withColumn("arrived", job.F.current_timestamp())
        for name in ("raw.parquet", "weather.parquet")
    )
    reference = partial(job.read_reference, spark, f"{folder}/")
    job.transform(
        raw, hours, reference("planes", job.PLANES_SCHEMA), reference("airports", job.AIRPORTS_SCHEMA)
    ).write.parquet(str(folder / "flights"))
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE flights AS FROM '{folder}/flights/*.parquet'")
        connection.execute(f"CREATE TABLE weather AS FROM '{folder}/weather.parquet'")
        yield connection


def save(path: Path, events: Iterable[dict[str, Any]], columns: list[Column]) -> None:
    schema = pa.schema([(name, ARROW[glue_type]) for name, glue_type in columns])
    pq.write_table(pa.Table.from_pylist([{name: event[name] for name, _ in columns} for event in events], schema), path)


@pytest.mark.parametrize("table", FAULTS)
def test_real_data_keep_every_rule(tables: duckdb.DuckDBPyConnection, table: str) -> None:
    assert broken(rules(table), tables, table) == []


@pytest.mark.parametrize("table", FAULTS)
def test_every_rule_is_broken_by_the_fault_it_is_for(tables: duckdb.DuckDBPyConnection, table: str) -> None:
    idle = set(split(rules(table)))
    for fault, expected in FAULTS[table]:
        tables.execute("BEGIN")
        tables.execute(fault)
        found = broken(rules(table), tables, table)
        tables.execute("ROLLBACK")
        meant = {rule for rule in found if rule.startswith(expected)}
        assert meant, (fault, found)
        idle -= meant
    assert not idle, "no fault above breaks these"


def test_refuses_rules_it_cannot_evaluate(tables: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ValueError, match="write its evaluation here first"):
        broken('Rules = [ Entropy "dest" > 1 ]', tables, "flights")
