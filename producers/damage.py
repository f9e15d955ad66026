"""Damages a few events in known ways and resends others, so that a pipeline meets what real producers send.

What happens to an event depends on the seed and its id alone: the same flight is damaged alike in any slice.
"""

import hashlib
import json
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from producers.flights import Event
from producers.kinesis import MAX_RECORD_BYTES, Record
from producers.sources import FLIGHTS, Source

GOOD = "good"
OVERSIZE = "oversize"
# Far enough apart to arrive in another batch, and mostly in another object.
_RESEND_AFTER = 2_000

Damages = dict[str, tuple[Callable[[Event], bytes], ...]]

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class Rates:
    """Shares of events (0 to 1) that are damaged, made too large for a record, or sent twice."""

    damaged: float = 0.01
    oversize: float = 0.000_1
    resent: float = 0.001


def records(events: Iterable[Event], rates: Rates, seed: int, source: Source = FLIGHTS) -> Iterator[Record]:
    """Yield a record for each event, some damaged; good ones are now and then followed by a resent copy.

    A record ends with a newline, damaged or not: Firehose writes source records one after the other with nothing in
    between, and what can't be told apart there could not be sent again.
    """
    waiting: deque[tuple[int, Record]] = deque()
    for position, event in enumerate(events):
        drawn = _draw(seed, event["event_id"])
        kind, data = _damaged(event, rates, drawn, DAMAGES_BY_SOURCE[source.name])
        if kind == GOOD and event["event_id"] in source.impossible:
            kind = "impossible_value"
        record = Record(
            event_id=event["event_id"],
            day=date(event["year"], event["month"], event["day"]),
            partition_key=source.partition_key(event, data),
            data=data + b"\n",
            kind=kind,
            source=source.name,
        )
        yield record
        if kind == GOOD and drawn > 1 - rates.resent:
            waiting.append((position + _RESEND_AFTER, record))
        while waiting and waiting[0][0] <= position:
            yield waiting.popleft()[1]
    for _, record in waiting:
        yield record


def encode(event: Event) -> bytes:
    """Return an event as compact JSON."""
    return _encode(event).encode()


def _draw(seed: int, event_id: str) -> float:
    """Return a number in [0, 1) that looks random: a hash is ten times as fast as seeding a generator."""
    digest = hashlib.blake2b(f"{seed}:{event_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _damaged(event: Event, rates: Rates, drawn: float, damages: Damages) -> tuple[str, bytes]:
    """Return kind and bytes of an event: low draws are damaged (and high ones resent by the caller)."""
    if drawn < rates.oversize:
        return OVERSIZE, encode({**event, "remarks": "x" * MAX_RECORD_BYTES})
    if drawn < rates.oversize + rates.damaged:
        chance = random.Random(drawn)  # noqa: S311  reproducible, not secret
        kind = chance.choice(tuple(damages))
        return kind, chance.choice(damages[kind])(event)
    return GOOD, encode(event)


def _with(**fields: object) -> Callable[[Event], bytes]:
    return lambda event: encode({**event, **fields})


def _without(name: str) -> Callable[[Event], bytes]:
    return lambda event: encode({key: value for key, value in event.items() if key != name})


# By kind (the reason that quarantine must name), ways to do it. None may make two events' bytes equal.
DAMAGES: Damages = {
    "broken_json": (
        lambda event: encode(event)[:-1],
        lambda event: encode(event)[: len(encode(event)) // 2],
        lambda event: encode({**event, "arr_delay": float("nan")}),
        lambda event: encode(event)[:-1] + b',"year":2013}',
        lambda event: encode(event).replace(b'"dest":"', b'"dest":"\xff'),
    ),
    "missing_field": (_without("event_id"), _without("dest"), _without("distance"), _with(carrier=None)),
    "wrong_type": (
        _with(distance="far"),
        _with(hour=True),
        lambda event: encode({**event, "flight": str(event["flight"])}),
        lambda event: encode({**event, "day": event["day"] + 0.5}),
        lambda event: encode({**event, "origin": [event["origin"]]}),
    ),
    "impossible_value": (
        _with(month=13),
        _with(month=2, day=30),
        _with(sched_dep_time=1299),
        _with(distance=-1.0),
        _with(dest="Chicago"),
        _with(dep_delay=99_999.0),
    ),
    "unexpected_field": (_with(passengers=180), lambda event: encode({**event, "Origin": event["origin"]})),
}

WEATHER_DAMAGES: Damages = {
    "broken_json": (
        lambda event: encode(event)[:-1],
        lambda event: encode(event)[: len(encode(event)) // 2],
        lambda event: encode({**event, "precip": float("inf")}),
        lambda event: encode(event)[:-1] + b',"hour":1}',
        lambda event: encode(event).replace(b'"origin":"', b'"origin":"\xff'),
    ),
    "missing_field": (_without("event_id"), _without("origin"), _with(time_hour=None)),
    "wrong_type": (
        _with(temp="warm"),
        _with(visib=True),
        lambda event: encode({**event, "hour": str(event["hour"])}),
        lambda event: encode({**event, "origin": [event["origin"]]}),
    ),
    "impossible_value": (_with(humid=100.5), _with(wind_dir=-1.0), _with(month=2, day=30), _with(origin="Newark")),
    "unexpected_field": (_with(station=7), lambda event: encode({**event, "Origin": event["origin"]})),
}

DAMAGES_BY_SOURCE = {"flights": DAMAGES, "weather": WEATHER_DAMAGES}
