"""Decides for one record's bytes: a curated flight event, or rejected with one of five reasons. No AWS."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

# When a record is wrong in several ways, the earliest of these is its reason.
REASONS = ("broken_json", "missing_field", "unexpected_field", "wrong_type", "impossible_value")
UNKNOWN_DAY = {"year": "0000", "month": "00", "day": "00"}

_YEARS = (2000, 2099)
_DELAY = (-1440, 2880)
_DETAIL_LIMIT = 500
# No local time is further from UTC than Kiribati's, at +14:00.
_UTC_OFFSET = timedelta(hours=14)


class Curated(NamedTuple):
    """A valid event: compact JSON with every field in the order of FIELDS and a newline, and its day."""

    event_id: str
    partition: dict[str, str]
    data: bytes


class Rejected(NamedTuple):
    """Why a record is no event; event_id and partition (UNKNOWN_DAY if need be) are a best effort."""

    reason: str
    detail: str
    event_id: str | None
    partition: dict[str, str]


class Field(NamedTuple):
    """A field's rule: exact Python types (bool is no int), then a range or a pattern of the whole string."""

    name: str
    types: tuple[type, ...]
    required: bool
    low: float = 0
    high: float = 0
    match: Callable[[str], object] | None = None


def _text(name: str, pattern: str, required: bool = True) -> Field:
    return Field(name, (str,), required, match=re.compile(pattern).fullmatch)


def _int(name: str, low: int, high: int, required: bool = True) -> Field:
    return Field(name, (int,), required, low, high)


def _double(name: str, low: float, high: float, required: bool = True) -> Field:
    return Field(name, (float, int), required, low, high)


FIELDS = (
    _text("event_id", r"[A-Za-z0-9._-]{1,64}"),
    _text("time_hour", r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):00:00(Z|[+-][0-9]{2}:[0-9]{2})"),
    _int("year", *_YEARS),
    _int("month", 1, 12),
    _int("day", 1, 31),
    _text("carrier", r"[A-Z0-9]{2}"),
    _int("flight", 1, 9999),
    _text("tailnum", r"[A-Z0-9]{1,8}", required=False),
    _text("origin", r"[A-Z]{3}"),
    _text("dest", r"[A-Z]{3}"),
    _int("sched_dep_time", 0, 2400),
    _int("dep_time", 0, 2400, required=False),
    _double("dep_delay", *_DELAY, required=False),
    _int("sched_arr_time", 0, 2400),
    _int("arr_time", 0, 2400, required=False),
    _double("arr_delay", *_DELAY, required=False),
    _double("air_time", 1, 1440, required=False),
    _double("distance", 1, 20000),
    _int("hour", 0, 23),
    _int("minute", 0, 59),
)

_NAMES = frozenset(field.name for field in FIELDS)
_DOUBLES = tuple(field.name for field in FIELDS if float in field.types)
_CLOCK_TIMES = ("sched_dep_time", "dep_time", "sched_arr_time", "arr_time")
_DAY_IN_ID = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?=-)")
_ID_IN_BYTES = re.compile(rb'"event_id"\s*:\s*"([A-Za-z0-9._-]{1,64})"')
_JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


class _NotStrictJson(ValueError):
    """JSON that Python would read but RFC 8259 forbids or leaves undefined."""


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        raise _NotStrictJson("a key occurs twice in one object")
    return parsed


def _refuse_constant(name: str) -> None:
    raise _NotStrictJson(f"{name} is not JSON")


