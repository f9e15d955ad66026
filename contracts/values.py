"""Checks the values of an event against its contract."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from contracts.events import YEARS, Contract

Event = dict[str, Any]
Problem = tuple[str, str]  # one of reader.REASONS, and what is wrong

# No local time is further from UTC than Kiribati's, at +14:00.
_UTC_OFFSET = timedelta(hours=14)
_JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


def field_problems(event: Event, contract: Contract) -> list[Problem]:
    """Check each field alone: present, type, range or pattern."""
    problems = []
    for name, types, required, low, high, pattern in contract.fields:
        value = event.get(name)
        if value is None:
            if required:
                problems.append(("missing_field", f"{name} is required"))
        elif type(value) not in types:
            problems.append(("wrong_type", f"{name} is {type_name(value)}, not {type_name(types[0]())}"))
        elif pattern is not None:
            if not pattern.fullmatch(value):
                problems.append(("impossible_value", f"{name} is {value[:40]!r}"))
        elif not low <= value <= high:
            problems.append(("impossible_value", f"{name} is {_shown(value)}, not {low} to {high}"))
    unknown = sorted(event.keys() - contract.names)
    if unknown:
        problems.append(("unexpected_field", f"unknown fields {', '.join(map(repr, unknown))}"))
    return problems


def value_problems(event: Event, contract: Contract) -> list[Problem]:
    """Check what a range cannot say: clock times, the calendar, and that hour and id are of the event's day."""
    problems = [
        ("impossible_value", f"{name} is {event[name]}, its last two digits are minutes")
        for name in contract.clock_times
        if (event.get(name) or 0) % 100 > 59
    ]
    if day_of(event) is None:
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


def day_of(event: Event) -> date | None:
    """The day of an event whose other fields may be anything, None if it has none."""
    year, month, day = event.get("year"), event.get("month"), event.get("day")
    if type(year) is not int or type(month) is not int or type(day) is not int:
        return None
    if not YEARS[0] <= year <= YEARS[1]:
        return None
    try:
        return date(year, month, day)
    except (ValueError, OverflowError):
        return None


def type_name(value: object) -> str:
    """What JSON calls the type of a value."""
    return _JSON_TYPES.get(type(value), "null")


def _shown(value: float) -> str:
    """Show a number in a few characters; repr of an integer raises past 4,300 digits."""
    return repr(value) if abs(value) < 1e15 else f"about {'-' if value < 0 else ''}1e15 or more in size"
