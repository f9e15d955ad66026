"""What becomes of the real-time job's metrics: figures for CloudWatch, and of the anomalies a notice to people."""

import base64
import csv
import functools
import json
import os
from typing import Any

import boto3
import logic

s3 = boto3.client("s3")
sns = boto3.client("sns")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer a batch of Kinesis records with those to try again; its anomalies are one message, its figures log lines.

    A record that can't be read is tried again from there on, until Lambda gives it up to the queue: those before it
    are done. A batch that is tried again tells people twice rather than never. Errors of SNS and S3 are passed on.
    """
    metrics: list[logic.Metrics] = []
    failures: list[dict[str, str]] = []
    for record in event["Records"]:
        try:
            metrics.append(logic.parse(base64.b64decode(record["kinesis"]["data"])))
        except ValueError as error:
            sequence_number = record["kinesis"]["sequenceNumber"]
            print(json.dumps({"level": "ERROR", "unreadable": sequence_number, "error": str(error)}))
            failures.append({"itemIdentifier": sequence_number})
            break  # Lambda starts again here whatever comes after
    if anomalies := [each for each in metrics if each["anomaly"]]:
        named = logic.named(anomalies, _airports())
        sns.publish(TopicArn=os.environ["TOPIC_ARN"], MessageStructure="json", **logic.notice(named))
    for figures in logic.figures(metrics, os.environ["DEPLOYMENT"]):
        print(json.dumps(figures))
    print(json.dumps({"records": len(event["Records"]), "anomalies": len(anomalies), "failures": len(failures)}))
    return {"batchItemFailures": failures}


def _airports() -> dict[str, str]:
    """Names by code; none, and a line in the log, while nobody has put the table there."""
    bucket, prefix = os.environ["REFERENCE_BUCKET"], os.environ["AIRPORTS_PREFIX"]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    if not listed:
        print(json.dumps({"level": "WARNING", "airports_without_names": f"nothing under s3://{bucket}/{prefix}"}))
    return {code: name for item in listed for code, name in _table(bucket, item["Key"], item["ETag"]).items()}


@functools.cache
def _table(bucket: str, key: str, _etag: str) -> dict[str, str]:
    """One file of the table, read once until it changes. What is no such table has no names, and stops no notice."""
    text = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode(errors="replace")
    rows = csv.DictReader(text.splitlines())
    return {row["faa"]: row["name"] for row in rows if row.get("faa") and row.get("name")}
