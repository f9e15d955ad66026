"""Command line: `python -m producers --environment sandbox --months 1-4` sends flights into a deployment."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import boto3
from botocore.config import Config

from producers import damage, deployment, disorder, flights
from producers.kinesis import Progress, StreamProducer
from producers.ledger import Ledger, acknowledged, unsent
from producers.refused import RefusedEvents

_REPORT_SECONDS = 2.0
# Without S3 for half a minute the replay waits: the stream's own tries take as long.
_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 10})


def parse_args(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; months and days of the month as ranges."""
    parser = argparse.ArgumentParser(prog="producers", description="Send flights of 2013 into a deployment.")
    parser.add_argument("--environment", required=True, help="sandbox, staging or production")
    parser.add_argument("--prefix", help="of the stack names, default millrace-<environment>")
    parser.add_argument("--region", help="default: AWS_DEFAULT_REGION or the profile's")
    parser.add_argument(
        "--years",
        type=_range(flights.YEARS[0], flights.YEARS[-1]),
        default=flights.YEARS[:1],
        help="as 2013-2015; later ones repeat 2013's flights; default 2013",
    )
    parser.add_argument("--months", type=_range(1, 12), default=flights.ALL_MONTHS, help="as 1-4; default all")
    parser.add_argument("--days", type=_range(1, 31), default=flights.ALL_DAYS, help="of each month, as 1-3")
    parser.add_argument("--limit", type=_positive, help="stop after this many flights")
    parser.add_argument("--seed", type=int, default=2013, help="of the damage, default %(default)s")
    rates = damage.Rates()
    parser.add_argument("--damage-rate", type=_share, default=rates.damaged, help="default %(default)s")
    parser.add_argument("--oversize-rate", type=_share, default=rates.oversize, help="default %(default)s")
    parser.add_argument("--duplicate-rate", type=_share, default=rates.resent, help="default %(default)s")
    parser.add_argument("--late-rate", type=_share, default=0.0, help="sent up to an hour late, default %(default)s")
    parser.add_argument(
        "--resume", action="store_true", help="leave out what the ledger has: goes on where the same command ended"
    )
    parser.add_argument(
        "--ledger", type=Path, default=Path("build/ledger.csv"), help="appended to, default %(default)s"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Upload the reference tables, wait for the stream, send; the last line printed is a JSON summary."""
    options = parse_args(arguments)
    session = boto3.Session(region_name=options.region)
    kinesis, s3 = session.client("kinesis"), session.client("s3", config=_PATIENT)
    prefix = options.prefix or f"millrace-{options.environment}"
    target = deployment.find(session.client("cloudformation"), prefix)
    # Before the first event: the job that joins these tables starts when the first flights have landed.
    for name, path in flights.reference_files().items():
        s3.put_object(
            Bucket=target.raw_bucket,
            Key=f"reference/{name}/{name}.csv",
            Body=path.read_bytes(),
            ContentType="text/csv",
        )
    deployment.wait_until_read(kinesis, session.client("firehose"), target)
    rates = damage.Rates(options.damage_rate, options.oversize_rate, options.duplicate_rate)
    events = flights.events(options.months, options.days, options.limit, options.years)
    records = damage.records(disorder.disordered(events, options.late_rate, options.seed), rates, options.seed)
    refused = RefusedEvents(s3, target.quarantine_bucket)
    started = time.monotonic()
    with Ledger(options.ledger) as ledger:
        if options.resume:
            records = unsent(records, acknowledged(options.ledger))

        def refuse(record: damage.Record) -> None:
            refused.put(record)
            ledger.add([record])

        producer = StreamProducer(
            kinesis, target.stream, acknowledged=ledger.add, refuse=refuse, progress=_reporter(started)
        )
        progress = producer.send(records)
    summary = {
        **vars(progress),
        "seconds": round(time.monotonic() - started, 1),
        "stream": target.stream,
        "ledger": str(options.ledger),
    }
    print(json.dumps(summary))


def _reporter(started: float) -> Callable[[Progress], None]:
    """Return a callback that prints the counts to stderr every other second."""
    last = started

    def report(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _REPORT_SECONDS:
            last = now
            counts = f"{progress.sent:>9,} sent, {progress.refused} refused, {progress.retried} retried"
            print(f"{counts}, {progress.sent / (now - started):,.0f}/s", file=sys.stderr)

    return report


def _range(low: int, high: int) -> Callable[[str], range]:
    def parse(text: str) -> range:
        first, _, last = text.partition("-")
        try:
            parsed = range(int(first), int(last or first) + 1)
        except ValueError:
            parsed = range(0)
        if not parsed or parsed[0] < low or parsed[-1] > high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number or a range like {low}-{high}")
        return parsed

    return parse


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return number


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return share


if __name__ == "__main__":
    main(sys.argv[1:])
