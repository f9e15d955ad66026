"""`python -m benchmarks.faults`: a million events meet every fault at once, and each is accounted for.

The stream throttles and loses answers, the transform crashes mid-batch, the cloud is stopped and started again, the
producer is killed and goes on from its ledger, the Spark job is killed: all from outside, see benchmarks/injected.py.
`make test` runs the same on 20,000 events. See docs/decisions/0022-never-lost.md.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from benchmarks.figures import Figure, write
from benchmarks.injected import KEPT, PATIENCE, CrashingConsumer, CrashingTransform, Wire, kill_job
from config.sandbox import SETTINGS
from demo import accounting, ingest, states
from demo.platform import LinkBrokenError, Platform, Show, wait_for, wait_while_it_moves
from local import deploy, tools
from local.cloud import Cloud
from producers.redrive import MARKS

ENVIRONMENT = "sandbox"
LAYERS = ("foundation", "data-lake", "streaming", "flight-state", "catalog-etl")
SOURCES = ("flights", "weather")
SEED = 2013
RATES = {"--damage-rate": "0.02", "--duplicate-rate": "0.03", "--late-rate": "0.2"}
RESTARTED_AT = 100_000  # records, at most: what a stopped cloud holds is written down and read again
IN_FLIGHT = 2_000  # records that go on while the cloud is being stopped
FOLDER = tools.ROOT / "build" / "faults"

Process = subprocess.Popen[str]


@dataclass(frozen=True)
class Size:
    """Flights to send, by the dates of their departure."""

    years: range
    days: range = range(1, 32)
    months: range = range(1, 13)
    window: int | None = None  # seconds that the workflow's trigger gathers events, instead of those deployed

    @property
    def options(self) -> list[str]:
        """The producer's options that choose these flights."""
        given = {"--years": self.years, "--months": self.months, "--days": self.days}
        return [word for name, chosen in given.items() for word in (name, f"{chosen[0]}-{chosen[-1]}")]

    @cached_property
    def flights(self) -> set[str]:
        """The ids of these flights, which are all to be accounted for."""
        return accounting.flights_of(self.months, self.days, self.years)

    @cached_property
    def weather(self) -> set[str]:
        """The ids of the hours of weather on the same days."""
        return accounting.weather_of(self.months, self.days, self.years)


SMALL = Size(range(2013, 2014), months=range(1, 2), days=range(1, 24), window=5)  # 20,013 flights
NIGHTLY = Size(range(2013, 2016))  # 1,010,328


