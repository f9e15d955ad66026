"""`python -m benchmarks.transform`: records/s of the transform Lambda's handler against the public blueprint's way.

That way is what AWS's blueprint kinesis-firehose-process-record and the examples of Powertools for Lambda do: record by
record base64, json.loads, json.dumps, base64. It is written anew here, and checks nothing. Both sides run in this
process in turns, on the same batches, by processor time: neither waits for anything. The handler makes the documents
of rejected records, but nothing takes them to S3; the blueprint gives such records back as failed.
"""

import argparse
import base64
import contextlib
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.figures import Figure, Goal, write
from producers import damage, flights, weather
from producers.sources import WEATHER

BATCH = 500
BATCHES = 20
RUNS = 15
GOAL: Goal = (">=", 3)
PEER = "plain-json blueprint"
LAMBDA = Path(__file__).parents[1] / "lambda" / "records_transform"

Batch = dict[str, list[dict[str, Any]]]
Handler = Callable[[Batch, Any], Batch]


def blueprint(event: Batch, context: Any) -> Batch:
    """Answer a batch as the blueprint does, with the partition keys that dynamic partitioning needs besides."""
    output = []
    for record in event["records"]:
        try:
            payload = json.loads(base64.b64decode(record["data"]).decode("utf-8"))
            day = {"year": str(payload["year"]), "month": f"{payload['month']:02d}", "day": f"{payload['day']:02d}"}
            line = json.dumps(payload) + "\n"
        except (ValueError, KeyError, TypeError):
            output.append({"recordId": record["recordId"], "result": "ProcessingFailed", "data": record["data"]})
            continue
        output.append(
            {
                "recordId": record["recordId"],
                "result": "Ok",
                "data": base64.b64encode(line.encode("utf-8")).decode("utf-8"),
                "metadata": {"partitionKeys": day},
            }
        )
    return {"records": output}


def handler_of(contract: str) -> Handler:
    """Return the Lambda's handler for a contract, with a quarantine that takes documents and keeps none."""
    os.environ.update(CONTRACT=contract, QUARANTINE_PREFIX=f"{contract}/")
    sys.path.insert(0, str(LAMBDA))
    module = importlib.import_module("handler")
    sys.path.remove(str(LAMBDA))
    taken = SimpleNamespace(put=lambda documents, seconds: set())
    module._quarantine = lambda: taken  # type: ignore[attr-defined]
    handler: Handler = module.handler
    return handler


def batches(records: Iterable[bytes]) -> list[Batch]:
    """Group records into batches as Firehose sends them."""
    sent = [
        {
            "recordId": f"{number:056d}",
            "approximateArrivalTimestamp": 1_357_016_400_000,
            "data": base64.b64encode(data).decode(),
        }
        for number, data in enumerate(islice(records, BATCH * BATCHES))
    ]
    return [{"records": sent[start : start + BATCH]} for start in range(0, len(sent), BATCH)]


def records_per_second(handler: Handler, sent: list[Batch]) -> float:
    """Hand all batches to a handler once; what it prints is written and thrown away."""
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 180_000)
    gc.collect()
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        started = time.process_time()
        for batch in sent:
            handler(batch, context)
        seconds = time.process_time() - started
    return len(sent) * BATCH / seconds


def measure(name: str, contract: str, records: Iterable[bytes], goal: Goal | None = None) -> Figure:
    """Measure the two in turns, after one run of each that does not count."""
    sent, handler = batches(records), handler_of(contract)
    runs, peer_runs = [], []
    for number in range(RUNS + 1):
        pair = records_per_second(handler, sent), records_per_second(blueprint, sent)
        if number:
            runs.append(pair[0])
            peer_runs.append(pair[1])
    return Figure(name, "records/s", runs, PEER, peer_runs, goal)


def main() -> None:
    """Measure flights as the producer writes them, in other writings and with damage, and weather."""
    argparse.ArgumentParser(prog="python -m benchmarks.transform", description=__doc__).parse_args()
    rates = {share: damage.Rates(damaged=share, oversize=0, resent=0) for share in (0, 0.01)}
    sent = {share: partial(damage.records, rates=rate, seed=2013) for share, rate in rates.items()}
    hours = (record.data for record in sent[0](weather.events(), source=WEATHER))
    figures = [
        measure("flights", "flights", (record.data for record in sent[0](flights.events())), GOAL),
        measure("flights, json.dumps's spaces", "flights", (json.dumps(event).encode() for event in flights.events())),
        measure("flights, 1 % damaged", "flights", (record.data for record in sent[0.01](flights.events()))),
        measure("weather", "weather", hours),
    ]
    sys.exit(0 if write("transform", figures) else "the goal is missed: is the machine busy? Run it again alone")


if __name__ == "__main__":
    main()
