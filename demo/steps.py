"""The demo's steps, in order, and what each finds: facts for the report."""

import json
import platform as machine
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from config.sandbox import SETTINGS
from demo import accounting, ingest, loop, report, serving
from demo.platform import Happened, LinkBrokenError, Platform, Show, utc_now
from local import deploy, tools
from local.cloud import Cloud
from local.limits import NOT_EMULATED

ENVIRONMENT = "sandbox"
FAILED, TRACEBACK = "failed.json", "failed.log"
HOLDOUT_DAYS = 15  # the training stack's default, which the retrain rule leaves as it is
FOLDER = tools.ROOT / "build" / "demo"
WHY = (
    "A prediction is of use before departure, when the departure delay is not known yet. "
    "A model that knows it is better, and too late."
)


@dataclass(frozen=True)
class Plan:
    """How much of 2013 to replay: the first `days` days of January to April and of July."""

    days: int = 31

    @property
    def whole(self) -> bool:
        """Whether no day is left out: figures of whole months can be held against others' figures."""
        return self.days == 31

    @property
    def april_days(self) -> int:
        """Days of April, which training keeps out."""
        return min(self.days, 30)

    @property
    def july_split(self) -> int:
        """The first day of July that retraining keeps out, by the training pipeline's default."""
        return max(1, self.days - HOLDOUT_DAYS + 1)


@dataclass
class Demo:
    """The demo's state: what each step found goes into `facts`, the report."""

    cloud: Cloud
    plan: Plan
    console: Console = field(default_factory=lambda: Console(highlight=False))
    folder: Path = FOLDER
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    happened: list[Happened] = field(default_factory=list)
    months: set[int] = field(default_factory=set)  # replayed so far
    current: str = "prepare"  # the step that is running

    @property
    def ledger(self) -> Path:
        """What the producer says it sent."""
        return self.folder / "ledger.csv"

    @contextmanager
    def step(self, name: str) -> Iterator[Show]:
        """Show a step's progress and its time; gives the function that shows the last thing it did."""
        started = time.monotonic()
        self.current = name
        with self.console.status(name) as status:
            last = [""]

            def show(text: str) -> None:
                last[0] = text
                elapsed = time.monotonic() - started
                status.update(f"{name} [dim]{elapsed:.0f} s[/dim] {text[:100]}")

            yield show
        taken = time.monotonic() - started
        self.seconds[name] = round(self.seconds.get(name, 0) + taken, 1)
        done = f"[green]✓[/green] {name:<44} {taken:>7.1f} s  [dim]{escape(last[0])}[/dim]"
        self.console.print(done, no_wrap=True, overflow="ellipsis")

    def tell(self, *events: Happened) -> None:
        """Note events of the loop."""
        self.happened += events


def start_and_deploy(demo: Demo) -> Platform:
    """A fresh local cloud with every stack of the sandbox, deployed by the real CDK CLI."""
    with demo.step("start the local cloud") as show:
        demo.cloud.stop()
        demo.cloud.start()
        show(demo.cloud.endpoint)
    with demo.step("synthesize, bootstrap and deploy") as show:
        for line in deploy.deploy(demo.cloud, ENVIRONMENT):
            show(line)
    platform = Platform(demo.cloud.session(), str(SETTINGS["prefix"]))
    demo.facts["resources"] = platform.resources()
    return platform


def replay(demo: Demo, platform: Platform, months: str) -> None:
    """Send months of flights and weather and wait until every event is where it belongs."""
    since = ingest.now()
    name = f"months {months}" if "-" in months else f"month {months}"
    first, _, last = months.partition("-")
    demo.months |= set(range(int(first), int(last or first) + 1))
    with demo.step(f"replay {name}") as show:
        ingest.send(platform, ingest.Replay(months, f"1-{demo.plan.days}"), demo.ledger, demo.cloud.environment(), show)
    with demo.step(f"land {name} in raw and quarantine") as show:
        sent = accounting.read_ledger(demo.ledger)
        ingest.wait_until_landed(platform, ingest.acknowledged(sent), show)
    with demo.step(f"know the state of {name}") as show:
        good = {event_id for event_id, event in sent.items() if event.kind == "good"}
        flights = accounting.flights_of(demo.months, range(1, demo.plan.days + 1))
        ingest.wait_until_known(platform, len(good & flights), show)
    with demo.step(f"curate {name}") as show:
        ingest.wait_until_curated(platform, since, show)


