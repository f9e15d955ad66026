"""The post-processor on a stream of the local cloud: SNS refuses, batches come again, and people hear of all once."""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local.tools import ROOT

pytestmark = pytest.mark.local

Client = Callable[[str], Any]
NAME, TOPIC = "delays-postprocess", "arn:aws:sns:{}:000000000000:delay-alerts"
MINUTE = {
    "airport": "JFK", "window_start": "2013-01-01T10:45:00Z", "flights": 3, "departed": 2, "mean_delay": 200.0,
    "max_delay": 240.0, "share_late": 1.0, "score": 1.7, "anomaly": True,
}  # fmt: skip
REFUSED = [MINUTE | {"airport": airport} for airport in ("JFK", "LGA")]
LATER = [MINUTE | {"window_start": "2013-01-01T10:46:00Z", "airport": airport} for airport in ("EWR", "JFK")]
LAST = MINUTE | {"window_start": "2013-01-01T10:47:00Z"}


@pytest.fixture
def topic(client: Client) -> str:
    """The ARN of a topic that nobody has made yet; the function reads a stream and would publish to it."""
    code, found = io.BytesIO(), TOPIC.format(client("sns").meta.region_name)
    with zipfile.ZipFile(code, "w") as archive:
        for path in (ROOT / "lambda" / "delays_postprocess").glob("*.py"):
            archive.write(path, path.name)
    client("s3").create_bucket(Bucket="airports")
    client("dynamodb").create_table(
        TableName="told", BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )  # fmt: skip
    variables = {
        "TOPIC_ARN": found, "TOLD_TABLE_NAME": "told", "TOLD_DAYS": "1", "REFERENCE_BUCKET": "airports",
        "AIRPORTS_PREFIX": "reference/", "DEPLOYMENT": "test", "POWERTOOLS_METRICS_NAMESPACE": "Millrace/Delays",
    }  # fmt: skip
    client("lambda").create_function(
        FunctionName=NAME, Runtime="python3.14", Handler="handler.handler", Timeout=60,
        Role="arn:aws:iam::000000000000:role/postprocess", Code={"ZipFile": code.getvalue()},
        Environment={"Variables": variables},
    )  # fmt: skip
    client("kinesis").create_stream(StreamName=NAME, ShardCount=1)
    summary = client("kinesis").describe_stream_summary(StreamName=NAME)["StreamDescriptionSummary"]
    client("lambda").create_event_source_mapping(
        FunctionName=NAME, EventSourceArn=summary["StreamARN"], StartingPosition="TRIM_HORIZON", BatchSize=100,
        MaximumBatchingWindowInSeconds=1, BisectBatchOnFunctionError=True,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )  # fmt: skip
    return found


@pytest.mark.requirement("str-kda-lambda")
def test_people_hear_of_every_minute_once(client: Client, topic: str) -> None:
    put(client, *REFUSED)
    wait(lambda: any("Topic does not exist" in line for line in log(client)), "SNS to refuse a notice")
    client("sns").create_topic(Name=topic.rpartition(":")[2])
    queue = client("sqs").create_queue(QueueName="people")["QueueUrl"]
    arn = client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    told: list[list[dict[str, Any]]] = []

    def heard(minute: dict[str, Any]) -> bool:
        told.extend(notices(client, queue))
        return any(named(minute) == named(each) for notice in told for each in notice)

    for minute in REFUSED:
        wait(lambda minute=minute: heard(minute), f"a notice of {minute['airport']}")
    put(client, *REFUSED, *LATER)
    wait(lambda: heard(LATER[0]), "a notice of what is new")
    put(client, *LATER, *REFUSED, LAST)
    wait(lambda: heard(LAST), "the last notice")
    of_refused = [[named(minute)] for minute in REFUSED]  # Lambda halved their batch
    assert [[named(minute) for minute in notice] for notice in told] == [
        *of_refused,
        [named(minute) for minute in LATER],
        [named(LAST)],
    ]


def named(minute: dict[str, Any]) -> tuple[str, str]:
    """What a minute is known by."""
    return minute["airport"], minute["window_start"]


def put(client: Client, *minutes: dict[str, Any]) -> None:
    """Put minutes onto the stream in one call."""
    records = [{"Data": json.dumps(minute).encode(), "PartitionKey": "same"} for minute in minutes]
    client("kinesis").put_records(StreamName=NAME, Records=records)


def notices(client: Client, queue: str) -> Iterator[list[dict[str, Any]]]:
    """The minutes of each notice since it was last asked."""
    for message in client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        yield json.loads(json.loads(message["Body"])["Message"])


def log(client: Client) -> list[str]:
    """What the function has logged; nothing before its first batch."""
    logs, group = client("logs"), f"/aws/lambda/{NAME}"
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return []
    return [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]


def wait(done: Callable[[], bool], what: str) -> None:
    """Until it is done, as long as a busy machine may take."""
    deadline = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.2)
