"""Asks the endpoint about each flight of the departures stream before it departs, and keeps the answers by flight."""

import os
import time
from decimal import Decimal
from typing import Any

import boto3
import logic
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

JSON_LINES = "application/jsonlines"

logger = Logger()
# A container, serverless or not, has 60 seconds to answer, and AWS says to wait for 70; one that a serverless endpoint
# has to start first may take longer still, and is there for the second attempt. Both fit into the function's time.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
# https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-invoke.html
runtime = boto3.client(
    "sagemaker-runtime",
    config=Config(connect_timeout=2, read_timeout=70, retries={"mode": "standard", "total_max_attempts": 2}),
)
dynamodb = boto3.resource(
    "dynamodb", config=Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 3})
)


def read(record: KinesisStreamRecord) -> logic.Departure:
    """A departure. Raises ValueError, which names what is wrong with it."""
    return logic.parse(record.kinesis.data_as_bytes())


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Score a batch of Kinesis records in one request; answer which can't be read.

    Lambda begins again at the first of those, until it gives them up to the queue; the others are scored all the same.
    Raises BatchProcessingError when none can be read. Errors of the endpoint, throttling among them, and of the table
    are passed on, so that Lambda tries the batch again. A flight's score replaces the one it had: to be scored twice
    changes nothing but the model's version.
    """
    processor = BatchProcessor(EventType.KinesisDataStreams, logger=logger)
    with processor(event["Records"], read):
        departures = [departure for outcome, departure, _ in processor.process() if outcome == "success"]
    _keep(departures, *_ask(departures))
    logger.info("done", extra={"scored": len(departures), "unread": processor.response()["batchItemFailures"]})
    return processor.response()


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
