"""Reads what the job needs of a flight event from a record's bytes, or says why it can't. Knows nothing of Flink.

The rules are those of lambda/records_transform for JSON and the fields read here: it decides what reaches the lake,
which takes CSV as well, and keeps what it refuses in quarantine. Here a refused record is only counted.
"""

import json
import math
import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, NamedTuple

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


class Rejected(NamedTuple):
    """Why a record is no flight."""

    reason: str
    detail: str


class _Field(NamedTuple):
    """A field's exact types (bool is no int), and whether a value of them can be."""

    name: str
    types: tuple[type, ...]
    possible: Callable[[Any], object]
    required: bool = True


def _text(name: str, pattern: str) -> _Field:
    return _Field(name, (str,), re.compile(pattern).fullmatch)


def _number(name: str, low: int, high: int, *types: type, required: bool = True) -> _Field:
    return _Field(name, types or (int,), lambda value: low <= value <= high, required)  # which NaN never is


_FIELDS = (
    _text("event_id", r"[A-Za-z0-9._-]{1,64}"),
    _text("time_hour", r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):00:00(Z|[+-][0-9]{2}:[0-9]{2})"),
    _number("year", 2000, 2099),
    _number("month", 1, 12),
    _number("day", 1, 31),
    _text("carrier", r"[A-Z0-9]{2}"),
    _text("origin", r"[A-Z]{3}"),
    _text("dest", r"[A-Z]{3}"),
    _number("hour", 0, 23),
    _number("minute", 0, 59),
    _number("sched_arr_time", 0, 2400),
    _number("distance", 1, 20_000, float, int),
    _number("dep_delay", -1440, 2880, float, int, required=False),
)


def parse(data: bytes) -> Flight | Rejected:
    """What a record's bytes are; never raises, whatever the bytes."""
    try:
        event = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        return Rejected("broken_json", str(error)[:200])
    if not isinstance(event, dict):
        return Rejected("wrong_type", f"the record is a {type(event).__name__}, an event is an object")
    return _wrong(event) or _flight(event)


def is_late(scheduled_ms: int, watermark_ms: int) -> bool:
    """Whether the window of a flight may have been emitted: one is when the watermark reaches its last millisecond."""
    return scheduled_ms - scheduled_ms % WINDOW_MS + WINDOW_MS - 1 <= watermark_ms


def _wrong(event: dict[str, Any]) -> Rejected | None:
    """The first field that is missing, of another type or impossible."""
    for name, types, possible, required in _FIELDS:
        value = event.get(name)
        if value is None:
            if required:
                return Rejected("missing_field", f"{name} is required")
        elif type(value) not in types:
            return Rejected("wrong_type", f"{name} is a {type(value).__name__}, not {types[0].__name__}")
        elif not possible(value):
            return Rejected("impossible_value", f"{name} is {value!r:.60}")
    return None


def _flight(event: dict[str, Any]) -> Flight | Rejected:
    """The flight of an event whose fields are right each by itself."""
    try:
        hour = datetime.fromisoformat(event["time_hour"])
        scheduled_ms = math.floor(hour.timestamp()) * 1000 + event["minute"] * WINDOW_MS
        date(event["year"], event["month"], event["day"])
    except ValueError as error:
        return Rejected("impossible_value", f"time_hour or year, month and day: {error}")
    if event["sched_arr_time"] % 100 > 59:
        return Rejected("impossible_value", f"sched_arr_time is {event['sched_arr_time']}: its end is minutes")
    delay = event.get("dep_delay")
    derived = {
        "distance": float(event["distance"]),
        "scheduled_ms": scheduled_ms,
        "delay": None if delay is None else float(delay),
    }
    return Flight(**{name: event.get(name) for name in Flight._fields} | derived)
