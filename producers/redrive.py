"""Command line: `python -m producers redrive --environment sandbox` puts what was kept of records into their stream.

    errors         what Firehose could not transform or convert         raw bucket, errors/
    dead-letters   batches that a Lambda consumer of a stream gave up   quarantine bucket, aws/lambda/
    source         every record, as it came                             raw bucket, source/
    quarantine     what the transform refused                           quarantine bucket, flights/ and weather/

An object is marked, under redriven/ in its bucket, once the stream has taken all of its records; a marked one is left
out. Whatever ends the command early, the next one goes on from there and at worst sends a part of an object twice, of
which the Glue job keeps one row an event. Nothing is moved or deleted.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import boto3
from botocore.exceptions import ClientError

from command_line.deployment import add_deployment, stack_prefix, stack_region
from producers import deployment, kept
from producers.console import reporter
from producers.kinesis import MAX_RECORD_BYTES, Progress, Record, StreamProducer
from producers.sources import SOURCES

MARKS = "redriven/"
_NEVER = "2999-01-01"
_NAMED = 20  # problems that the summary names; an object's mark names all of its own


class Place(NamedTuple):
    """Where records of one kind are kept: prefixes of a bucket of the deployment, and how to read an object there."""

    bucket: str
    prefixes: tuple[str, ...]
    read: Callable[[bytes], kept.Found]


PLACES = {
    "errors": Place("raw_bucket", ("errors/",), kept.failed_deliveries),
    "dead-letters": Place("quarantine_bucket", ("aws/lambda/",), kept.dead_letters),
    "source": Place("raw_bucket", ("source/",), kept.source_records),
    "quarantine": Place("quarantine_bucket", tuple(f"{name}/" for name in SOURCES), kept.quarantined),
}


@dataclass
class Summary:
    """What was done: objects and records read, records taken, objects left out, and what no record could be made of."""

    objects: int = 0
    records: int = 0
    sent: int = 0
    marked_before: int = 0
    unreadable: int = 0
    archived: int = 0
    problems: list[str] = field(default_factory=list)
    interrupted: bool = False


class Redrive:
    """Sends again what one deployment has kept; without a Kinesis client it only counts."""

    def __init__(self, s3: Any, kinesis: Any | None, target: deployment.Target) -> None:
        self.summary = Summary()
        self._s3 = s3
        self._target = target
        self._source_of = {stream.name: source for source, stream in target.streams.items()}
        self._too_large: list[Record] = []
        self._producers: dict[str, StreamProducer] = {}
        report = reporter(time.monotonic())
        for source, stream in target.streams.items() if kinesis else ():
            self._producers[source] = StreamProducer(
                kinesis,
                stream.name,
                acknowledged=lambda records: None,
                refuse=self._too_large.append,
                progress=lambda _: report(Progress.of(self._producers.values())),
            )

    def keys(self, place: Place, options: argparse.Namespace) -> Iterator[str]:
        """Yield what is to be redriven of a place, in order."""
        bucket = getattr(self._target, place.bucket)
        for prefix in place.prefixes:
            under = options.under or prefix
            if not under.startswith(prefix):
                continue
            marks = {item["Key"] for item in self._list(bucket, f"{MARKS}{under}")}
            for item in self._list(bucket, under):
                if not item["Size"] or not options.since <= item["LastModified"] < options.until:
                    continue
                if f"{MARKS}{item['Key']}" in marks and not options.again:
                    self.summary.marked_before += 1
                else:
                    yield item["Key"]

    def redrive(self, place: Place, key: str) -> None:
        """Send the records of an object and mark it; an archived object is named and left."""
        bucket = getattr(self._target, place.bucket)
        try:
            body = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidObjectState":
                raise
            self.summary.archived += 1
            self._name(f"s3://{bucket}/{key} is in an archive: restore it, then redrive again")
            return
        records: list[Record] = []
        unreadable: list[str] = []
        unrouted = False
        for found in place.read(body):
            if isinstance(found, kept.Unreadable):
                unreadable.append(f"{found.where} ({found.bytes} bytes) {found.reason}")
            elif source := self._source(key, found):
                records.append(_record(source, found))
            else:
                unrouted = True
                unreadable.append(f"a record of {found.stream or 'no source that its key names'}: no stream is its own")
        for source, producer in self._producers.items():
            producer.send(record for record in records if record.source == source)
        unreadable += [f"a record is larger than {MAX_RECORD_BYTES} with its key" for _ in self._too_large]
        self.summary.objects += 1
        self.summary.records += len(records)
        self.summary.unreadable += len(unreadable)
        for problem in unreadable:
            self._name(f"s3://{bucket}/{key}: {problem}")
        if self._producers:
            self.summary.sent += len(records) - len(self._too_large)
            if not unrouted:  # a record that no stream has taken is named until one does
                self._mark(bucket, key, len(records), unreadable)
        self._too_large.clear()

    def _source(self, key: str, found: kept.Kept) -> str | None:
        """Whose record it is: as its stream says or else as its object's key does."""
        if found.stream:
            return self._source_of.get(found.stream)
        return next((part for part in key.split("/")[:2] if part in SOURCES), None)

    def _mark(self, bucket: str, key: str, records: int, unreadable: list[str]) -> None:
        mark = {"redriven_at": datetime.now(UTC).isoformat(), "records": records, "unreadable": unreadable}
        self._s3.put_object(
            Bucket=bucket, Key=f"{MARKS}{key}", Body=json.dumps(mark).encode(), ContentType="application/json"
        )

    def _list(self, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from page.get("Contents", [])

    def _name(self, problem: str) -> None:
        if len(self.summary.problems) < _NAMED:
            self.summary.problems.append(problem)


def _record(source: str, found: kept.Kept) -> Record:
    """A record as it was sent; its event is read for its id and key only."""
    try:
        event = json.loads(found.data)
    except (ValueError, RecursionError):
        event = None
    return Record(
        event_id=str(event.get("event_id") or "") if isinstance(event, dict) else "",
        day=date.min,  # no place of its own is looked for: it came from one
        partition_key=found.partition_key or SOURCES[source].partition_key(event, found.data),
        data=found.data,
        kind="redriven",
        source=source,
    )


def parse_args(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; times are in UTC unless they say otherwise."""
    parser = argparse.ArgumentParser(prog="producers redrive", description="Put kept records into their stream again.")
    add_deployment(parser)
    parser.add_argument(
        "--from",
        dest="places",
        type=_places,
        default="errors,dead-letters",
        help=f"of {','.join(PLACES)}; default %(default)s",
    )
    parser.add_argument("--since", type=_time, default="2000-01-01", help="objects from this ISO date or time on")
    parser.add_argument("--until", type=_time, default=_NEVER, help="objects before this ISO date or time")
    parser.add_argument("--under", help="objects whose keys begin so, as source/flights/year=2026/month=11/")
    parser.add_argument("--again", action="store_true", help="also what was redriven before")
    parser.add_argument("--dry-run", action="store_true", help="count, and send nothing")
    options = parser.parse_args(arguments)
    known = [prefix for name in options.places for prefix in PLACES[name].prefixes]
    if options.under and not options.under.startswith(tuple(known)):
        parser.error(f"--under is {options.under!r}: with this --from it begins with {' or '.join(known)}")
    endless = not options.under and options.until == _time(_NEVER)
    if "source" in options.places and endless and not options.dry_run:
        parser.error(
            "--from source sends every record again, also those that an earlier --from source has sent: say which, "
            "with --until or --under"
        )
    return options


def main(arguments: Sequence[str]) -> int:
    """Redrive what is asked; the last line printed is a JSON summary.

    Return 1 if an object is in an archive, 130 if interrupted. Raises PutFailedError if the stream takes no more.
    """
    options = parse_args(arguments)
    session = boto3.Session(region_name=stack_region(options))
    kinesis = session.client("kinesis")
    target = deployment.find(session.client("cloudformation"), stack_prefix(options))
    if not options.dry_run:
        deployment.wait_until_read(kinesis, session.client("firehose"), target)
    redrive = Redrive(session.client("s3"), None if options.dry_run else kinesis, target)
    try:
        # All are listed before the first is sent: what comes back of it is for the next command, or it may never end.
        places = [PLACES[name] for name in dict.fromkeys(options.places)]
        found = [(place, key) for place in places for key in redrive.keys(place, options)]
        for place, key in found:
            redrive.redrive(place, key)
    except KeyboardInterrupt:
        redrive.summary.interrupted = True
        print("stopped; the same command goes on from here", file=sys.stderr)
    finally:
        print(json.dumps(asdict(redrive.summary)))
    if redrive.summary.interrupted:
        return 130
    return 1 if redrive.summary.archived else 0


def _places(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PLACES]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)!r} is none of {', '.join(PLACES)}")
    return names


def _time(text: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO date or time like 2026-11-28T12:00") from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
