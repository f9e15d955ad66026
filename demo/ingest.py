"""The demo's first part, and July's: flights go in, and curated rows come out."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import accounting
from demo.platform import LinkBrokenError, Platform, Show, destination, wait_for, wait_while_it_moves
from local.tools import ROOT

STALLED_SECONDS = 60  # without any progress, a link counts as broken
STATE_SECONDS = 60  # likewise for the table: longer than its function may take for a batch
# What the local cloud adds to a trigger's own batch window before a run is visible.
TRIGGER_SLACK_SECONDS = 30
JOB_SECONDS = 300  # the longest run to expect
# Of each joined table a column that none of its rows lacks: it is null where the join found no row.
JOINED = {"weather": "visib", "planes": "manufacturer", "airports": "dest_lat"}
STREAMS = ("StreamName", "WeatherStreamName")
ACTIVE = ("WAITING", "STARTING", "RUNNING")
FAILED = ("FAILED", "ERROR", "TIMEOUT", "STOPPED")


@dataclass(frozen=True)
class Replay:
    """Flights to send: months of 2013, and days of each month."""

    months: str
    days: str


def send(platform: Platform, replay: Replay, ledger: Path, environment: dict[str, str], show: Show) -> None:
    """Run the producer as a user would; it appends to `ledger`. Raises LinkBrokenError with what it printed last."""
    delivery_seconds(platform)  # without a delivery stream the producer would wait in vain
    command = [sys.executable, "-m", "producers", "--environment", "sandbox", "--prefix", platform.prefix]
    command += ["--months", replay.months, "--days", replay.days, "--ledger", str(ledger)]
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            for line in process.stdout or ():
                lines.append(line.strip())
                show(lines[-1])
        except BaseException:  # Ctrl-C too: the producer must not go on alone
            process.kill()
            raise
    if process.returncode:
        raise LinkBrokenError("producer", "\n".join(lines[-10:]))


def wait_until_landed(platform: Platform, sent: int, show: Show) -> None:
    """Wait until each acknowledged record is a raw row or a quarantined document."""

    def landed() -> int:
        refused = [len(list(platform.keys("QuarantineBucketName", prefix))) for prefix in ("flights/", "weather/")]
        return raw_rows(platform) + sum(refused)

    wait_while_it_moves(
        "event source",
        f"records of {', '.join(platform.outputs[name] for name in STREAMS)} in raw and quarantine",
        landed,
        sent,
        stalled_seconds=STALLED_SECONDS + delivery_seconds(platform),
        show=lambda count: show(f"{count:,} of {sent:,} landed"),
    )


def wait_until_known(platform: Platform, flights: int, show: Show) -> None:
    """Wait until the second consumer has put so many flights into its table, and no more than that."""

    def known() -> int:
        # AWS counts a table's items every six hours, the local cloud at once.
        table = platform.client("dynamodb").describe_table(TableName=platform.outputs["FlightStateTableName"])
        return int(table["Table"]["ItemCount"])

    wait_while_it_moves(
        "flight state",
        f"flights in {platform.outputs['FlightStateTableName']}",
        known,
        flights,
        stalled_seconds=STATE_SECONDS,
        show=lambda count: show(f"{count:,} of {flights:,} flights known"),
    )
    if (found := known()) > flights:
        raise LinkBrokenError("flight state", f"{found:,} flights are known, and {flights:,} were sent undamaged")


def raw_rows(platform: Platform) -> int:
    """Rows of raw flights and raw weather, repeated ones included."""
    tables = (platform.outputs["RawTableName"], platform.outputs["WeatherRawTableName"])
    return sum(int(platform.query(f"SELECT count(*) AS n FROM {table}")[0]["n"]) for table in tables)  # noqa: S608


def delivery_seconds(platform: Platform) -> int:
    """How long the delivery streams may hold records back, as deployed. Raises LinkBrokenError when one is missing."""
    firehose = platform.client("firehose")
    seconds = []
    for output in ("DeliveryStreamName", "WeatherDeliveryStreamName"):
        try:
            hints = destination(firehose, platform.outputs[output])["BufferingHints"]
        except firehose.exceptions.ResourceNotFoundException as error:
            raise LinkBrokenError("event source", str(error)) from error
        seconds.append(hints["IntervalInSeconds"])
    return max(seconds)


def wait_until_curated(platform: Platform, since: float, show: Show) -> None:
    """Wait until job runs that the workflow's own trigger began after `since` have curated every raw flight.

    A flight whose weather has landed counts once more when it has its weather.
    """
    raw, weather = platform.outputs["RawTableName"], platform.outputs["WeatherRawTableName"]
    flights = f"SELECT count(DISTINCT event_id) AS n FROM {raw}"  # noqa: S608
    joined = (
        f"SELECT count(DISTINCT f.event_id) AS n FROM {raw} f "  # noqa: S608
        f"JOIN {weather} w ON f.origin = w.origin AND f.time_hour = w.time_hour"
    )
    wanted = sum(int(platform.query(sql)[0]["n"]) for sql in (flights, joined))
    gathering = batch_seconds(platform) + TRIGGER_SLACK_SECONDS
    wait_for(
        "Glue trigger",
        f"a run of {platform.outputs['GlueJobName']}",
        lambda: job_runs(platform, since) or None,
        seconds=gathering,
    )

    def curated() -> int:
        runs = job_runs(platform, since)
        for run in runs:
            if run["JobRunState"] in FAILED:
                raise LinkBrokenError("Glue job", f"{run['Id']} {run['JobRunState']}: {run.get('ErrorMessage')}")
        finished = all(run["JobRunState"] == "SUCCEEDED" for run in runs)
        return curated_rows(platform) if finished else -len(runs)  # a running job is replacing partitions

    wait_while_it_moves(
        "Glue job",
        f"flights in {platform.outputs['CuratedTableName']}",
        curated,
        wanted,
        stalled_seconds=gathering + JOB_SECONDS,
        show=lambda count: show(
            f"{count:,} of {wanted:,} flights and their weather curated" if count >= 0 else f"Glue job run {-count}"
        ),
    )


def job_runs(platform: Platform, since: float) -> list[dict[str, Any]]:
    """Runs of the Glue job begun after `since` (seconds since 1970) by a trigger."""
    runs = platform.client("glue").get_job_runs(JobName=platform.outputs["GlueJobName"])["JobRuns"]
    return [run for run in runs if run.get("TriggerName") and run["StartedOn"].timestamp() >= since]


def wait_until_rest(platform: Platform) -> None:
    """Wait until the Glue job neither runs nor waits to."""

    def rests() -> bool | None:
        pages = platform.client("glue").get_paginator("get_job_runs").paginate(JobName=platform.outputs["GlueJobName"])
        return None if any(run["JobRunState"] in ACTIVE for page in pages for run in page["JobRuns"]) else True

    wait_for("Glue job", "the end of its runs", rests, seconds=2 * JOB_SECONDS)  # of one that runs, one that waits


def stop_trigger(platform: Platform) -> None:
    """Let no event start the Glue job any more, and wait until it rests."""
    for trigger in triggers(platform):
        platform.client("glue").stop_trigger(Name=trigger["Name"])
    wait_until_rest(platform)


def batch_seconds(platform: Platform) -> int:
    """How long the workflow's event trigger gathers objects, as deployed."""
    return max(trigger["EventBatchingCondition"]["BatchWindow"] for trigger in triggers(platform))


