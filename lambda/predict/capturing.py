"""As handler.py, and writes what was answered in SageMaker's data capture format: a serverless endpoint can't."""

import json
import os
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from handler import JSON_LINES, ask

# The answer waits for the capture: 7 s when S3 does not answer at all.
s3 = boto3.client(
    "s3", config=Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})
)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The answer of handler.py, once CAPTURE_BUCKET holds it.

    A capture that fails is logged as a line `{"capture_failed": 1, ...}`, and the answer given all the same.
    """
    answer, output = ask(event)
    bucket, endpoint = os.environ["CAPTURE_BUCKET"], os.environ["ENDPOINT_NAME"]
    try:
        _capture(bucket, endpoint, answer["variant"], answer["event_id"], event["body"], output)
    except (ClientError, BotoCoreError) as error:
        failure = {"capture_failed": 1, "event_id": answer["event_id"], "request_id": context.aws_request_id}
        print(json.dumps({"level": "ERROR", **failure, "error": str(error)}))
    return answer


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
