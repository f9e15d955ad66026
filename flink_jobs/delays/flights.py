"""Reads what the job needs of a flight event from a record's bytes, or says why it can't. Knows nothing of Flink.

The rules are those of lambda/records_transform for the fields read here: it decides what reaches the lake, and keeps
what it refuses in quarantine. Here a refused record is only counted.
"""

import json
import math
import re
from datetime import datetime
from typing import Any, NamedTuple

WINDOW_MS = 60_000

_DELAY = (-1440, 2880)  # minutes
_ORIGIN = re.compile(r"[A-Z]{3}")
_HOUR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:00:00(Z|[+-][0-9]{2}:[0-9]{2})")
_YEARS = (2000, 2099)


class Flight(NamedTuple):
    """A flight's scheduled departure (milliseconds since 1970, UTC) and its delay then (minutes; None: cancelled)."""

    origin: str
    scheduled_ms: int
    delay: float | None


class Rejected(NamedTuple):
    """Why a record is no flight."""

    reason: str
    detail: str


def parse(data: bytes) -> Flight | Rejected:
    """What a record's bytes are; never raises, whatever the bytes."""
    try:
        event = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        return Rejected("broken_json", str(error)[:200])
    if not isinstance(event, dict):
        return Rejected("wrong_type", f"the record is a {type(event).__name__}, an event is an object")
    for name, kind in (("origin", str), ("time_hour", str), ("minute", int)):
        if event.get(name) is None:
            return Rejected("missing_field", f"{name} is required")
        if type(event[name]) is not kind:
            return Rejected("wrong_type", f"{name} is a {type(event[name]).__name__}, not {kind.__name__}")
    if type(delay := event.get("dep_delay")) not in (float, int, type(None)):
        return Rejected("wrong_type", f"dep_delay is a {type(delay).__name__}, not float")
    return _flight(event["origin"], event["time_hour"], event["minute"], delay)


def is_late(scheduled_ms: int, watermark_ms: int) -> bool:
    """Whether the window of a flight may have been emitted: one is when the watermark reaches its last millisecond."""
    return scheduled_ms - scheduled_ms % WINDOW_MS + WINDOW_MS - 1 <= watermark_ms


def _flight(origin: str, time_hour: str, minute: int, delay: Any) -> Flight | Rejected:
    if not _ORIGIN.fullmatch(origin):
        return Rejected("impossible_value", f"origin is {origin[:40]!r}")
    if not 0 <= minute <= 59:
        return Rejected("impossible_value", "minute is not 0 to 59")
    if delay is not None and not _DELAY[0] <= delay <= _DELAY[1]:  # nor is NaN
        return Rejected("impossible_value", f"dep_delay is not {_DELAY[0]} to {_DELAY[1]}")
    try:
        hour = datetime.fromisoformat(time_hour) if _HOUR.fullmatch(time_hour) else None
    except ValueError:
        hour = None
    if hour is None or not _YEARS[0] <= hour.year <= _YEARS[1]:
        return Rejected("impossible_value", f"time_hour is {time_hour[:40]!r}")
    scheduled_ms = math.floor(hour.timestamp()) * 1000 + minute * WINDOW_MS
    return Flight(origin, scheduled_ms, None if delay is None else float(delay))
