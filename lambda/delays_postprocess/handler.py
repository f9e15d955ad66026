"""What becomes of the real-time job's metrics: figures for CloudWatch, and of the anomalies a notice to people."""

import csv
import functools
import itertools
import operator
import os
from collections.abc import Iterable
from typing import Any

import boto3
import logic
import store
from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

AIRPORT = operator.itemgetter("airport")

logger = Logger()
s3 = boto3.client("s3")
# 15 seconds at most, while its minutes are claimed for store.CLAIM_SECONDS.
sns = boto3.client(
    "sns", config=Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
)


@functools.cache
def _told() -> store.Told:
    return store.Told(os.environ["TOLD_TABLE_NAME"], int(os.environ["TOLD_DAYS"]))


def read(record: KinesisStreamRecord) -> logic.Metrics:
    """An airport's minute. Raises ValueError, which names what is wrong with it."""
    return logic.parse(record.kinesis.data_as_bytes())


def tell(anomalies: list[logic.Metrics]) -> None:
    """One notice of all those that people have not been told of."""
    airports = _airports()
    with _told().untold(anomalies) as untold:
        if untold:
            notice = logic.notice(logic.named(untold, airports))
            sns.publish(TopicArn=os.environ["TOPIC_ARN"], MessageStructure="json", **notice)
    logger.info("told", extra={"anomalies": len(anomalies), "new": len(untold)})


def measure(airport: str, minutes: Iterable[logic.Metrics]) -> None:
    """One line that CloudWatch reads as metrics, of the time it came in: none may be older than two weeks."""
    metrics = EphemeralMetrics(service="")  # which would be a third dimension
    metrics.add_dimension("Deployment", os.environ["DEPLOYMENT"])
    metrics.add_dimension("Airport", airport)
    for minute in minutes:
        for name, unit, value in logic.figures(minute):
            metrics.add_metric(name, unit, value)
    metrics.flush_metrics()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Answer which records of a batch can't be read; its anomalies are one notice, its figures a line an airport.

    Lambda begins again at the first of those, until it gives them up to the queue. People hear at once of what comes
    after it, and CloudWatch when it has come again. Raises BatchProcessingError when no record can be read. Errors of
    SNS, S3 and DynamoDB are passed on before anything is measured: what they left untold is told when it comes again.
    """
    processor = BatchProcessor(EventType.KinesisDataStreams, logger=logger)
    with processor(event["Records"], read):
        outcomes = processor.process()
    if anomalies := logic.anomalies(minute for outcome, minute, _ in outcomes if outcome == "success"):
        tell(anomalies)
    done = [minute for _, minute, _ in itertools.takewhile(lambda each: each[0] == "success", outcomes)]
    for airport, minutes in itertools.groupby(sorted(done, key=AIRPORT), key=AIRPORT):
        measure(airport, minutes)
    logger.info("done", extra={"minutes": len(done), "unread": processor.response()["batchItemFailures"]})
    return processor.response()


def _airports() -> dict[str, str]:
    """Names by code; none, and a line in the log, while nobody has put the table there."""
    bucket, prefix = os.environ["REFERENCE_BUCKET"], os.environ["AIRPORTS_PREFIX"]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    if not listed:
        logger.warning("airports have no names: nothing under s3://%s/%s", bucket, prefix)
    return {code: name for item in listed for code, name in _table(bucket, item["Key"], item["ETag"]).items()}


@functools.cache
def _table(bucket: str, key: str, _etag: str) -> dict[str, str]:
    """One file of the table, read once until it changes. What is no such table has no names, and stops no notice."""
    text = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode(errors="replace")
    rows = csv.DictReader(text.splitlines())
    try:
        return {row["faa"]: row["name"] for row in rows if row.get("faa") and row.get("name")}
    except csv.Error as error:  # a value of more than 131,072 characters
        logger.warning("s3://%s/%s has no names of airports: %s", bucket, key, error)
        return {}
