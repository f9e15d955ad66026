"""The real-time job itself on Flink's mini-cluster, over two days of real flights: same code, other connectors."""

import json
import os
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from components.function import Gathered
from local import tools
from ml.schema import FEATURE_SETS, SERVED_FEATURE_SET, columns_of
from producers import damage, flights
from stacks.real_time import RealTimeOptions

OPTIONS = RealTimeOptions()
FLINK = tools.ROOT / ".venv-flink" / "bin" / "python"
JOB = Gathered((".", "flink_jobs/delays"), ("contracts", "contracts"))  # as its package has it
SECONDS = 240  # alone it takes a quarter of it; here it shares two cores with the other tests
# Every flight that was to leave JFK on the second day from three to four is four hours late.
AIRPORT, BURST = "JFK", "2013-01-02T20"
BROKEN = b'{"event_id": "broken'

# Broken lines are left out by read_json, the impossible minute by the condition.
AGAIN = """
    SELECT origin, strftime(time_hour::TIMESTAMP + to_minutes(minute), '%Y-%m-%dT%H:%M:%SZ'),
        count(*), count(dep_delay), avg(dep_delay), max(dep_delay), avg((dep_delay > 15)::INT)
    FROM read_json(?, format = 'newline_delimited', ignore_errors = true,
        columns = {origin: 'VARCHAR', time_hour: 'VARCHAR', minute: 'INT', dep_delay: 'DOUBLE'})
    WHERE minute < 60 GROUP BY 1, 2 ORDER BY 1, 2
"""

Row = dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run: events/, departures/, metrics/ and rejected/ as JSON lines."""
    assert FLINK.exists(), "Flink is not installed: run `make test`, which installs it"
    folder = tmp_path_factory.mktemp("flink")
    events = [_in_burst(event) for event in flights.events([1], [1, 2])]
    lines = [damage.encode(event) for event in events]
    lines[len(lines) // 2 : len(lines) // 2] = [BROKEN, damage.encode(events[0] | {"minute": 75})]
    (folder / "events").mkdir()
    (folder / "events" / "flights.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    job = folder / "job"
    JOB.try_bundle(str(job))
    properties = folder / "application_properties.json"
    properties.write_text(json.dumps(_properties(folder)))
    environment = os.environ | {
        "JAVA_HOME": str(tools.java_home()),
        "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",  # it lives for seconds
        "PATH": f"{FLINK.parent}{os.pathsep}{os.environ['PATH']}",  # Flink starts its workers with `python`
        "PYTHONPATH": str(job),
        "TZ": "Asia/Tokyo",  # windows are in UTC wherever the job runs
        "FLINK_LOG_DIR": str(folder / "log"),
    }
    command = [str(FLINK), str(job / "main.py"), str(properties)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return folder


@pytest.mark.local
@pytest.mark.requirement("str-flink-apis", "str-usecases")
def test_windows_are_what_another_engine_computes(run: Path) -> None:
    expected = duckdb.execute(AGAIN, [f"{run}/events/*.jsonl"]).fetchall()
    found = sorted(
        tuple(row[name] for name in ("airport", "window_start", "flights", "departed")) for row in _rows(run, "metrics")
    )
    assert found == [row[:4] for row in expected]
    delays = {(row["airport"], row["window_start"]): row for row in _rows(run, "metrics")}
    for airport, start, _, departed, *computed in expected:
        row = delays[airport, start]
        given = [row[name] for name in ("mean_delay", "max_delay", "share_late")]
        assert given == (pytest.approx(computed) if departed else [None] * 3)


@pytest.mark.local
@pytest.mark.requirement("str-usecases")
def test_departures_are_the_flights_as_the_model_is_asked_about_them(run: Path) -> None:
    asked = [field.name for field in columns_of(FEATURE_SETS[SERVED_FEATURE_SET])]
    events = {event["event_id"]: event for event in flights.events([1], [1, 2])}
    departures = {row.pop("event_id"): row for row in _rows(run, "departures")}
    assert departures.keys() == events.keys()
    for event_id, row in departures.items():
        event = events[event_id]
        scheduled = datetime.fromisoformat(event["time_hour"]) + timedelta(minutes=event["minute"])
        assert row.pop("scheduled") == f"{scheduled:%Y-%m-%dT%H:%M:%SZ}"
        assert row == {name: event[name] for name in asked if name in event}


@pytest.mark.local
@pytest.mark.requirement("str-rcf-stream", "str-usecases")
def test_a_burst_of_delays_has_the_highest_score_and_is_an_anomaly(run: Path) -> None:
    scored = [row for row in _rows(run, "metrics") if row["score"] is not None]
    highest = max(scored, key=lambda row: row["score"])
    assert (highest["airport"], highest["window_start"][: len(BURST)]) == (AIRPORT, BURST)
    assert highest["anomaly"]
    assert all(row["anomaly"] == (row["score"] >= OPTIONS.anomaly_score) for row in scored)


@pytest.mark.local
def test_damaged_records_are_set_aside_and_the_job_goes_on(run: Path) -> None:
    assert sorted(row["reason"] for row in _rows(run, "rejected")) == ["broken_json", "impossible_value"]


def _in_burst(event: flights.Event) -> flights.Event:
    late = event["origin"] == AIRPORT and event["time_hour"].startswith(BURST)
    return event | {"dep_delay": 240.0} if late else event


def _properties(folder: Path) -> list[Row]:
    """What the stack gives the job, with files for streams."""
    groups = {
        "source": {"connector": "filesystem", "path": str(folder / "events"), "format": "raw"},
        "job": OPTIONS.job,
    }
    for table in ("departures", "metrics", "rejected"):
        groups[table] = {"connector": "filesystem", "path": str(folder / table), "format": "json"}
    return [{"PropertyGroupId": group, "PropertyMap": entries} for group, entries in groups.items()]


def _rows(run: Path, table: str) -> list[Row]:
    files = [path for path in (run / table).rglob("*") if path.is_file()]
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]
