"""Raw events of any number in a folder as Firehose leaves them in S3: real flights, in copies, and their weather."""

import zipfile
from pathlib import Path

import duckdb

from producers.flights import data_folder
from schemas import flights, weather

REPEATED_PERCENT = 3  # of the flights come a second time, as in the accounting over a million events
# DuckDB's names of the types that our tables have.
TYPES = {"string": "VARCHAR", "int": "INTEGER", "double": "DOUBLE"}


def write(folder: Path, copies: int) -> int:
    """Write the year's 336,776 flights `copies` times, and its weather; return the number of rows of flights.

    They go to flights/ and weather/ in `folder`, by year=/month=/day=. The copies of a flight differ in event_id alone.
    A day's flights are in one file, those that come again in another.
    """
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET partitioned_write_max_open_files = 400; SET TimeZone = 'UTC'")  # each of a year's days
    with zipfile.ZipFile(data_folder() / "flights.csv.zip") as archive:
        csv = Path(archive.extract("flights.csv", folder))
    day = "concat_ws('-', year, lpad(month, 2, '0'), lpad(day, 2, '0'))"
    connection.execute(_table("events", csv, f"concat_ws('-', {day}, carrier, flight, origin)", flights.RAW_COLUMNS))
    csv.unlink()
    hour = "strftime(CAST(time_hour AS TIMESTAMP), '%Y-%m-%dT%HZ')"
    source = data_folder() / "weather.csv"
    connection.execute(_table("hours", source, f"concat_ws('-', {hour}, origin)", weather.RAW_COLUMNS))
    _copy(connection, "SELECT * FROM hours", folder / "weather", "first")
    # The names in the SQL are our own.
    every = f"SELECT * REPLACE (concat(event_id, '-', copy) AS event_id) FROM events, range({copies}) AS copies(copy)"  # noqa: S608
    every = f"SELECT * EXCLUDE (copy) FROM ({every})"  # noqa: S608
    again = f"{every} WHERE hash(event_id) % 100 < {REPEATED_PERCENT}"
    return _copy(connection, every, folder / "flights", "first") + _copy(connection, again, folder / "flights", "again")


def _table(name: str, csv: Path, event_id: str, columns: list[flights.Column]) -> str:
    values = ", ".join(f"CAST({column} AS {TYPES[kind]}) AS {column}" for column, kind in columns[1:])
    return f"""CREATE TABLE {name} AS
        SELECT {event_id} AS event_id, {values}, year, lpad(month, 2, '0') AS month, lpad(day, 2, '0') AS day
        FROM read_csv('{csv}', all_varchar = true, nullstr = 'NA')"""  # noqa: S608  names of our own


def _copy(connection: duckdb.DuckDBPyConnection, rows: str, folder: Path, name: str) -> int:
    """Write rows by the day, one file a day; return how many there were."""
    options = f"FORMAT parquet, PARTITION_BY (year, month, day), APPEND, FILENAME_PATTERN '{name}-{{uuid}}'"
    written: int = connection.execute(f"COPY ({rows}) TO '{folder}' ({options})").fetchall()[0][0]
    return written
