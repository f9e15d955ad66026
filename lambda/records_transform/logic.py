"""Decides for one record's bytes: a curated event, or rejected with one of six reasons. No AWS."""

import base64
import hashlib
import json
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from contract import EVENT_ID, YEARS, Contract
from csv_line import BrokenCsvError, event_of, id_of, is_csv

# When a record is wrong in several ways, the earliest of these is its reason.
REASONS = ("broken_json", "broken_csv", "missing_field", "unexpected_field", "wrong_type", "impossible_value")
UNKNOWN_DAY = {"year": "0000", "month": "00", "day": "00"}

_DETAIL_LIMIT = 500
# No local time is further from UTC than Kiribati's, at +14:00.
_UTC_OFFSET = timedelta(hours=14)
_ID_IN_BYTES = re.compile(rb'"event_id"\s*:\s*"([A-Za-z0-9._-]{1,64})"')
_JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


class Curated(msgspec.Struct, frozen=True, gc=False):
    """A valid event: compact JSON with every field in its contract's order and a newline, and its day."""

    event_id: str
    partition: dict[str, str]
    data: bytes


class Rejected(msgspec.Struct, frozen=True):
    """Why a record is no event; event_id and partition (UNKNOWN_DAY if need be) are a best effort."""

    reason: str
    detail: str
    event_id: str | None
    partition: dict[str, str]


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


def parse(data: bytes, contract: Contract) -> Curated | Rejected:
    """Return what a record's bytes are under a contract; never raises, whatever the bytes."""
    try:
        event = event_of(data, contract) if is_csv(data) else _decode(data.decode("utf-8"))
    except BrokenCsvError as error:
        return Rejected("broken_csv", str(error)[:_DETAIL_LIMIT], id_of(data), UNKNOWN_DAY)
    except (ValueError, RecursionError) as error:
        # ValueError: wrong UTF-8, wrong JSON, and integers past Python's limit of 4,300 digits.
        return Rejected("broken_json", str(error)[:_DETAIL_LIMIT], _id_in_bytes(data), UNKNOWN_DAY)
    if type(event) is not dict:
        detail = f"the record is {_type_name(event)}, an event is an object"
        return Rejected("wrong_type", detail, None, UNKNOWN_DAY)
    problems = _field_problems(event, contract)
    if not problems:
        problems = value_problems(event, contract)
    if problems:
        return _rejected(event, problems)
    ordered = {}
    for field in contract.fields:
        value = event.get(field.name)
        ordered[field.name] = float(value) if value is not None and float in field.types else value
    return Curated(event["event_id"], partition(event), _encode(ordered).encode() + b"\n")


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


def _field_problems(event: dict[str, Any], contract: Contract) -> list[tuple[str, str]]:
    """Check each field alone: present, type, range or pattern."""
    problems = []
    for name, types, required, low, high, pattern in contract.fields:
        value = event.get(name)
        if value is None:
            if required:
                problems.append(("missing_field", f"{name} is required"))
        elif type(value) not in types:
            problems.append(("wrong_type", f"{name} is {_type_name(value)}, not {_type_name(types[0]())}"))
        elif pattern is not None:
            if not pattern.fullmatch(value):
                problems.append(("impossible_value", f"{name} is {value[:40]!r}"))
        elif not low <= value <= high:
            problems.append(("impossible_value", f"{name} is {_shown(value)}, not {low} to {high}"))
    unknown = sorted(event.keys() - {field.name for field in contract.fields})
    if unknown:
        problems.append(("unexpected_field", f"unknown fields {', '.join(map(repr, unknown))}"))
    return problems


def value_problems(event: dict[str, Any], contract: Contract) -> list[tuple[str, str]]:
    """Check what a range cannot say: clock times, the calendar, and that hour and id are of the event's day."""
    problems = [
        ("impossible_value", f"{name} is {event[name]}, its last two digits are minutes")
        for name in contract.clock_times
        if (event.get(name) or 0) % 100 > 59
    ]
    if not _is_date(event):
        detail = f"{event['year']}-{event['month']}-{event['day']} is no calendar date"
        return [*problems, ("impossible_value", detail)]
    local = datetime(event["year"], event["month"], event["day"], event["hour"], tzinfo=UTC)
    named = local
    try:
        hour = datetime.fromisoformat(event["time_hour"])
    except ValueError as error:
        problems.append(("impossible_value", f"time_hour is {event['time_hour']!r}: {error}"))
    else:
        if abs(local - hour) > _UTC_OFFSET:
            detail = f"time_hour is {event['time_hour']!r}, no time zone's hour {local:%Y-%m-%d %H}:00"
            problems.append(("impossible_value", detail))
        elif contract.id_in_utc:
            named = hour.astimezone(UTC)
    start = contract.id_start.match(event["event_id"])
    if start and start[0] != (expected := named.strftime(contract.id_format)):
        problems.append(("impossible_value", f"event_id is of {start[0]}, the {contract.noun} of {expected}"))
    return problems


def _rejected(event: dict[str, Any], problems: list[tuple[str, str]]) -> Rejected:
    problems.sort(key=lambda problem: REASONS.index(problem[0]))
    detail = "; ".join(detail for _, detail in problems)[:_DETAIL_LIMIT]
    event_id = event.get("event_id")
    if type(event_id) is not str or not EVENT_ID.pattern.fullmatch(event_id):
        event_id = None
    return Rejected(problems[0][0], detail, event_id, partition(event) if _is_date(event) else UNKNOWN_DAY)


def _is_date(event: dict[str, Any]) -> bool:
    year, month, day = event.get("year"), event.get("month"), event.get("day")
    if type(year) is not int or type(month) is not int or type(day) is not int:
        return False
    if not YEARS[0] <= year <= YEARS[1]:
        return False
    try:
        date(year, month, day)
    except (ValueError, OverflowError):
        return False
    return True


def partition(event: dict[str, Any]) -> dict[str, str]:
    return {"year": str(event["year"]), "month": f"{event['month']:02d}", "day": f"{event['day']:02d}"}


def _id_in_bytes(data: bytes) -> str | None:
    found = _ID_IN_BYTES.search(data)
    return found[1].decode() if found else None


def _type_name(value: object) -> str:
    return _JSON_TYPES.get(type(value), "null")


def _shown(value: float) -> str:
    """Show a number in a few characters; repr of an integer raises past 4,300 digits."""
    return repr(value) if abs(value) < 1e15 else f"about {'-' if value < 0 else ''}1e15 or more in size"
