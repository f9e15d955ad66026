"""The contracts: what an event of flights or of weather has to be, field by field. No AWS."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

YEARS = (2000, 2099)

_DELAY = (-1440, 2880)


class Field(NamedTuple):
    """A field's rule: exact Python types (bool is no int), then a range or a pattern of the whole string.

    No pattern takes a space, a quote, a backslash or what is not ASCII: the transform's fast path matches it within
    JSON's own bytes.
    """

    name: str
    types: tuple[type, ...]
    required: bool
    low: float = 0
    high: float = 0
    pattern: re.Pattern[str] | None = None


@dataclass(frozen=True)
class Contract:
    """An event's fields in the order in which they are written.

    `clock_times` are fields as 1759 whose last two digits are minutes. An id that starts with `id_start` has to start
    with its event's local time in `id_format`, or with its time_hour if `id_in_utc`; any other id will do.
    """

    noun: str
    fields: tuple[Field, ...]
    clock_times: tuple[str, ...]
    id_start: re.Pattern[str]
    id_format: str
    id_in_utc: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @cached_property
    def doubles(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields if float in field.types)


def _text(name: str, pattern: str, required: bool = True) -> Field:
    return Field(name, (str,), required, pattern=re.compile(pattern))


def _int(name: str, low: int, high: int, required: bool = True) -> Field:
    return Field(name, (int,), required, low, high)


def _double(name: str, low: float, high: float, required: bool = True) -> Field:
    return Field(name, (float, int), required, low, high)


ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
EVENT_ID = Field("event_id", (str,), required=True, pattern=ID)
_HOUR = "([01][0-9]|2[0-3])"
# Minutes of an offset are below 60, or Python would take 75 for an hour and a quarter.
_TIME_HOUR = _text("time_hour", rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{_HOUR}:00:00(Z|[+-]{_HOUR}:[0-5][0-9])")
_DAY = (_int("year", *YEARS), _int("month", 1, 12), _int("day", 1, 31))
_ORIGIN = _text("origin", r"[A-Z]{3}")

FLIGHTS = Contract(
    noun="flight",
    fields=(
        EVENT_ID,
        _TIME_HOUR,
        *_DAY,
        _text("carrier", r"[A-Z0-9]{2}"),
        _int("flight", 1, 9999),
        _text("tailnum", r"[A-Z0-9]{1,8}", required=False),
        _ORIGIN,
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
    ),
    clock_times=("sched_dep_time", "dep_time", "sched_arr_time", "arr_time"),
    id_start=re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?=-)"),
    id_format="%Y-%m-%d",
)

# Ranges end a little beyond the records of the World Meteorological Organization (wmo.asu.edu), in the units of the
# source: degrees Fahrenheit, miles an hour, inches in the hour, millibars at sea level, miles.
WEATHER = Contract(
    noun="weather",
    fields=(
        EVENT_ID,
        _TIME_HOUR,
        *_DAY,
        _ORIGIN,
        _int("hour", 0, 23),
        _double("temp", -130, 140, required=False),
        _double("dewp", -130, 100, required=False),
        _double("humid", 0, 100, required=False),
        _double("wind_dir", 0, 360, required=False),
        _double("wind_speed", 0, 260, required=False),
        _double("wind_gust", 0, 260, required=False),
        _double("precip", 0, 12, required=False),
        _double("pressure", 850, 1090, required=False),
        _double("visib", 0, 100, required=False),
    ),
    clock_times=(),
    # A local hour comes twice when daylight saving ends, an hour in UTC once.
    id_start=re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}Z(?=-)"),
    id_format="%Y-%m-%dT%HZ",
    id_in_utc=True,
)

CONTRACTS = {"flights": FLIGHTS, "weather": WEATHER}
