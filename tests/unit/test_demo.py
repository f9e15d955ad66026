"""The demo's own judgement: what it refuses, what it only reports, and what it leaves behind when it fails."""

import csv
import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from demo import __main__ as command
from demo import accounting, ingest, loop, serving, steps
from demo.platform import LinkBrokenError, utc_now
from demo.steps import Demo, Plan
from local.cloud import Cloud
from local.tools import ToolError
from producers import flights, weather
from schemas.flights import CURATED_COLUMNS

PLATFORM: Any = SimpleNamespace(
    client=lambda service: None,
    outputs=dict.fromkeys(("RawBucketName", "CuratedBucketName", "QuarantineBucketName", "CuratedTableName"), "name"),
    pipeline_ended=lambda execution, link: {},
)
FLOOR = serving.APRIL_FLOOR


@pytest.fixture
def april(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Demo]:
    """Runs the demo's part up to April with these answers of the platform: april(plan, auc, violations)."""

    def run(plan: Plan, auc: dict[str, float], violations: int = 0) -> Demo:
        scored = SimpleNamespace(auc=auc["before_departure"], curve=[], captured=3)
        verdict = {"drifted": violations > 0, "violations": violations, "features": dict.fromkeys(("temp", "dewp"))}
        answers = {
            "train": "execution",
            "registered": "package/1",
            "evaluation": {"metrics": {"auc": {"value": auc["at_departure"]}}},
            "approve": None,
            "wait_until_served": utc_now(),
            "flights": [],
            "score": scored,
            "latency": {"p50_ms": 1.0, "p99_ms": 2.0},
        }
        for name, answer in answers.items():
            monkeypatch.setattr(serving, name, lambda *_, answer=answer: answer)
        monkeypatch.setattr(loop, "monitor", lambda *_: (verdict, utc_now()))
        demo = Demo(Cloud(tmp_path, 1), plan, Console(width=200), folder=tmp_path)
        steps.train_and_serve(demo, PLATFORM)
        return demo

    return run


def test_april_at_its_floor_is_good_enough(april: Callable[..., Demo]) -> None:
    model = april(Plan(31), FLOOR).facts["model"]
    assert model["auc_april"] == model["auc_april_floor"] == FLOOR


@pytest.mark.parametrize("feature_set", FLOOR)
def test_april_below_its_floor_fails_by_name(april: Callable[..., Demo], feature_set: str) -> None:
    with pytest.raises(LinkBrokenError, match=f"model: April's AUC {feature_set} is 0.6.., below the 0") as refused:
        april(Plan(31), FLOOR | {feature_set: 0.6321})
    assert refused.value.link == "model"


def test_part_of_april_is_not_held_to_the_floor_of_all_of_it(april: Callable[..., Demo]) -> None:
    demo = april(Plan(16), FLOOR | {"before_departure": 0.6})
    assert demo.facts["model"]["auc_april_floor"] is None


@pytest.mark.parametrize(
    ("violations", "said"),
    [(0, "no drift, 0 of 2 features beyond their threshold"), (1, "drifted, 1 of 2 features beyond their threshold")],
)
def test_aprils_verdict_is_said_and_fails_nothing(
    april: Callable[..., Demo], capsys: pytest.CaptureFixture[str], violations: int, said: str
) -> None:
    demo = april(Plan(31), FLOOR, violations)
    printed = capsys.readouterr().out
    assert said in printed
    assert (f"! April was to show no drift, but {said}" in printed) == bool(violations)
    assert demo.facts["drift"]["april"]["violations"] == violations


def test_each_join_is_counted_in_a_column_that_no_row_of_its_table_lacks() -> None:
    columns = dict(ingest.JOINED)
    hours = columns.pop("weather")
    assert all(hour[hours] is not None for hour in weather.events())
    assert columns.keys() == flights.reference_files().keys()
    for table, column in columns.items():
        assert column in dict(CURATED_COLUMNS)
        with flights.reference_files()[table].open(newline="") as file:
            assert not [row for row in csv.DictReader(file) if row[column.removeprefix("dest_")] in ("NA", "")]


