"""Contract tests of local/hooks/kinesis_lambda.py: a function reads a stream in order, and nothing gets lost."""

import base64
import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.local

Client = Callable[[str], Any]
ROLE = "arn:aws:iam::000000000000:role/reader"
BUCKET = "kinesis-lambda"
# Notes what it is given before it does what the records say.
HANDLER = """
import base64, json, time
import boto3

s3 = boto3.client("s3")

def handler(event, context):
    stream = event["Records"][0]["eventSourceARN"].rpartition("/")[2]
    records = [(each["kinesis"]["sequenceNumber"], json.loads(base64.b64decode(each["kinesis"]["data"])))
               for each in event["Records"]]
    seen = json.dumps([record["n"] for _, record in records])
    s3.put_object(Bucket="kinesis-lambda", Key=f"seen/{stream}/{time.time_ns()}", Body=seen.encode())
    tries = s3.list_objects_v2(Bucket="kinesis-lambda", Prefix=f"seen/{stream}/")["KeyCount"]
    if any(record.get("raises", 0) >= tries for _, record in records):
        raise RuntimeError("on purpose")
    failed = [number for number, record in reversed(records) if record.get("fails")]
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}
"""
PARTIAL = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
ALWAYS = 1_000


@pytest.fixture(scope="module")
def function(client: Client) -> str:
    """The function's name; its bucket is there too."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("handler.py", HANDLER)
    client("s3").create_bucket(Bucket=BUCKET)
    client("lambda").create_function(
        FunctionName="reader", Runtime="python3.12", Handler="handler.handler", Role=ROLE, Timeout=60,
        Code={"ZipFile": code.getvalue()},
    )  # fmt: skip
    return "reader"


@pytest.fixture
def stream(client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a stream of one shard, and no mapping when the test ends."""
    name = re.sub(r"\W", "-", request.node.name)
    client("kinesis").create_stream(StreamName=name, ShardCount=1)
    yield name
    for mapping in client("lambda").list_event_source_mappings(EventSourceArn=arn(client, name))["EventSourceMappings"]:
        client("lambda").delete_event_source_mapping(UUID=mapping["UUID"])


def arn(client: Client, stream: str) -> str:
    """The ARN of a stream."""
    summary = client("kinesis").describe_stream_summary(StreamName=stream)
    return summary["StreamDescriptionSummary"]["StreamARN"]


def put(client: Client, stream: str, *records: dict[str, Any]) -> list[str]:
    """Put records numbered from 0 in one call; their sequence numbers."""
    entries = [
        {"Data": json.dumps({"n": n} | record).encode(), "PartitionKey": "same"} for n, record in enumerate(records)
    ]
    answer = client("kinesis").put_records(StreamName=stream, Records=entries)
    return [record["SequenceNumber"] for record in answer["Records"]]


def read(client: Client, stream: str, function: str, **settings: Any) -> str:
    """Map a stream to the function, from its start; the mapping's id."""
    given = {"StartingPosition": "TRIM_HORIZON", "BatchSize": 8, "MaximumBatchingWindowInSeconds": 1} | settings
    answer = client("lambda").create_event_source_mapping(
        EventSourceArn=arn(client, stream), FunctionName=function, **given
    )
    return answer["UUID"]


def objects(client: Client, prefix: str) -> dict[str, Any]:
    """The documents below a prefix, by key."""
    found = client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return {
        item["Key"]: json.loads(client("s3").get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read())
        for item in found
    }


def batches(client: Client, stream: str, count: int) -> list[list[int]]:
    """The numbers in each of the function's invocations, once there are so many, and no more a moment later."""
    deadline = time.monotonic() + 60
    while len(seen := objects(client, f"seen/{stream}/")) < count:
        assert time.monotonic() < deadline, f"only {list(seen.values())}"
        time.sleep(0.1)
    time.sleep(0.5)
    return list(objects(client, f"seen/{stream}/").values())


