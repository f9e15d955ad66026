"""Answers for flights from the endpoint, and writes what it answered in SageMaker's data capture format."""

import json
import os
import uuid
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

JSON_LINES = "application/jsonlines"

runtime = boto3.client("sagemaker-runtime")
# The answer waits for the capture: 7 s when S3 does not answer at all.
s3 = boto3.client(
    "s3", config=Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})
)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """`{"body": <one JSON object of features a line>}` -> `{"predictions": [p, ...], "variant", "event_id"}`.

    `p` is the probability of arriving more than 15 minutes late, in the order of the lines. Raises ValueError for a
    request without a body; errors of the endpoint are passed on as they are. A capture that fails is logged as a line
    `{"capture_failed": 1, ...}`, and the answer given all the same.
    """
    body = event.get("body")
    if not isinstance(body, str) or not body.strip():
        raise ValueError('the request needs a "body" of JSON lines, one object of features per flight')
    endpoint = os.environ["ENDPOINT_NAME"]
    answer = runtime.invoke_endpoint(EndpointName=endpoint, ContentType=JSON_LINES, Accept=JSON_LINES, Body=body)
    output, variant = answer["Body"].read().decode(), answer["InvokedProductionVariant"]
    event_id = str(uuid.uuid4())
    if bucket := os.environ["CAPTURE_BUCKET"]:
        try:
            _capture(bucket, endpoint, variant, event_id, body, output)
        except (ClientError, BotoCoreError) as error:
            failure = {"capture_failed": 1, "event_id": event_id, "request_id": context.aws_request_id}
            print(json.dumps({"level": "ERROR", **failure, "error": str(error)}))
    predictions = [json.loads(line)["late_probability"] for line in output.splitlines()]
    return {"predictions": predictions, "variant": variant, "event_id": event_id}


def _capture(bucket: str, endpoint: str, variant: str, event_id: str, body: str, output: str) -> None:
    now = datetime.now(UTC)
    record = {
        "captureData": {
            "endpointInput": _captured(body, "INPUT"),
            "endpointOutput": _captured(output, "OUTPUT"),
        },
        "eventMetadata": {"eventId": event_id, "inferenceTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")},
        "eventVersion": "0",
    }
    key = f"{endpoint}/{variant}/{now:%Y/%m/%d/%H/%M-%S}-{now.microsecond // 1000:03d}-{event_id}.jsonl"
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(record) + "\n", ContentType=JSON_LINES)


def _captured(data: str, mode: str) -> dict[str, str]:
    return {"observedContentType": JSON_LINES, "mode": mode, "data": data, "encoding": "JSON"}