@pytest.mark.parametrize("table", ingest.JOINED)
def test_a_join_that_lost_a_whole_month_fails_by_name(
    table: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    january = {"year": 2013, "month": 1, "flights": 9, "weather": 8, "planes": 7, "airports": 9}
    months = [january, january | {"month": 2, table: 0}]
    rows = [{name: str(value) for name, value in month.items()} for month in months]
    found = accounting.Accounting(18, 18, 18, {}, 0, accounting.Weather())
    monkeypatch.setattr(accounting, "check", lambda *_, **__: found)
    demo = Demo(Cloud(tmp_path, 1), Plan(31))
    platform: Any = SimpleNamespace(**vars(PLATFORM), query=lambda sql: rows)
    with pytest.raises(LinkBrokenError, match=f"none of 9 flights of 2013-02 found a row of {table}$") as lost:
        steps.account(demo, platform)
    assert lost.value.link == "join"
    assert demo.facts["months"] == months


def test_the_flights_expected_are_those_of_the_months_and_days_replayed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("send", "acknowledged", "wait_until_landed", "wait_until_known", "wait_until_curated"):
        monkeypatch.setattr(ingest, name, lambda *_: None)
    monkeypatch.setattr(accounting, "read_ledger", lambda _: {})
    asked: list[set[str]] = []
    nothing = accounting.Accounting(0, 0, 0, {}, 0, accounting.Weather())
    monkeypatch.setattr(
        accounting, "check", lambda *_, **ids: asked.extend((ids["flights"], ids["weather"])) or nothing
    )
    monkeypatch.setattr(ingest, "flights_per_month", lambda platform: [])
    demo = Demo(Cloud(tmp_path, 1), Plan(2), folder=tmp_path)
    for months in ("1-3", "7"):
        steps.replay(demo, PLATFORM, months)
    steps.account(demo, PLATFORM)
    days = {f"2013-{month:02}-{day:02}" for month in (1, 2, 3, 7) for day in (1, 2)}
    assert {flight[:10] for flight in asked[0]} == days
    # An hour is named in UTC: the last ones of a day are the next day's.
    assert {hour[:10] for hour in asked[1]} == days | {f"2013-{month:02}-03" for month in (1, 2, 3, 7)}


@pytest.fixture
def run_main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[BaseException], int]:
    """Runs the command line; its first step raises the error."""

    def run(error: BaseException) -> int:
        def broken(demo: Demo) -> None:
            with demo.step("start the local cloud"):
                raise error

        monkeypatch.setattr(steps, "start_and_deploy", broken)
        monkeypatch.setattr(sys, "argv", ["demo", "--state", str(tmp_path / "cloud"), "--folder", str(tmp_path)])
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        return command.main()

    return run


@pytest.mark.parametrize(
    ("error", "link"),
    [
        (LinkBrokenError("Glue job", "it failed"), "Glue job"),
        (ToolError("Port 1 is in use"), None),
        (KeyError("Stacks"), None),
        (OSError("[red]disk full"), None),
    ],
)
def test_any_error_is_written_down_with_what_to_do(
    error: Exception,
    link: str | None,
    run_main: Callable[[BaseException], int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_main(error) == 1
    failed = json.loads((tmp_path / "failed.json").read_text())
    advice = failed.pop("advice")
    kind = type(error).__name__
    assert failed == {"step": "start the local cloud", "link": link, "error": kind, "message": str(error)}
    assert str(tmp_path / "cloud" / "cloud.log") in advice
    trace = (tmp_path / "failed.log").read_text()
    assert trace.startswith("Traceback") and "in broken" in trace and kind in trace
    printed = capsys.readouterr()
    assert str(error) in re.sub(r"\s+", " ", printed.out)
    assert ("Traceback" in printed.err) == (not isinstance(error, LinkBrokenError | ToolError))


def test_what_failed_is_said_though_it_can_not_be_written_down(
    run_main: Callable[[BaseException], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "failed.log").mkdir()
    with pytest.raises(IsADirectoryError):
        run_main(KeyError("is not reached"))
    assert "✗ prepare: IsADirectoryError" in capsys.readouterr().out


def test_an_interrupt_is_no_failure(run_main: Callable[[BaseException], int], tmp_path: Path) -> None:
    assert run_main(KeyboardInterrupt()) == 130
    assert not (tmp_path / "failed.json").exists()


def test_a_new_run_forgets_the_last_failure(run_main: Callable[[BaseException], int], tmp_path: Path) -> None:
    run_main(KeyError("Stacks"))
    run_main(KeyboardInterrupt())
    assert not {"failed.json", "failed.log"} & {path.name for path in tmp_path.iterdir()}
