"""`python -m benchmarks.paced_producer`: the platform's producer at a given rate, noting when each record was taken."""

import argparse
import itertools
import math
import time
from collections.abc import Iterator
from pathlib import Path

import boto3

from producers import damage, deployment, flights
from producers.kinesis import Record, StreamProducer
from producers.ledger import Ledger
from producers.refused import RefusedEvents

STEP = 100  # records between two looks at the clock


def laps() -> Iterator[flights.Event]:
    """The year's flights again and again, from the second time on with ids of their own."""
    for lap in itertools.count():
        for event in flights.events():
            yield event | {"event_id": f"{event['event_id']}.{lap}"} if lap else event


def paced(records: Iterator[Record], rate: float, seconds: float, limit: float) -> Iterator[Record]:
    """Records at `rate` a second, for some seconds or up to a limit, whichever comes first."""
    started = time.monotonic()
    for number, record in enumerate(records):
        if number % STEP == 0:
            ahead = number / rate - (time.monotonic() - started)
            if ahead > 0:
                time.sleep(ahead)
            if time.monotonic() - started >= seconds or number >= limit:
                return
        yield record


def main() -> None:
    """Send until done; a line of the output is the time (seconds since 1970) and the ids of the valid records taken.

    Next to the output, a file .bytes has the bytes acknowledged.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefix", required=True, help="of the stack names")
    parser.add_argument("--rate", type=float, default=math.inf, help="records a second, default as many as it can")
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--limit", type=float, default=math.inf, help="records")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    session = boto3.Session()
    kinesis = session.client("kinesis")
    target = deployment.find(session.client("cloudformation"), options.prefix)
    deployment.wait_until_read(kinesis, session.client("firehose"), target)
    refused = RefusedEvents(session.client("s3"), target.quarantine_bucket)
    with Ledger(options.output.with_suffix(".ledger")) as ledger, options.output.open("w") as output:

        def acknowledged(taken: list[Record]) -> None:
            ledger.add(taken)
            ids = " ".join(record.event_id for record in taken if record.kind == damage.GOOD)
            print(time.time(), ids, file=output, flush=True)

        producer = StreamProducer(
            kinesis, target.streams["flights"].name, acknowledged=acknowledged, refuse=refused.put
        )
        records = damage.records(laps(), damage.Rates(), seed=2013)
        progress = producer.send(paced(records, options.rate, options.seconds, options.limit))
    options.output.with_suffix(".bytes").write_text(str(progress.bytes))


if __name__ == "__main__":
    main()