@dataclass
class Run:
    """One run: a cloud of its own, the folder of what it writes, and what it found."""

    cloud: Cloud
    size: Size
    folder: Path
    show: Show
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))  # its work ends with the cloud
    platform: Platform = field(init=False)
    found: dict[str, Any] = field(default_factory=dict)
    redriven: Counter[str] = field(default_factory=Counter)  # records by KEPT

    @property
    def ledger(self) -> Path:
        """What the producer says it sent."""
        return self.folder / "ledger.csv"

    @property
    def log(self) -> Path:
        """What the producer and the redrive say on stderr."""
        return self.folder / "producers.log"

    @property
    def crashes(self) -> Path:
        """Where functions write down how they ended."""
        return self.folder / "crashes"

    @cached_property
    def good(self) -> dict[bytes, str]:
        """The flights that were sent undamaged, by the hash of their bytes; once all are sent."""
        flights, sent = self.size.flights, accounting.read_ledger(self.ledger)
        return {event.sha256: name for name, event in sent.items() if event.kind == "good" and name in flights}

    @contextmanager
    def command(self, *words: str, **environment: str) -> Iterator[Process]:
        """`python -m producers ...` as a user starts it; it ends with the block at the latest."""
        command = [sys.executable, "-m", "producers", *words, "--environment", ENVIRONMENT]
        command += ["--prefix", self.platform.prefix]
        with self.log.open("a") as log, subprocess.Popen(
            command, cwd=tools.ROOT, env=self.cloud.environment() | environment, text=True, stdout=subprocess.PIPE,
            stderr=log, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()

    def summary(self, process: Process) -> dict[str, Any]:
        """What a command printed at its end. Raises LinkBrokenError when it failed."""
        printed, _ = process.communicate()
        if process.returncode:
            raise LinkBrokenError("producer", f"it ended with code {process.returncode}: see {self.log}")
        return json.loads(printed.splitlines()[-1])


def carry_out(run: Run) -> accounting.Accounting:
    """Deploy, replay, land, curate, account. Raises LinkBrokenError or ToolError where a link of the platform broke."""
    run.folder.mkdir(parents=True, exist_ok=True)
    for written in (run.ledger, run.log):  # the folder may hold other things
        written.unlink(missing_ok=True)
    shutil.rmtree(run.crashes, ignore_errors=True)
    start_and_deploy(run)
    started = time.monotonic()
    killing = replay(run)
    land(run)
    killed = killing.result()
    run.show("the Spark job was killed after its first file")
    start_again(run, killed)
    account = settled(run, killed)
    run.found["seconds"] = round(time.monotonic() - started, 1)
    return account


def start_and_deploy(run: Run) -> None:
    """A cloud that keeps what it holds, with the layers from the stream to the curated table."""
    run.cloud.start(follow_me=True)
    for _ in deploy.deploy(run.cloud, ENVIRONMENT, stacks=LAYERS):
        continue
    run.platform = Platform(run.cloud.session(), str(SETTINGS["prefix"]), LAYERS)
    if run.size.window:
        (trigger,) = ingest.triggers(run.platform)
        gather = {"EventBatchingCondition": {"BatchSize": 100, "BatchWindow": run.size.window}}
        run.platform.client("glue").update_trigger(Name=trigger["Name"], TriggerUpdate=gather)
    run.show(f"deployed {', '.join(LAYERS)} at {run.cloud.endpoint}")


def replay(run: Run) -> Future[float]:
    """Send every flight while the stream throttles, its consumers crash, cloud, sender and Spark job are stopped.

    Returns the future of when the job was killed: it is once it writes, whatever else goes on.
    """
    flights = len(run.size.flights)
    wire = Wire(run.cloud, SEED)
    transform = CrashingTransform(run.platform, run.crashes / "transform")
    consumer = CrashingConsumer(run.platform, run.crashes / "consumer")
    options = [*run.size.options, "--ledger", str(run.ledger), *(word for pair in RATES.items() for word in pair)]
    for function in (transform, consumer):
        function.deploy()
    with wire.open() as url:
        wire.hold(min(flights // 3, RESTARTED_AT))
        with run.command(*options, AWS_ENDPOINT_URL_KINESIS=url) as process:
            wire.wait_until_held(lambda: process.poll() is None)
            for function in (transform, consumer):
                function.wait()
                function.withdraw()
            run.show("the transform has crashed on its first two batches, and the table's function until it gave up")
            restart(run, wire, process, 2 * flights // 3)
            wire.wait_until_held(lambda: process.poll() is None)
        wire.release()  # Kinesis takes the records of a producer that is not there any more to write them down
        run.show("killed the producer; it goes on from its ledger")
        with run.command(*options, "--resume", AWS_ENDPOINT_URL_KINESIS=url) as process:
            killing = run.pool.submit(kill_job, run.cloud, run.platform)
            run.found["resumed"] = run.summary(process)["sent"]
    run.found |= {"transform": transform.crashed, "consumer": consumer.crashed, "wire": wire.counts}
    return killing


def restart(run: Run, wire: Wire, process: Process, hold: int) -> None:
    """Stop the cloud while records flow, let the producer find none, and start it again with what it held.

    Calls wait on the wire once `hold` records have passed.
    """
    began = time.monotonic()
    wire.hold(wire.passed + IN_FLIGHT)
    run.cloud.stop()
    wire.hold(hold)
    wait_for("producer", "a call to the stopped cloud", lambda: wire.unreachable or process.poll(), seconds=PATIENCE)
    wire.hold(0)  # a producer does not try for ever, and a cloud may take long to start
    run.cloud.start(follow_me=True, resume=True)
    wire.hold(hold)
    run.found["restart_seconds"] = round(time.monotonic() - began, 1)
    run.show(f"stopped the cloud and started it again in {run.found['restart_seconds']} s")


def land(run: Run) -> None:
    """Wait until each event is in raw or in quarantine; what was given up is redriven on the way."""
    sent = accounting.read_ledger(run.ledger)
    wanted = sum(1 for event in sent.values() if event.kind != "oversize")

    def landed() -> int:
        redrive(run)
        tables = [run.platform.outputs[name] for name in ("RawTableName", "WeatherRawTableName")]
        queries = [f"SELECT count(DISTINCT event_id) AS n FROM {table}" for table in tables]  # noqa: S608
        refused = [key for name in SOURCES for key in run.platform.keys("QuarantineBucketName", f"{name}/")]
        return sum(int(run.platform.query(sql)[0]["n"]) for sql in queries) + len(refused)

    wait_while_it_moves(
        "event source",
        "events in raw and quarantine",
        landed,
        wanted,
        stalled_seconds=ingest.STALLED_SECONDS + ingest.delivery_seconds(run.platform),
        show=lambda count: run.show(f"{count:,} of {wanted:,} landed"),
    )


def redrive(run: Run) -> None:
    """Send again what Firehose and the table's function have given up, as people who are told of it do."""
    for kind, (output, prefix) in KEPT.items():
        marks = {key.removeprefix(MARKS) for key in run.platform.keys(output, f"{MARKS}{prefix}")}
        if set(run.platform.keys(output, prefix)) <= marks:
            continue
        with run.command("redrive", "--from", kind) as process:
            records = run.summary(process)["records"]
        run.show(f"redrove {records:,} records from {kind}")
        run.redriven[kind] += records


def start_again(run: Run, killed: float) -> None:
    """Start the job's workflow, as people who are told of the failure do, unless a later event has."""
    if not ingest.job_runs(run.platform, killed):
        run.platform.client("glue").start_workflow_run(Name=run.platform.outputs["GlueWorkflowName"])


def settled(run: Run, killed: float) -> accounting.Accounting:
    """Wait until a later run of the job has made up for the killed one, and account while nothing moves.

    What seems wrong is believed once nothing has moved for as long as a delivery may take.
    """
    ingest.wait_until_curated(run.platform, killed, run.show)
    ingest.wait_until_known(run.platform, len(run.good), run.show)
    moved = time.monotonic()
    seen: list[str] = []
    patience = ingest.delivery_seconds(run.platform) + ingest.STALLED_SECONDS
    while True:
        redrive(run)
        ingest.wait_until_rest(run.platform)
        before, last = held(run), seen
        account = check(run)
        seen = account.problems()
        if held(run) != before or seen != last:
            moved = time.monotonic()
        elif not seen or time.monotonic() - moved > patience:
            return account
        run.show(f"accounting again: {'; '.join(seen) or 'something moved meanwhile'}")


def check(run: Run) -> accounting.Accounting:
    """Account for every event, and for every flight's item in the table, as they are now."""
    outputs = run.platform.outputs
    account = accounting.check(
        run.platform.client("s3"),
        raw_bucket=outputs["RawBucketName"],
        curated_bucket=outputs["CuratedBucketName"],
        quarantine_bucket=outputs["QuarantineBucketName"],
        ledger=run.ledger,
        flights=run.size.flights,
        weather=run.size.weather,
        at_least_once=True,
    )
    account.findings |= states.check(
        run.platform.client("dynamodb"),
        run.platform.client("kinesis"),
        table=outputs["FlightStateTableName"],
        stream=outputs["StreamName"],
        sent=run.good,
    )
    return account


def held(run: Run) -> set[tuple[str, str]]:
    """Key and content of every object in the three zones."""
    zones = ("RawBucketName", "CuratedBucketName", "QuarantineBucketName")
    return {(f"{zone}/{item['Key']}", item["ETag"]) for zone in zones for item in run.platform.objects(zone)}


def release(run: Run) -> None:
    """Delete the streams and the table, or the cloud would write down a million records of each before it stops."""
    for output in ("StreamName", "WeatherStreamName"):
        run.platform.client("kinesis").delete_stream(StreamName=run.platform.outputs[output])
    run.platform.client("dynamodb").delete_table(TableName=run.platform.outputs["FlightStateTableName"])


def line(account: accounting.Accounting) -> str:
    """The account of the flights in a sentence."""
    refused = account.records_quarantined["oversize"]
    quarantined = sum(account.records_quarantined.values()) - refused
    repeated = account.records_duplicate - account.records_redelivered
    return (
        f"{account.records_sent:,} flights sent = {account.records_curated:,} curated + {quarantined:,} quarantined + "
        f"{refused:,} refused; apart from these {repeated:,} copies sent twice, {account.records_redelivered:,} that "
        f"faults delivered again; {account.weather.sent:,} hours of weather sent = {account.weather.landed:,} landed + "
        f"{account.weather.quarantined:,} quarantined"
    )


def figures(run: Run, account: accounting.Accounting) -> list[Figure]:
    """What the run did, each fault with how often it struck; the goal is that nothing is unaccounted for."""
    events = account.records_sent + account.weather.sent
    wire = run.found["wire"]
    found = {
        "findings of the accounting": (len(account.problems()), "kinds"),
        "events": (events, "events"),
        "from the first to the account": (run.found["seconds"], "s"),
        "rate under faults": (events / run.found["seconds"], "events/s"),
        "puts throttled": (wire["throttled_calls"], "calls"),
        "records throttled": (wire["throttled_records"], "records"),
        "puts without an answer": (wire["lost_answers"], "calls"),
        "puts to a stopped cloud": (wire["unreachable"], "calls"),
        "cloud away": (run.found["restart_seconds"], "s"),
        "crashes of the transform": (sum(map(len, run.found["transform"])), "crashes"),
        "crashes of the table's function": (sum(map(len, run.found["consumer"])), "crashes"),
        "records redriven from Firehose's errors": (run.redriven["errors"], "records"),
        "records redriven from dead letters": (run.redriven["dead-letters"], "records"),
        "records sent after the producer was killed": (run.found["resumed"], "records"),
        "raw rows delivered again": (account.records_redelivered, "rows"),
    }
    goals: dict[str, tuple[Literal["<="], float]] = {"findings of the accounting": ("<=", 0)}
    return [Figure(name, unit, [value], goal=goals.get(name)) for name, (value, unit) in found.items()]


def main() -> int:
    """Run it, say what happened and what became of every event; on Ctrl-C leave no process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--small", action="store_true", help="20,000 events, as the test sends")
    parser.add_argument(
        "--years", type=int, choices=(1, 2, 3), default=3, help="a third of a million flights each, default %(default)s"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of what it writes, default %(default)s")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()

    def show(text: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {text}", flush=True)

    folder = options.folder.resolve()
    cloud = Cloud(folder.with_name("faults-cloud"), tools.free_port(), keep=True)
    size = SMALL if options.small else Size(NIGHTLY.years[: options.years])
    run = Run(cloud, size, folder, show)
    try:
        account = carry_out(run)
        release(run)
    except KeyboardInterrupt:
        show("stopped; nothing is left running")
        return 130
    except (LinkBrokenError, tools.ToolError) as error:
        show(str(error))
        return 1
    finally:
        cloud.stop()
    for problem in account.problems():
        show(problem)
    show(line(account))
    return not write("faults", figures(run, account))


if __name__ == "__main__":
    sys.exit(main())
