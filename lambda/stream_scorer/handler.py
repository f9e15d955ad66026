"""Asks the endpoint about each flight of the departures stream before it departs, and keeps the answers by flight."""

import base64
import json
import os
import time
from decimal import Decimal
from typing import Any

import boto3
import logic
from botocore.config import Config

JSON_LINES = "application/jsonlines"

# Three attempts take 36 s of the function's minute at most; what outlasts them, Lambda tries again with the batch.
runtime = boto3.client(
    "sagemaker-runtime",
    config=Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3}),
)
dynamodb = boto3.resource("dynamodb")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Score a batch of Kinesis records in one request; answers the records to try again.

    A record that is no departure is tried again from there on, until Lambda gives it up to the queue: those before it
    are scored. Errors of the endpoint, throttling among them, and of the table are passed on, so that Lambda tries the
    batch again. A flight's score replaces the one it had: to be scored twice changes nothing but the model's version.
    """
    departures: list[logic.Departure] = []
    failures: list[dict[str, str]] = []
    for record in event["Records"]:
        try:
            departures.append(logic.parse(base64.b64decode(record["kinesis"]["data"])))
        except ValueError as error:
            sequence_number = record["kinesis"]["sequenceNumber"]
            print(json.dumps({"level": "ERROR", "unreadable": sequence_number, "error": str(error)}))
            failures.append({"itemIdentifier": sequence_number})
            break  # Lambda starts again here whatever comes after
    if departures:
        _keep(departures, *_ask(departures))
    print(json.dumps({"records": len(event["Records"]), "scored": len(departures), "failures": len(failures)}))
    return {"batchItemFailures": failures}


def _ask(departures: list[logic.Departure]) -> tuple[list[float], str]:
    """The probability of each departure to arrive late, and the variant that answered."""
    answer = runtime.invoke_endpoint(
        EndpointName=os.environ["ENDPOINT_NAME"],
        ContentType=JSON_LINES,
        Accept=JSON_LINES,
        # The drift monitor leaves requests out whose columns are known to be empty.
        CustomAttributes=logic.INCOMPLETE,
        Body=logic.request(departures),
    )
    return logic.answers(answer["Body"].read().decode(), len(departures)), answer["InvokedProductionVariant"]


def _keep(departures: list[logic.Departure], probabilities: list[float], variant: str) -> None:
    expires_at = int(time.time()) + int(os.environ["KEEP_DAYS"]) * 86_400
    with dynamodb.Table(os.environ["TABLE_NAME"]).batch_writer(overwrite_by_pkeys=["event_id"]) as batch:
        for departure, probability in zip(departures, probabilities, strict=True):
            flight = {name: departure[name] for name in ("event_id", "scheduled", "carrier", "origin", "dest")}
            score = {"late_probability": Decimal(str(probability)), "variant": variant, "expires_at": expires_at}
            batch.put_item(Item=flight | score)