def account(demo: Demo, platform: Platform) -> None:
    """Count every event from S3. Raises LinkBrokenError when it does not add up or a month's join found nothing."""
    with demo.step("account for every event") as show:
        found = accounting.check(
            platform.client("s3"),
            raw_bucket=platform.outputs["RawBucketName"],
            curated_bucket=platform.outputs["CuratedBucketName"],
            quarantine_bucket=platform.outputs["QuarantineBucketName"],
            ledger=demo.ledger,
            flights=accounting.flights_of(demo.months, range(1, demo.plan.days + 1)),
            weather=accounting.weather_of(demo.months, range(1, demo.plan.days + 1)),
        )
        months = ingest.flights_per_month(platform)
        demo.facts |= {
            "records_expected": found.records_expected,
            "records_sent": found.records_sent,
            "records_curated": found.records_curated,
            "records_quarantined": found.records_quarantined,
            "records_duplicate": found.records_duplicate,
            "weather": found.weather._asdict(),
            "accounting_problems": found.problems(),
            "months": months,
        }
        if problems := found.problems():
            raise LinkBrokenError("accounting", "; ".join(problems))
        if lost := ingest.lost_joins(months):
            raise LinkBrokenError("join", "; ".join(lost))
        weather = f"{found.weather.sent:,} hours of weather sent, {found.weather.landed:,} landed"
        show(f"{found.records_sent:,} flights sent, {found.records_curated:,} curated; {weather}")


def train_and_serve(demo: Demo, platform: Platform) -> None:
    """Train on January to March, approve, and let the new endpoint answer for April."""
    april = f"2013-04-{demo.plan.april_days:02d}"
    with demo.step("train on January to March") as show:
        show("features, train, evaluate, gate, register")
        execution = serving.train(platform, "before_departure", april, demo.plan.april_days)
        package = serving.registered(platform, execution)
        show(package.rpartition("/")[2])
    with demo.step("train with the departure delay, to compare"):
        comparison = serving.train(platform, "at_departure", april, demo.plan.april_days)
        platform.pipeline_ended(comparison, "training pipeline")
        compared = serving.evaluation(platform, comparison)["metrics"]["auc"]["value"]
    with demo.step("approve and roll out") as show:
        serving.approve(platform, package)
        show(f"in service {serving.wait_until_served(platform, package):%H:%M:%S}")
    with demo.step("answer for April") as show:
        since = utc_now()
        rows = serving.flights(platform, "year = 2013 AND month = 4")
        scored = serving.score(platform, rows, show)
        auc = {"before_departure": scored.auc, "at_departure": compared}
        if demo.plan.whole:
            serving.hold_to_floor(auc)
        show(f"AUC {scored.auc:.3f}")
    demo.facts["model"] = {
        "served": "before_departure",
        "why": WHY,
        "package": package,
        "auc_april": auc,
        "auc_april_floor": serving.APRIL_FLOOR if demo.plan.whole else None,
        "roc": {"april_before_departure": scored.curve},
    }
    with demo.step("measure the endpoint") as show:
        demo.facts["endpoint"] = serving.latency(platform, rows) | {"captured": scored.captured}
        show(f"p50 {demo.facts['endpoint']['p50_ms']} ms, p99 {demo.facts['endpoint']['p99_ms']} ms")
    look_for_drift_in_april(demo, platform, since, scored.captured)


def look_for_drift_in_april(demo: Demo, platform: Platform, since: datetime, requests: int) -> None:
    """Monitor April, the negative control: drift here is said as plainly as none, and is no failure of the platform."""
    with demo.step("look for drift in April") as show:
        verdict, _ = loop.monitor(platform, since, requests)
        demo.facts["drift"] = {"april": verdict}
        detail = described(verdict)
        show(detail)
    if verdict["drifted"]:
        demo.console.print(f"[yellow]![/yellow] April was to show no drift, but {detail}")


