"""Departures as the model is asked about them, and what it answers. No AWS."""

import json
from collections.abc import Iterable
from typing import Any

Departure = dict[str, Any]

# What a request's CustomAttributes say when it lacks columns that the model was trained with.
INCOMPLETE = "incomplete"
# What every departure has besides its event_id; ml/schema.py says what the model asks for.
KNOWN = (
    *("year", "month", "day", "carrier", "origin", "dest"),
    *("hour", "minute", "sched_arr_time", "distance"),
)
# The stream has no weather: null, which the model takes for unknown.
UNKNOWN = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")


def parse(data: bytes) -> Departure:
    """A record of the departures stream. Raises ValueError, which names what is wrong."""
    try:
        departure = json.loads(data)
    except RecursionError:
        raise ValueError("the record is nested too deep to be a departure") from None
    if not isinstance(departure, dict):
        raise ValueError(f"the record is a {type(departure).__name__}, a departure is an object")
    for name in ("event_id", "scheduled", *KNOWN):
        if departure.get(name) is None:
            raise ValueError(f"{name} is missing")
    if not isinstance(departure["event_id"], str):
        raise ValueError(f"event_id is {departure['event_id']!r:.60}, not text")
    return departure


def request(departures: Iterable[Departure]) -> str:
    """One JSON object a line with every column of the model."""
    unknown = dict.fromkeys(UNKNOWN)
    return "\n".join(json.dumps({name: each[name] for name in KNOWN} | unknown) for each in departures)


def answers(output: str, asked: int) -> list[float]:
    """The probabilities in an answer. Raises RuntimeError when there are not as many as were asked for."""
    probabilities = [float(json.loads(line)["late_probability"]) for line in output.splitlines()]
    if len(probabilities) != asked:
        raise RuntimeError(f"the endpoint answered {len(probabilities)} times for {asked} flights")
    return probabilities
