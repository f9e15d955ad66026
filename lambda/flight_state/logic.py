"""What a flight event says of its flight's state, and which of two says more. No AWS."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple, Self

from aws_lambda_powertools.utilities.parser import BaseModel, ValidationError
from pydantic import ConfigDict, Field, model_validator

# No local time is further from UTC than Kiribati's, at +14:00.
_UTC_OFFSET = timedelta(hours=14)
_SECONDS_A_DAY = 86_400

Airport = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Clock = Annotated[int, Field(ge=0, le=2400)]  # 1730 is half past five in the afternoon
Delay = Annotated[float, Field(ge=-1440, le=2880)]  # minutes


class NotAFlightError(ValueError):
    """The bytes are no flight event in JSON: the transform's quarantine holds them, or the lake if they are CSV."""


class Flight(BaseModel):
    """A flight event by the same rules as the transform's for JSON: a test holds one against the other."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    event_id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    time_hour: str = Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):00:00(Z|[+-][0-9]{2}:[0-9]{2})$")
    year: int = Field(ge=2000, le=2099)
    month: int = Field(ge=1, le=12)
    day: int = Field(ge=1, le=31)
    carrier: str = Field(pattern=r"^[A-Z0-9]{2}$")
    flight: int = Field(ge=1, le=9999)
    tailnum: Annotated[str, Field(pattern=r"^[A-Z0-9]{1,8}$")] | None = None
    origin: Airport
    dest: Airport
    sched_dep_time: Clock
    dep_time: Clock | None = None
    dep_delay: Delay | None = None
    sched_arr_time: Clock
    arr_time: Clock | None = None
    arr_delay: Delay | None = None
    air_time: Annotated[float, Field(ge=1, le=1440)] | None = None
    distance: float = Field(ge=1, le=20_000)
    hour: int = Field(ge=0, le=23)
    minute: int = Field(ge=0, le=59)

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        for clock in (self.sched_dep_time, self.dep_time, self.sched_arr_time, self.arr_time):
            if (clock or 0) % 100 > 59:
                raise ValueError(f"{clock} is no time of day: its last two digits are minutes")
        local = datetime(self.year, self.month, self.day, self.hour, tzinfo=UTC)
        if abs(local - self.scheduled_hour) > _UTC_OFFSET:
            raise ValueError(f"{self.time_hour} is no time zone's hour {local:%Y-%m-%d %H}:00")
        named = self.event_id[:11]
        if _is_day(named) and named[:10] != f"{local:%Y-%m-%d}":
            raise ValueError(f"event_id is of {named[:10]}, the flight of {local:%Y-%m-%d}")
        return self

    @property
    def scheduled_hour(self) -> datetime:
        return datetime.fromisoformat(self.time_hour)


class State(NamedTuple):
    """What is known of a flight: `version` is greater the more that is, and then the later it came; see `version`."""

    event_id: str
    version: str
    attributes: dict[str, str | int | float]


def read(data: bytes) -> Flight:
    """The flight event in a record's bytes. Raises NotAFlightError, which says what is wrong."""
    try:
        return Flight.model_validate(_decode(data.decode()))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        raise NotAFlightError("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in wrong)[:500]) from None
    except (ValueError, RecursionError) as error:
        # ValueError: wrong UTF-8, wrong JSON, and integers past Python's limit of 4,300 digits.
        raise NotAFlightError(str(error)[:500]) from None


def state(flight: Flight, sequence_number: str, arrived: float, keep_days: int) -> State:
    """The state that an event tells of, from its place in the stream and when it `arrived` there (epoch seconds).

    It is the same however often the record is read. A delay is kept to a thousandth of a minute.
    """
    known = "arrived" if flight.arr_time is not None else "departed" if flight.dep_time is not None else "scheduled"
    scheduled = flight.scheduled_hour.replace(minute=flight.minute).astimezone(UTC)
    attributes = {
        "status": known,
        "carrier": flight.carrier,
        "flight": flight.flight,
        "tailnum": flight.tailnum,
        "origin": flight.origin,
        "dest": flight.dest,
        "scheduled": f"{scheduled:%Y-%m-%dT%H:%MZ}",
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


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return parsed


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# As the transform reads JSON. Pydantic's own reader is faster, and takes the last of two equal keys.
_decode = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant).decode


def _is_day(text: str) -> bool:
    """Whether text is a day and a hyphen, as `2013-01-31-`; it need be none of the calendar."""
    return len(text) == 11 and text[4] == text[7] == text[10] == "-" and f"{text[:4]}{text[5:7]}{text[8:10]}".isdigit()


def _rounded(delay: float | None) -> float | None:
    return None if delay is None else round(delay, 3)
