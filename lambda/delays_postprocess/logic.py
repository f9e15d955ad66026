"""Metrics of an airport's minute as people, programs and CloudWatch want them. No AWS."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Metrics = dict[str, Any]

# What a notice's line says, and the types it needs; a minute in which nobody departed has no delays and no anomaly.
_MAY_BE_NULL = ("mean_delay", "max_delay", "score")
_TYPES: dict[str, tuple[type, ...]] = {
    "airport": (str,),
    "window_start": (str,),
    "flights": (int,),
    "departed": (int,),
    "mean_delay": (float, int),
    "max_delay": (float, int),
    "score": (float, int),
    "anomaly": (bool,),
}


def parse(data: bytes) -> Metrics:
    """A record of the delays stream. Raises ValueError, which names what is wrong."""
    try:
        metrics = json.loads(data)
    except RecursionError:
        raise ValueError("the record is nested too deep to be metrics") from None
    if not isinstance(metrics, dict):
        raise ValueError(f"the record is a {type(metrics).__name__}, metrics are an object")
    for name, types in _TYPES.items():
        value = metrics.get(name)
        may_be_null = name in _MAY_BE_NULL and not metrics.get("anomaly")
        if type(value) not in types and not (value is None and may_be_null):
            raise ValueError(f"{name} is {value!r:.60}, not {types[0].__name__}")
    return metrics


def anomalies(minutes: Iterable[Metrics]) -> list[Metrics]:
    """The unusual ones, each airport's minute once, in an order that is the same whatever the batch."""
    found = {(each["window_start"], each["airport"]): each for each in minutes if each["anomaly"]}
    return [found[minute] for minute in sorted(found)]


def named(anomalies: Iterable[Metrics], airports: Mapping[str, str]) -> list[Metrics]:
    """The anomalies with the names of their airports; the code alone where the name is not known."""
    return [each | {"airport_name": airports.get(each["airport"], each["airport"])} for each in anomalies]


def notice(anomalies: list[Metrics]) -> dict[str, str]:
    """Subject and Message of one notice in SNS's JSON structure: lines of text for people, JSON for queues."""
    codes = ", ".join(sorted({each["airport"] for each in anomalies}))
    message = {"default": "\n".join(map(_line, anomalies)), "sqs": json.dumps(anomalies)}
    return {"Subject": f"Unusual delays at {codes}"[:100], "Message": json.dumps(message)}  # SNS takes no longer one


def figures(minute: Metrics) -> Iterator[tuple[str, str, float]]:
    """Name, unit and value of what CloudWatch keeps of a minute."""
    yield "Flights", "Count", minute["flights"]
    for name, value in (("MeanDelay", minute["mean_delay"]), ("AnomalyScore", minute["score"])):
        if value is not None:
            yield name, "None", value  # CloudWatch knows no minutes


def _line(anomaly: Metrics) -> str:
    name, code = anomaly["airport_name"], anomaly["airport"]
    return (
        f"{code if name == code else f'{name} ({code})'} {anomaly['window_start']}: "
        f"{anomaly['departed']} of {anomaly['flights']} departed, {anomaly['mean_delay']:.0f} minutes late on average, "
        f"{anomaly['max_delay']:.0f} at most (score {anomaly['score']:.2f})"
    )