def close_the_loop(demo: Demo, platform: Platform) -> None:
    """July arrives: drift, alarm, notice, retraining, registration, approval and replacement, all by themselves."""
    with demo.step("answer for July") as show:
        since = utc_now()
        rows = serving.flights(platform, "year = 2013 AND month = 7")
        frozen = serving.score(platform, rows, show)
    noticed = notice_drift(demo, platform, since, frozen.captured)
    with demo.step("retrain, register, approve") as show:
        package, events = loop.wait_for_retraining(platform, noticed)
        demo.tell(*events)
        show(events[-1].detail)
    with demo.step("replace the model") as show:
        at = serving.wait_until_served(platform, package)
        demo.tell(Happened(at, "new model in service", f"version {package.rpartition('/')[2]}"))
        retrained = serving.score(platform, [row for row in rows if row["day"] >= demo.plan.july_split], show)
    frozen_late = frozen.where([row["day"] >= demo.plan.july_split for row in rows])
    if retrained.probability == frozen_late.probability:
        raise LinkBrokenError("roll-out", "the endpoint answers as it did before the new model was rolled out")
    model = demo.facts["model"]
    model["auc_july"] = {"frozen": frozen_late.auc, "retrained": retrained.auc}
    model["july_window"] = f"{demo.plan.july_split} to {demo.plan.days} July"
    model["roc"] |= {"july_frozen": frozen_late.curve, "july_retrained": retrained.curve}
    demo.facts["endpoint"]["captured"] += frozen.captured + retrained.captured


def notice_drift(demo: Demo, platform: Platform, since: datetime, requests: int) -> datetime:
    """Monitor what was captured after `since` until people are told of its drift; returns when that began."""
    loop.wait_until_calm(platform)
    with closing(loop.Inbox(platform)) as inbox:
        started = utc_now()
        with demo.step("look for drift in July") as show:
            verdict, began = loop.monitor(platform, since, requests)
            demo.facts["drift"]["july"] = verdict
            demo.tell(Happened(began, "the requests of July are monitored", described(verdict)))
            show(described(verdict))
        with demo.step("drift alarm and its notice") as show:
            alarm = loop.wait_for_alarm(platform, started)
            notice = loop.wait_for_notice(platform, inbox)
            demo.tell(alarm, notice)
            show(notice.detail)
    return started


def described(verdict: dict[str, Any]) -> str:
    """What the drift monitor found, in a line."""
    said = "drifted" if verdict["drifted"] else "no drift"
    return f"{said}, {verdict['violations']} of {len(verdict['features'])} features beyond their threshold"


def versions() -> dict[str, str]:
    """Versions of the programs that did the work, by name."""
    packages = {
        "MiniStack": "ministack",
        "Spark": "pyspark",
        "XGBoost": "xgboost-cpu",
        "ONNX Runtime": "onnxruntime",
        "DuckDB": "duckdb",
    }
    cli = json.loads((tools.cdk().resolve().parents[1] / "package.json").read_text())
    return {
        "Python": machine.python_version(),
        "CDK CLI": cli["version"],
        **{name: metadata.version(package) for name, package in packages.items()},
    }


def run(demo: Demo) -> Path:
    """Every step in order; returns the report's path. Raises LinkBrokenError or ToolError, with what is wrong."""
    started = time.monotonic()
    demo.folder.mkdir(parents=True, exist_ok=True)
    for name in (demo.ledger.name, FAILED, TRACEBACK, *report.FILES):  # the folder may hold other things
        (demo.folder / name).unlink(missing_ok=True)
    platform = start_and_deploy(demo)
    replay(demo, platform, "1-4")
    account(demo, platform)
    train_and_serve(demo, platform)
    replay(demo, platform, "7")
    account(demo, platform)
    close_the_loop(demo, platform)
    demo.facts |= {
        "generated_at": utc_now().isoformat(timespec="seconds"),
        "environment": ENVIRONMENT,
        "millrace_version": tomllib.loads((tools.ROOT / "pyproject.toml").read_text())["project"]["version"],
        "versions": versions(),
        "seconds_total": round(time.monotonic() - started, 1),
        "seconds": demo.seconds,
        "loop": [asdict(event) | {"at": event.at.isoformat()} for event in sorted(demo.happened, key=lambda e: e.at)],
        "not_emulated": list(NOT_EMULATED),
    }
    with demo.step("write the report"):
        return report.write(demo.facts, demo.folder)