def test_halving_leaves_the_poison_alone_and_a_queue_hears_of_it(client: Client, stream: str, function: str) -> None:
    queue = client("sqs").create_queue(QueueName="poison")["QueueUrl"]
    destination = {"OnFailure": {"Destination": f"arn:aws:sqs:us-east-1:000000000000:{queue.rpartition('/')[2]}"}}
    numbers = put(client, stream, *({"raises": ALWAYS} if n == 5 else {} for n in range(8)))
    settings = {"BisectBatchOnFunctionError": True, "MaximumRetryAttempts": 1, "DestinationConfig": destination}
    read(client, stream, function, **settings)
    assert batches(client, stream, 8) == [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [4, 5],
        [4],
        [5],
        [5],
        [6, 7],
    ]
    (message,) = client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5)["Messages"]
    document = json.loads(message["Body"])
    context, batch = document["requestContext"], document["KinesisBatchInfo"]
    assert document.keys() == {"requestContext", "responseContext", "version", "timestamp", "KinesisBatchInfo"}
    assert context["condition"] == "RetryAttemptsExhausted"
    assert context["approximateInvokeCount"] == 2
    assert context["functionArn"].endswith(":function:reader")
    expected = {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert document["responseContext"] == expected
    assert batch["startSequenceNumber"] == batch["endSequenceNumber"] == numbers[5]
    assert (batch["batchSize"], batch["streamArn"]) == (1, arn(client, stream))
    assert batch["approximateArrivalOfFirstRecord"].endswith("Z")


def test_from_the_lowest_record_that_failed_on_and_a_bucket_gets_it_whole(
    client: Client, stream: str, function: str
) -> None:
    destination = {"OnFailure": {"Destination": f"arn:aws:s3:::{BUCKET}"}}
    put(client, stream, {}, {}, {"fails": True, "who": "I"}, {}, {}, {"fails": True})
    settings = {"BisectBatchOnFunctionError": True, "MaximumRetryAttempts": 1, "DestinationConfig": destination}
    mapping = read(client, stream, function, **settings, **PARTIAL)
    given = batches(client, stream, 9)
    assert given == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5], [2, 3], [2], [2], [3], [4, 5], [5], [5]]
    kept = objects(client, f"aws/lambda/{mapping}/").items()
    first, second = sorted(kept, key=lambda item: item[1]["KinesisBatchInfo"]["startSequenceNumber"])
    assert re.fullmatch(
        rf"aws/lambda/{mapping}/shardId-0{{12}}/\d{{4}}/\d\d/\d\d/[\d-]{{10}}T\d\d\.\d\d\.\d\d-[0-9a-f-]{{36}}",
        first[0],
    )
    assert "functionError" not in first[1]["responseContext"]
    (record,) = json.loads(first[1]["payload"])["Records"]
    assert json.loads(base64.b64decode(record["kinesis"]["data"])) == {"n": 2, "fails": True, "who": "I"}
    assert json.loads(second[1]["payload"])["Records"][0]["eventID"].startswith("shardId-000000000000:")


def test_what_fails_for_a_while_is_tried_again_before_what_follows(client: Client, stream: str, function: str) -> None:
    put(client, stream, {}, {"raises": 2}, {}, {}, {})
    read(client, stream, function, BatchSize=3)
    assert batches(client, stream, 4) == [[0, 1, 2], [0, 1, 2], [0, 1, 2], [3, 4]]


def test_a_record_that_is_too_old_is_given_up(client: Client, stream: str, function: str) -> None:
    destination = {"OnFailure": {"Destination": f"arn:aws:s3:::{BUCKET}"}}
    settings = {"MaximumBatchingWindowInSeconds": 0, "MaximumRecordAgeInSeconds": 3, "DestinationConfig": destination}
    mapping = read(client, stream, function, **settings)
    put(client, stream, {"raises": ALWAYS})
    deadline = time.monotonic() + 60
    while not (found := objects(client, f"aws/lambda/{mapping}/")) and time.monotonic() < deadline:
        time.sleep(0.1)
    (document,) = found.values()
    assert document["requestContext"]["condition"] == "RecordAgeExceeded"
    assert document["requestContext"]["approximateInvokeCount"] == len(objects(client, f"seen/{stream}/")) > 0


def test_latest_counts_from_the_mapping_on_and_a_disabled_one_waits(client: Client, stream: str, function: str) -> None:
    put(client, stream, {})
    mapping = read(client, stream, function, StartingPosition="LATEST", MaximumBatchingWindowInSeconds=0)
    put(client, stream, {"n": 7})
    assert batches(client, stream, 1) == [[7]]
    client("lambda").update_event_source_mapping(UUID=mapping, Enabled=False)
    put(client, stream, {"n": 8})
    assert batches(client, stream, 1) == [[7]]
    client("lambda").update_event_source_mapping(UUID=mapping, Enabled=True)
    assert batches(client, stream, 2) == [[7], [8]]


TOPIC = {"OnFailure": {"Destination": "arn:aws:sns:us-east-1:000000000000:topic"}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"TumblingWindowInSeconds": 60}, "TumblingWindowInSeconds: not in the local cloud"),
        ({"FilterCriteria": {"Filters": [{"Pattern": "{}"}]}}, "FilterCriteria: not in the local cloud"),
        ({"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1}, "AT_TIMESTAMP, StartingPositionTimest"),
        ({"DestinationConfig": TOPIC}, "sns: not in the local cloud"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    client: Client, stream: str, function: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=message):
        read(client, stream, function, **settings)
    mapping = read(client, stream, function)
    if "StartingPosition" not in settings:
        with pytest.raises(ClientError, match=message):
            client("lambda").update_event_source_mapping(UUID=mapping, **settings)


def test_a_template_is_refused_likewise(client: Client, stream: str, function: str, deploy_stack: Any) -> None:
    properties = {"FunctionName": function, "EventSourceArn": arn(client, stream), "StartingPosition": "LATEST"}
    resource = {"Type": "AWS::Lambda::EventSourceMapping", "Properties": properties | {"TumblingWindowInSeconds": 60}}
    with pytest.raises(AssertionError, match="TumblingWindowInSeconds: not in the local cloud"):
        deploy_stack("reads", {"Resources": {"Reads": resource}})
