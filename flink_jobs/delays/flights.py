"""Reads what the job needs of a flight event from a record's bytes, or says why it can't. Knows nothing of Flink.

A record is an event here if it is one for the lake, by the same contract: the transform keeps what it refuses in
quarantine, here it is only counted.
"""

from datetime import datetime
from typing import NamedTuple

from contracts.events import FLIGHTS
from contracts.reader import Rejected, read

WINDOW_MS = 60_000


class Flight(NamedTuple):
    """A checked flight: what is known of it before it departs, when it was to depart, and how late it did.

    `scheduled_ms` is in milliseconds since 1970, UTC; `delay` in minutes, None for a flight that was cancelled. The
    others are the event's own fields, as a request to the model has them.
    """

    event_id: str
    year: int
    month: int
    day: int
    carrier: str
    origin: str
    dest: str
    hour: int
    minute: int
    sched_arr_time: int
    distance: float
    scheduled_ms: int
    delay: float | None


def parse(data: bytes) -> Flight | Rejected:
    """What a record's bytes are; never raises, whatever the bytes."""
    event = read(data, FLIGHTS)
    if isinstance(event, Rejected):
        return event
    hour_ms = int(datetime.fromisoformat(event["time_hour"]).timestamp()) * 1000
    known = event | {"scheduled_ms": hour_ms + event["minute"] * WINDOW_MS, "delay": event["dep_delay"]}
    return Flight._make(known[name] for name in Flight._fields)


def is_late(scheduled_ms: int, watermark_ms: int) -> bool:
    """Whether the window of a flight may have been emitted: one is when the watermark reaches its last millisecond."""
    return scheduled_ms - scheduled_ms % WINDOW_MS + WINDOW_MS - 1 <= watermark_ms
