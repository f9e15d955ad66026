"""`python -m benchmarks.etl [copies ...]`: the Glue job that curates flights against DuckDB doing the same.

A copy is the year's 336,776 flights; 3 and 30 copies are about 1 and 10 million rows. Both sides have two processors,
and must write the same rows. What is stored is then held against CSV: the bytes that Athena would scan.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from benchmarks import athena, raw_events
from benchmarks.figures import Figure, write
from local.tools import java_home
from producers.flights import reference_files
from schemas.flights import CURATED_COLUMNS, PARTITION_KEYS

COPIES = (1, 3, 30)
ARGUMENTS = {
    "raw_path": "s3://raw/flights/",
    "weather_path": "s3://raw/weather/",
    "reference_path": "s3://raw/reference/",
    "curated_path": "s3://curated/flights/",
    "state_path": "s3://curated/_state/flights.json",
    "max_seconds": "3600",
}


def main(sizes: Sequence[int]) -> None:
    """Measure each size, then what the smallest stored; prints the figures and writes build/bench/etl.json."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as temporary:
        for copies in sizes:
            root = Path(temporary, str(copies))
            rows = prepare(root, copies)
            print(f"{rows:,} raw rows", file=sys.stderr)
            peer = run("benchmarks.duckdb_process", str(root))
            given = (f"--{name}={value}" for name, value in ARGUMENTS.items())
            glue = run("benchmarks.glue_process", str(root), *given)
            hold_equal(root)
            figures += compared(rows, glue, peer)
            if copies == min(sizes):
                figures += stored(root)
            shutil.rmtree(root)
    sys.exit(not write("etl", figures))


def prepare(root: Path, copies: int) -> int:
    """Make the buckets with raw flights and reference tables; returns the number of raw rows."""
    for bucket in ("raw", "curated", "peer"):
        (root / bucket).mkdir(parents=True)
    for name, path in reference_files().items():
        folder = root / "raw" / "reference" / name
        folder.mkdir(parents=True)
        shutil.copy(path, folder)
    return raw_events.write(root / "raw", copies)


def run(module: str, *arguments: str) -> dict[str, float]:
    """Run a process of the comparison; returns what its last line says. One that fails shows its errors, and raises."""
    environment = os.environ | {"JAVA_HOME": str(java_home())}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        done.check_returncode()
    return json.loads(done.stdout.splitlines()[-1])


def hold_equal(root: Path) -> None:
    """Raise ValueError unless both sides have written the same rows."""
    columns = ", ".join(f"{name}::{raw_events.TYPES[kind]}" for name, kind in [*CURATED_COLUMNS, *PARTITION_KEYS])
    found: list[Any] = []
    for side in ("curated", "peer"):
        files = f"read_parquet('{root}/{side}/flights/**/*.parquet', hive_partitioning = true)"
        found.append(duckdb.execute(f"SELECT count(*), bit_xor(hash({columns})) FROM {files}").fetchall())  # noqa: S608
    if found[0] != found[1]:
        raise ValueError(f"the Glue job and DuckDB wrote different rows (count, hash): {found[0]} and {found[1]}")


def compared(rows: int, glue: dict[str, float], peer: dict[str, float]) -> list[Figure]:
    """Rows a second and peak memory against DuckDB's, and how much of the job's time is Spark's start."""
    size = f"{rows / 1e6:.1f} million rows"
    return [
        Figure(f"Glue job, {size}", "rows/s", [rows / glue["seconds"]], "DuckDB", [rows / peer["seconds"]]),
        Figure(f"peak memory, {size}", "MiB", [glue["peak_mib"]], "DuckDB", [peer["peak_mib"]]),
        Figure(f"Spark's start, {size}", "s", [glue["start_up"]], "the whole run", [glue["seconds"]]),
    ]


def stored(root: Path) -> list[Figure]:
    """Bytes that Athena scans of what the job stored, against CSV in the same partitions, question by question."""
    questions = athena.scanned(root / "curated" / "flights", root / "csv")
    ours, csv = map(sum, zip(*questions.values(), strict=True))
    return [
        *(Figure(f"scanned: {name}", "bytes", [own], "CSV", [csv]) for name, (own, csv) in questions.items()),
        Figure("scanned: all five", "bytes", [ours], "CSV", [csv], goal=("<=", 0.10)),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.etl", description=__doc__)
    parser.add_argument("copies", nargs="*", type=int, default=COPIES, help="of the year's flights, default 1 3 30")
    main(parser.parse_args().copies)
