"""What a flight event says of its flight's state, and which of two says more. No AWS."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from aws_lambda_powertools.utilities.parser import BaseModel, parse
from pydantic import ConfigDict

from contracts import reader
from contracts.events import FLIGHTS
from contracts.reader import Rejected

_SECONDS_A_DAY = 86_400


class Flight(BaseModel):
    """What is read of a flight event, whose values the contract has checked."""

    model_config = ConfigDict(strict=True, frozen=True)

    event_id: str
    time_hour: str
    minute: int
    carrier: str
    flight: int
    tailnum: str | None
    origin: str
    dest: str
    dep_time: int | None
    dep_delay: float | None
    arr_time: int | None
    arr_delay: float | None

    @property
    def scheduled(self) -> datetime:
        return datetime.fromisoformat(self.time_hour).replace(minute=self.minute).astimezone(UTC)


class State(NamedTuple):
    """What is known of a flight: `version` is greater the more that is, and then the later it came; see `version`."""

    event_id: str
    version: str
    attributes: dict[str, str | int | float]


def read(data: bytes) -> Flight | Rejected:
    """The flight event in a record's bytes, or why it is none; never raises, whatever the bytes."""
    event = reader.read(data, FLIGHTS)
    return event if isinstance(event, Rejected) else parse(event, model=Flight)


def state(flight: Flight, sequence_number: str, arrived: float, keep_days: int) -> State:
    """The state that an event tells of, from its place in the stream and when it `arrived` there (epoch seconds).

    It is the same however often the record is read. A delay is kept to a thousandth of a minute.
    """
    known = "arrived" if flight.arr_time is not None else "departed" if flight.dep_time is not None else "scheduled"
    attributes = {
        "status": known,
        "carrier": flight.carrier,
        "flight": flight.flight,
        "tailnum": flight.tailnum,
        "origin": flight.origin,
        "dest": flight.dest,
        "scheduled": f"{flight.scheduled:%Y-%m-%dT%H:%MZ}",
        "dep_delay": _rounded(flight.dep_delay),
        "arr_delay": _rounded(flight.arr_delay),
        "expires_at": int(arrived) + keep_days * _SECONDS_A_DAY,
    }
    given = {name: value for name, value in attributes.items() if value is not None}
    return State(flight.event_id, version(known, sequence_number), given)


def version(known: str, sequence_number: str) -> str:
    """A text that sorts by how much is known, then by sequence number: a number of 56 digits, DynamoDB's have 38.

    What came first says nothing by itself: a redriven event comes after newer ones, with a greater number than theirs.
    """
    rank = ("scheduled", "departed", "arrived").index(known)
    return f"{rank}.{len(sequence_number):03}.{sequence_number}"


def newest(states: Iterable[State]) -> list[State]:
    """The greatest version of each flight."""
    found: dict[str, State] = {}
    for each in states:
        if each.event_id not in found or found[each.event_id].version < each.version:
            found[each.event_id] = each
    return list(found.values())


def _rounded(delay: float | None) -> float | None:
    return None if delay is None else round(delay, 3)
