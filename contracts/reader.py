"""Reads one record's bytes: an event of a contract, or rejected with one of six reasons. No AWS."""

import json
import re
from datetime import date
from typing import Any, NamedTuple

from contracts import csv_line
from contracts.events import EVENT_ID, ID, Contract
from contracts.values import Event, Problem, day_of, field_problems, type_name, value_problems

# When a record is wrong in several ways, the earliest of these is its reason.
REASONS = ("broken_json", "broken_csv", "missing_field", "unexpected_field", "wrong_type", "impossible_value")

_DETAIL_LIMIT = 500
_ID_IN_JSON = re.compile(rb'"%s"\s*:\s*"(%s)"' % (EVENT_ID.name.encode(), ID.pattern.encode()))


class Rejected(NamedTuple):
    """Why a record is no event; its id and day are a best effort."""

    reason: str
    detail: str
    event_id: str | None
    day: date | None


class _NotStrictJson(ValueError):
    """JSON that Python would read but RFC 8259 forbids or leaves undefined."""


def _unique_keys(pairs: list[tuple[str, Any]]) -> Event:
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        raise _NotStrictJson("a key occurs twice in one object")
    return parsed


def _refuse_constant(name: str) -> None:
    raise _NotStrictJson(f"{name} is not JSON")


_decode = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant).decode


def read(data: bytes, contract: Contract) -> Event | Rejected:
    """Return the event in a record's bytes, JSON or a line of CSV; never raises, whatever the bytes.

    It has every field of the contract in its order, doubles as floats, None for what is not known.
    """
    try:
        event = csv_line.event_of(data, contract) if csv_line.is_csv(data) else _decode(data.decode())
    except csv_line.BrokenCsvError as error:
        return Rejected("broken_csv", str(error)[:_DETAIL_LIMIT], csv_line.id_of(data), None)
    except (ValueError, RecursionError) as error:
        # ValueError: wrong UTF-8, wrong JSON, and integers past Python's limit of 4,300 digits.
        return Rejected("broken_json", str(error)[:_DETAIL_LIMIT], _id_in_json(data), None)
    if type(event) is not dict:
        return Rejected("wrong_type", f"the record is {type_name(event)}, an event is an object", None, None)
    problems = field_problems(event, contract) or value_problems(event, contract)
    return _rejected(event, problems) if problems else _completed(event, contract)


def _completed(event: Event, contract: Contract) -> Event:
    completed: Event = {name: event.get(name) for name in contract.names}
    for name in contract.doubles:
        if completed[name] is not None:
            completed[name] = float(completed[name])
    return completed


def _rejected(event: Event, problems: list[Problem]) -> Rejected:
    problems.sort(key=lambda problem: REASONS.index(problem[0]))
    detail = "; ".join(detail for _, detail in problems)[:_DETAIL_LIMIT]
    event_id = event.get(EVENT_ID.name)
    if type(event_id) is not str or not ID.fullmatch(event_id):
        event_id = None
    return Rejected(problems[0][0], detail, event_id, day_of(event))


def _id_in_json(data: bytes) -> str | None:
    found = _ID_IN_JSON.search(data)
    return found[1].decode() if found else None
