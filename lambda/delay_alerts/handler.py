"""Tells people of unusual delays: reads the real-time job's metrics from its stream and publishes the anomalies."""

import base64
import json
import os
from typing import Any

import boto3

sns = boto3.client("sns")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Publish the anomalies of a batch of Kinesis records as one message; answers the records to try again.

    A record that can't be read is tried again from there on, until Lambda gives it up to the queue: those before it
    are done. A batch that is tried again tells people twice rather than never. Errors of SNS are passed on.
    """
    anomalies: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    for record in event["Records"]:
        try:
            metrics = json.loads(base64.b64decode(record["kinesis"]["data"]))
            if metrics["anomaly"]:
                anomalies.append(metrics | {"line": _line(metrics)})
        except (ValueError, KeyError, TypeError) as error:
            sequence_number = record["kinesis"]["sequenceNumber"]
            print(json.dumps({"level": "ERROR", "unreadable": sequence_number, "error": repr(error)}))
            failures.append({"itemIdentifier": sequence_number})
            break  # Lambda starts again here whatever comes after
    if anomalies:
        airports = ", ".join(sorted({anomaly["airport"] for anomaly in anomalies}))
        sns.publish(
            TopicArn=os.environ["TOPIC_ARN"],
            Subject=f"Unusual delays at {airports}"[:100],  # SNS takes no more
            Message="\n".join(anomaly["line"] for anomaly in anomalies),
        )
    print(json.dumps({"records": len(event["Records"]), "anomalies": len(anomalies), "failures": len(failures)}))
    return {"batchItemFailures": failures}


def _line(metrics: dict[str, Any]) -> str:
    return (
        f"{metrics['airport']} {metrics['window_start']}: {metrics['departed']} of {metrics['flights']} departed, "
        f"{metrics['mean_delay']:.0f} minutes late on average, {metrics['max_delay']:.0f} at most "
        f"(score {metrics['score']:.2f})"
    )