def triggers(platform: Platform) -> list[dict[str, Any]]:
    """The triggers of the Glue job's workflow."""
    pages = platform.client("glue").get_paginator("get_triggers").paginate()
    workflow = platform.outputs["GlueWorkflowName"]
    return [each for page in pages for each in page["Triggers"] if each.get("WorkflowName") == workflow]


def curated_rows(platform: Platform) -> int:
    """Rows of curated flights, those with their weather counted twice."""
    table = platform.outputs["CuratedTableName"]
    counted = platform.query(f"SELECT count(*) + count({JOINED['weather']}) AS n FROM {table}")  # noqa: S608
    return int(counted[0]["n"])


def flights_per_month(platform: Platform) -> list[dict[str, int]]:
    """Curated flights per month, by Athena, and how many of them found their weather, plane and airport."""
    joined = ", ".join(f"count({column}) AS {table}" for table, column in JOINED.items())
    rows = platform.query(
        f"SELECT year, month, count(*) AS flights, {joined} FROM {platform.outputs['CuratedTableName']} "  # noqa: S608
        "GROUP BY year, month ORDER BY year, month"
    )
    return [{name: int(value) for name, value in row.items()} for row in rows]


def lost_joins(months: list[dict[str, int]]) -> list[str]:
    """What `flights_per_month` shows of joins that found nothing in a whole month."""
    return [
        f"none of {month['flights']:,} flights of {month['year']}-{month['month']:02} found a row of {table}"
        for month in months
        for table in JOINED
        if not month[table]
    ]


def acknowledged(sent: dict[str, accounting.Sent]) -> int:
    """Records that Kinesis took, of what the producer's ledger says it sent."""
    return sum(event.copies for event in sent.values() if event.kind != "oversize")


def now() -> float:
    """Seconds since 1970, rounded down: AWS reports some times in whole seconds."""
    return float(int(time.time()))