_decode = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant).decode
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def parse(data: bytes) -> Curated | Rejected:
    """Return what a record's bytes are; never raises, whatever the bytes."""
    try:
        event = _decode(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        # ValueError: wrong UTF-8, wrong JSON, and integers past Python's limit of 4,300 digits.
        return Rejected("broken_json", str(error)[:_DETAIL_LIMIT], _id_in_bytes(data), UNKNOWN_DAY)
    if type(event) is not dict:
        detail = f"the record is {_type_name(event)}, an event is an object"
        return Rejected("wrong_type", detail, None, UNKNOWN_DAY)
    problems = _field_problems(event)
    if not problems:
        problems = _value_problems(event)
    if problems:
        return _rejected(event, problems)
    for name in _DOUBLES:
        value = event.get(name)
        if value is not None:
            event[name] = float(value)
    ordered = {field.name: event.get(field.name) for field in FIELDS}
    return Curated(event["event_id"], _partition(event), _encode(ordered).encode() + b"\n")


def quarantine_document(data: bytes, rejected: Rejected, received_at: datetime, prefix: str) -> tuple[str, bytes]:
    """Return key and body of a rejected record; the key is by content, so a retry writes the same object."""
    digest = hashlib.sha256(data).hexdigest()
    day = rejected.partition
    key = f"{prefix}year={day['year']}/month={day['month']}/day={day['day']}/{digest}.json"
    document = {
        "sha256": digest,
        "event_id": rejected.event_id,
        "reason": rejected.reason,
        "detail": rejected.detail,
        "received_at": received_at.astimezone(UTC).isoformat(),
        "source": "transform",
        "data": base64.b64encode(data).decode(),
    }
    return key, _encode(document).encode()


def _field_problems(event: dict[str, Any]) -> list[tuple[str, str]]:
    """Check each field alone: present, type, range or pattern."""
    problems = []
    for name, types, required, low, high, match in FIELDS:
        value = event.get(name)
        if value is None:
            if required:
                problems.append(("missing_field", f"{name} is required"))
        elif type(value) not in types:
            problems.append(("wrong_type", f"{name} is {_type_name(value)}, not {_type_name(types[0]())}"))
        elif match is not None:
            if not match(value):
                problems.append(("impossible_value", f"{name} is {value[:40]!r}"))
        elif not low <= value <= high:
            problems.append(("impossible_value", f"{name} is {_shown(value)}, not {low} to {high}"))
    if not event.keys() <= _NAMES:
        unknown = sorted(event.keys() - _NAMES)
        problems.append(("unexpected_field", f"unknown fields {', '.join(map(repr, unknown))}"))
    return problems


def _value_problems(event: dict[str, Any]) -> list[tuple[str, str]]:
    """Check what a range cannot say: clock times, the calendar, and that hour and id are of the flight's day."""
    problems = [
        ("impossible_value", f"{name} is {event[name]}, its last two digits are minutes")
        for name in _CLOCK_TIMES
        if (event.get(name) or 0) % 100 > 59
    ]
    if not _is_date(event):
        detail = f"{event['year']}-{event['month']}-{event['day']} is no calendar date"
        return [*problems, ("impossible_value", detail)]
    local = datetime(event["year"], event["month"], event["day"], event["hour"], tzinfo=UTC)
    try:
        offset = local - datetime.fromisoformat(event["time_hour"])
    except ValueError as error:
        problems.append(("impossible_value", f"time_hour is {event['time_hour']!r}: {error}"))
    else:
        if abs(offset) > _UTC_OFFSET:
            detail = f"time_hour is {event['time_hour']!r}, no time zone's hour {local:%Y-%m-%d %H}:00"
            problems.append(("impossible_value", detail))
    day = _DAY_IN_ID.match(event["event_id"])
    if day and day[0] != f"{local:%Y-%m-%d}":
        problems.append(("impossible_value", f"event_id is of {day[0]}, the flight of {local:%Y-%m-%d}"))
    return problems


def _rejected(event: dict[str, Any], problems: list[tuple[str, str]]) -> Rejected:
    problems.sort(key=lambda problem: REASONS.index(problem[0]))
    detail = "; ".join(detail for _, detail in problems)[:_DETAIL_LIMIT]
    event_id = event.get("event_id")
    if type(event_id) is not str or not FIELDS[0].match(event_id):  # type: ignore[misc]
        event_id = None
    return Rejected(problems[0][0], detail, event_id, _partition(event) if _is_date(event) else UNKNOWN_DAY)


def _is_date(event: dict[str, Any]) -> bool:
    year, month, day = event.get("year"), event.get("month"), event.get("day")
    if type(year) is not int or type(month) is not int or type(day) is not int:
        return False
    if not _YEARS[0] <= year <= _YEARS[1]:
        return False
    try:
        date(year, month, day)
    except (ValueError, OverflowError):
        return False
    return True


def _partition(event: dict[str, Any]) -> dict[str, str]:
    return {"year": str(event["year"]), "month": f"{event['month']:02d}", "day": f"{event['day']:02d}"}


def _id_in_bytes(data: bytes) -> str | None:
    found = _ID_IN_BYTES.search(data)
    return found[1].decode() if found else None


def _type_name(value: object) -> str:
    return _JSON_TYPES.get(type(value), "null")


def _shown(value: float) -> str:
    """Show a number in a few characters; repr of an integer raises past 4,300 digits."""
    return repr(value) if abs(value) < 1e15 else f"about {'-' if value < 0 else ''}1e15 or more in size"
