"""Command line: `python -m producers --environment sandbox --months 1-4` sends flights and weather into a deployment.

`python -m producers redrive --environment sandbox` sends again what was kept of records: see producers/redrive.py.
"""

import argparse
import heapq
import json
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from command_line.deployment import NotDeployedError, add_deployment, stack_prefix, stack_region
from producers import damage, deployment, disorder, flights, redrive
from producers.console import reporter
from producers.kinesis import Progress, PutFailedError, Record, StreamProducer
from producers.ledger import Ledger, acknowledged, unsent
from producers.refused import RefusedEvents
from producers.sources import SOURCES

# Records looked at together: a few full calls for flights, one for the weather of as many days.
_CHUNK = 2_000
# Without S3 for half a minute the replay waits: the stream's own tries take as long.
_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 10})


def parse_args(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; months and days of the month as ranges."""
    parser = argparse.ArgumentParser(prog="producers", description="Send flights and weather of 2013.")
    add_deployment(parser)
    parser.add_argument("--source", choices=(*SOURCES, "both"), default="both", help="default %(default)s")
    parser.add_argument(
        "--years",
        type=_range(flights.YEARS[0], flights.YEARS[-1]),
        default=flights.YEARS[:1],
        help="as 2013-2015; later ones repeat 2013; default 2013",
    )
    parser.add_argument("--months", type=_range(1, 12), default=flights.ALL_MONTHS, help="as 1-4; default all")
    parser.add_argument("--days", type=_range(1, 31), default=flights.ALL_DAYS, help="of each month, as 1-3")
    parser.add_argument("--limit", type=_positive, help="stop after this many events of each source")
    parser.add_argument("--seed", type=int, default=2013, help="of the damage, default %(default)s")
    rates = damage.Rates()
    parser.add_argument("--damage-rate", type=_share, default=rates.damaged, help="default %(default)s")
    parser.add_argument("--oversize-rate", type=_share, default=rates.oversize, help="default %(default)s")
    parser.add_argument("--duplicate-rate", type=_share, default=rates.resent, help="default %(default)s")
    parser.add_argument("--late-rate", type=_share, default=0.0, help="sent up to an hour late, default %(default)s")
    parser.add_argument(
        "--resume", action="store_true", help="leave out what the ledger has: goes on where the same command ended"
    )
    parser.add_argument("--ledger", type=Path, help="appended to, default build/ledger-<prefix>.csv")
    options = parser.parse_args(arguments)
    # One a deployment: what another has taken must not be left out of this one by --resume.
    options.ledger = options.ledger or Path(f"build/ledger-{stack_prefix(options)}.csv")
    return options


def main(arguments: Sequence[str]) -> None:
    """Upload the reference tables, wait for the streams, send; the last line printed is a JSON summary."""
    options = parse_args(arguments)
    session = boto3.Session(region_name=stack_region(options))
    kinesis, s3 = session.client("kinesis"), session.client("s3", config=_PATIENT)
    target = deployment.find(session.client("cloudformation"), stack_prefix(options))
    # Before the first event: the job that joins these tables starts when the first flights have landed.
    for name, path in flights.reference_files().items():
        s3.put_object(
            Bucket=target.raw_bucket,
            Key=f"reference/{name}/{name}.csv",
            Body=path.read_bytes(),
            ContentType="text/csv",
        )
    deployment.wait_until_read(kinesis, session.client("firehose"), target)
    wanted = [name for name in SOURCES if options.source in (name, "both")]
    refused = RefusedEvents(s3, target.quarantine_bucket)
    started = time.monotonic()
    with Ledger(options.ledger) as ledger:

        def refuse(record: Record) -> None:
            refused.put(record)
            ledger.add([record])

        producers = {
            name: StreamProducer(kinesis, target.streams[name].name, acknowledged=ledger.add, refuse=refuse)
            for name in wanted
        }
        records = _records(options, wanted)
        if options.resume:
            records = unsent(records, acknowledged(options.ledger))
        send(producers, records, reporter(started))
    summary = {
        **vars(Progress.of(producers.values())),
        "seconds": round(time.monotonic() - started, 1),
        "streams": {name: target.streams[name].name for name in wanted},
        "ledger": str(options.ledger),
    }
    print(json.dumps(summary))


def send(producers: dict[str, StreamProducer], records: Iterable[Record], report: Callable[[Progress], None]) -> None:
    """Send each record to the stream of its source, of any few thousand those of the first source first."""
    rest = iter(records)
    while chunk := list(islice(rest, _CHUNK)):
        for name, producer in producers.items():
            producer.send(record for record in chunk if record.source == name)
        report(Progress.of(producers.values()))


def _records(options: argparse.Namespace, names: Collection[str]) -> Iterator[Record]:
    """Yield the sources' records by the day, those of the first source before the others' of the same day."""
    rates = damage.Rates(options.damage_rate, options.oversize_rate, options.duplicate_rate)

    def of(name: str) -> Iterator[Record]:
        source = SOURCES[name]
        events = islice(source.events(options.months, options.days, options.years), options.limit)
        late = disorder.disordered(events, options.late_rate, options.seed)
        return damage.records(late, rates, options.seed, source)

    # What is sent later may be of an earlier day: it comes at once, and nothing waits for it.
    return heapq.merge(*map(of, names), key=attrgetter("day"))


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
    try:
        if sys.argv[1:2] == ["redrive"]:
            sys.exit(redrive.main(sys.argv[2:]))
        main(sys.argv[1:])
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here, a replay with --resume", file=sys.stderr)
        sys.exit(130)
    except (
        *(NotDeployedError, PutFailedError, deployment.FailedStreamError),
        *(BotoCoreError, ClientError),  # no region, no credentials or expired ones, no permission
        OSError,  # no data, no space for the ledger, a stream that is not there in time
    ) as error:
        sys.exit(str(error))
