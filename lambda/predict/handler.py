"""Answers for flights from the endpoint."""

import json
import os
import uuid
from typing import Any

import boto3

JSON_LINES = "application/jsonlines"

runtime = boto3.client("sagemaker-runtime")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """`{"body": <one JSON object of features a line>}` -> `{"predictions": [p, ...], "variant", "event_id"}`.

    `p` is the probability of arriving more than 15 minutes late, in the order of the lines. Raises ValueError for a
    request without a body; errors of the endpoint are passed on as they are.
    """
    return ask(event)[0]


def ask(event: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The handler's answer, and the endpoint's own words."""
    body = event.get("body")
    if not isinstance(body, str) or not body.strip():
        raise ValueError('the request needs a "body" of JSON lines, one object of features per flight')
    answer = runtime.invoke_endpoint(
        EndpointName=os.environ["ENDPOINT_NAME"], ContentType=JSON_LINES, Accept=JSON_LINES, Body=body
    )
    output, variant = answer["Body"].read().decode(), answer["InvokedProductionVariant"]
    predictions = [json.loads(line)["late_probability"] for line in output.splitlines()]
    return {"predictions": predictions, "variant": variant, "event_id": str(uuid.uuid4())}, output
