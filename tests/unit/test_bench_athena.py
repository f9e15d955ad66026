"""The benchmark's bytes scanned are those of the columns and the days that a question needs."""

from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from benchmarks import athena
from schemas.flights import CURATED_COLUMNS

KINDS = {"string": "VARCHAR", "int": "INTEGER", "double": "DOUBLE"}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A flight on each of two days, in a file a day."""
    values = ", ".join(f"CAST(1 AS {KINDS[kind]}) AS {name}" for name, kind in CURATED_COLUMNS)
    duckdb.execute(
        f"COPY (SELECT {values}, 2013 AS year, 7 AS month, unnest([1, 2]) AS day) "
        f"TO '{tmp_path}/flights' (FORMAT parquet, PARTITION_BY (year, month, day))"
    )
    return tmp_path / "flights"


def test_a_question_reads_its_columns_of_its_days(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = "SELECT carrier, avg(arr_delay) AS delay FROM flights WHERE month = 7 AND day = 2 GROUP BY carrier"
    monkeypatch.setattr(athena, "QUESTIONS", {"one": sql})
    (file,) = (table / "year=2013" / "month=7" / "day=2").iterdir()
    group = pq.read_metadata(file).row_group(0)
    chunks = {chunk.path_in_schema: chunk for chunk in map(group.column, range(group.num_columns))}
    expected = sum(chunks[name].total_compressed_size for name in ("carrier", "arr_delay"))
    found = athena.scanned(table, tmp_path / "csv")
    (text,) = (tmp_path / "csv").rglob("day=2/*.csv")
    assert found == {"one": (expected, text.stat().st_size)}


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT count(*) AS n FROM flights WHERE year = 1999 GROUP BY carrier", "finds nothing"),
        ("SELECT carrier FROM flights", "without conditions"),
    ],
)
def test_a_question_that_says_nothing_is_refused(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str, said: str
) -> None:
    monkeypatch.setattr(athena, "QUESTIONS", {"one": sql})
    with pytest.raises(ValueError, match=said):
        athena.scanned(table, tmp_path / "csv")
