"""Contract tests of local/hooks/firehose.py: a delivery stream on a Kinesis stream delivers as AWS's does."""

import io
import json
import time
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from tests.local.delivery import HANDLER, ROLE, created, eventually, objects, stream

pytestmark = pytest.mark.local

COLUMNS = [("id", "int"), ("delay", "double"), ("name", "string"), ("seen", "timestamp"), ("tags", "array<string>")]
PREFIX = "flights/day=!{partitionKeyFromLambda:day}/"
ERRORS = "errors/!{firehose:error-output-type}/"
PARQUET = {
    "Enabled": True,
    "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
    "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
    "SchemaConfiguration": {"DatabaseName": "firehose", "TableName": "raw", "RoleARN": ROLE},
}
ORC = PARQUET | {"OutputFormatConfiguration": {"Serializer": {"OrcSerDe": {}}}}
BACKUP = {"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::firehose-raw", "Prefix": "source/"}
GZIP, BY_DAY = {"CompressionFormat": "GZIP"}, {"Prefix": PREFIX, "ErrorOutputPrefix": ERRORS}
DESTINATION: dict[str, Any] = {
    "RoleARN": ROLE,
    "BucketARN": "arn:aws:s3:::firehose-raw",
    "Prefix": PREFIX,
    "ErrorOutputPrefix": ERRORS,
    "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 60},
    "DynamicPartitioningConfiguration": {"Enabled": True},
    "DataFormatConversionConfiguration": PARQUET,
    "S3BackupMode": "Enabled",
    "S3BackupConfiguration": BACKUP,
}
GOOD = [
    {"id": i, "delay": i if i % 2 else i / 4, "name": f"f{i}", "seen": "2013-01-05 05:00:00", "tags": ["a"],
     "extra": 1, "day": f"0{1 + i % 3}"} for i in range(3000)
]  # fmt: skip
BAD = [{"kind": "Dropped"}, {"kind": "ProcessingFailed"}, {"kind": "lost"}, {"id": 1}, {"id": 2.5, "day": "01"}]
SENT = [json.dumps(record).encode() for record in [*GOOD[:1500], *BAD, *GOOD[1500:]]]


@pytest.fixture(scope="module")
def source(client: Callable[[str], Any]) -> dict[str, Any]:
    """A stream of two shards, a processor, a table and a bucket; the settings of a delivery stream on them."""
    client("s3").create_bucket(Bucket="firehose-raw")
    client("glue").create_database(DatabaseInput={"Name": "firehose"})
    columns = [{"Name": name, "Type": kind} for name, kind in COLUMNS]
    client("glue").create_table(
        DatabaseName="firehose", TableInput={"Name": "raw", "StorageDescriptor": {"Columns": columns}}
    )
    settings = stream(client, "events", shards=2)
    client("kinesis").put_record(StreamName="events", Data=b"before", PartitionKey="a")
    processing = created(client, "transform", HANDLER)
    return settings | {"ExtendedS3DestinationConfiguration": DESTINATION | {"ProcessingConfiguration": processing}}


@pytest.fixture(scope="module")
def delivered(client: Callable[[str], Any], source: dict[str, Any]) -> dict[str, bytes]:
    """What a delivery stream makes of 3,000 good records on three days and some that aren't."""
    client("firehose").create_delivery_stream(DeliveryStreamName="delivery", **source)
    for start in range(0, len(SENT), 500):
        batch = [{"Data": body, "PartitionKey": str(hash(body))} for body in SENT[start : start + 500]]
        client("kinesis").put_records(StreamName="events", Records=batch)
    eventually(lambda: objects(client, "errors/format-conversion-failed/"))
    return objects(client, "")


def test_one_typed_object_a_partition(delivered: dict[str, bytes]) -> None:
    """Every record since creation arrives once, in one Parquet object a day with the table's types."""
    parquet = {key: pq.read_table(io.BytesIO(body)) for key, body in delivered.items() if key.startswith("flights/")}
    assert [key.rpartition("/")[0] for key in parquet] == [f"flights/day=0{day}" for day in (1, 2, 3)]
    assert all(key.rpartition("/")[2].startswith("delivery-1-20") and key.endswith(".parquet") for key in parquet)
    kinds = ["int32", "double", "string", "timestamp[ns]", "list<element: string>"]
    assert all([str(kind) for kind in table.schema.types] == kinds for table in parquet.values())
    ids = [value for table in parquet.values() for value in table["id"].to_pylist()]
    assert sorted(ids) == list(range(3000))


def test_failures_keep_the_record_under_the_error_prefix(delivered: dict[str, bytes]) -> None:
    """What the processor rejects, loses or can't partition, and what doesn't convert, is there with the reason."""
    lines = [json.loads(line) for key, body in delivered.items() if key.startswith("errors/processing-failed/")
             for line in body.splitlines()]  # fmt: skip
    reasons = {json.dumps(json.loads(b64decode(line["rawData"]))): line["errorCode"] for line in lines}
    assert reasons == {
        '{"kind": "ProcessingFailed"}': "Lambda.ProcessingFailedStatus",
        '{"kind": "lost"}': "Lambda.MissingRecordId",
        '{"id": 1}': "DynamicPartitioning.MissingKey",
    }
    fields = {"attemptsMade", "arrivalTimestamp", "errorCode", "errorMessage", "attemptEndingTimestamp", "rawData"}
    assert all(line.keys() == {*fields, "lambdaArn"} and line["attemptsMade"] == 1 for line in lines)
    key = next(key for key in delivered if key.startswith("errors/format-conversion-failed/"))
    (line,) = map(json.loads, delivered[key].splitlines())
    assert json.loads(b64decode(line["rawData"])) == {"id": 2.5, "day": "01"}
    assert line["lastErrorCode"] == "DataFormatConversion.MalformedData"


@pytest.mark.requirement("str-firehose-no-replay")
def test_source_records_are_backed_up_as_they_came(client: Callable[[str], Any], delivered: dict[str, bytes]) -> None:
    """Every record, refused or not, is there once, with nothing added between two."""
    ((key, body),) = ((key, body) for key, body in delivered.items() if key.startswith("source/"))
    assert key.startswith(time.strftime("source/%Y/%m/", time.gmtime()))
    assert len(body) == sum(map(len, SENT))
    assert sorted(body.replace(b"}{", b"}\n{").splitlines()) == sorted(SENT)


@pytest.mark.usefixtures("source")
def test_two_delivery_streams_side_by_side(client: Callable[[str], Any]) -> None:
    """Each reads its own stream, calls its own function and writes under its own prefix."""
    kinesis = client("kinesis")
    for name in ("flights", "weather"):
        code = HANDLER.replace("data = json.loads(", f'data = {{"by": "{name}"}} | json.loads(')
        destination: dict[str, Any] = {
            "RoleARN": ROLE,
            "BucketARN": "arn:aws:s3:::firehose-raw",
            "Prefix": f"both/{name}/",
        }
        destination |= {"ProcessingConfiguration": created(client, f"transform-{name}", code)}
        settings = stream(client, name, shards=1) | {"ExtendedS3DestinationConfiguration": destination}
        client("firehose").create_delivery_stream(DeliveryStreamName=name, **settings)
    for batch in range(10):
        for name in ("flights", "weather"):
            bodies = [json.dumps({"of": name, "n": batch * 100 + i}).encode() for i in range(100)]
            records = [{"Data": body, "PartitionKey": "a"} for body in bodies]
            kinesis.put_records(StreamName=name, Records=records)

    def rows() -> list[Any]:
        return [json.loads(line) for body in objects(client, "both/").values() for line in body.splitlines()]

    eventually(lambda: len(rows()) >= 2000)
    sent = [{"by": name, "of": name, "n": n} for name in ("flights", "weather") for n in range(1000)]
    assert sorted(rows(), key=lambda row: (row["by"], row["n"])) == sent
    assert all(key.split("/")[1].encode() in body for key, body in objects(client, "both/").items())
    for name in ("flights", "weather"):
        client("firehose").delete_delivery_stream(DeliveryStreamName=name)


def test_update_retries_and_delete(
    client: Callable[[str], Any], source: dict[str, Any], delivered: dict[str, bytes]
) -> None:
    """An updated prefix counts from the next flush; a failed invocation is retried; deleting flushes what is held."""
    firehose, kinesis = client("firehose"), client("kinesis")
    kept = ("RoleARN", "BucketARN", "ErrorOutputPrefix", "BufferingHints", "ProcessingConfiguration")
    plain = {name: source["ExtendedS3DestinationConfiguration"][name] for name in kept} | {"Prefix": "before/"}
    firehose.create_delivery_stream(
        DeliveryStreamName="plain", **source | {"ExtendedS3DestinationConfiguration": plain}
    )
    kinesis.put_record(StreamName="events", Data=b'{"kind": "crash"}', PartitionKey="a")
    (failed,) = eventually(lambda: objects(client, "errors/processing-failed/plain")).values()
    assert json.loads(failed)["errorCode"] == "Lambda.FunctionError"
    assert json.loads(failed)["attemptsMade"] == 2
    described = firehose.describe_delivery_stream(DeliveryStreamName="plain")["DeliveryStreamDescription"]
    firehose.update_destination(
        DeliveryStreamName="plain", CurrentDeliveryStreamVersionId=described["VersionId"],
        DestinationId=described["Destinations"][0]["DestinationId"],
        ExtendedS3DestinationUpdate={"Prefix": "after/!{timestamp:yyyy}/"},
    )  # fmt: skip
    for number in range(3):
        kinesis.put_record(StreamName="events", Data=json.dumps({"n": number}).encode(), PartitionKey="same")
    firehose.delete_delivery_stream(DeliveryStreamName="plain")

    def found() -> dict[str, bytes]:
        kinesis.put_record(StreamName="events", Data=b'{"n": 3}', PartitionKey="same")  # no worker has nothing to do
        return objects(client, "after/")

    ((key, body),) = eventually(found).items()
    assert key.startswith(f"after/{time.gmtime().tm_year}/plain-2-")
    assert body.startswith(b'{"n": 0}\n{"n": 1}\n{"n": 2}\n')
    assert not objects(client, "before/")


@pytest.fixture(scope="module")
def sound(client: Callable[[str], Any], source: dict[str, Any]) -> dict[str, str]:
    """A delivery stream as UpdateDestination names it."""
    client("firehose").create_delivery_stream(DeliveryStreamName="sound", **source)
    described = client("firehose").describe_delivery_stream(DeliveryStreamName="sound")["DeliveryStreamDescription"]
    return {
        "DeliveryStreamName": "sound",
        "CurrentDeliveryStreamVersionId": described["VersionId"],
        "DestinationId": described["Destinations"][0]["DestinationId"],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 60}}, "at least 64 for data format conversion"),
        ({"ErrorOutputPrefix": ""}, "ErrorOutputPrefix cannot be null or empty"),
        ({"Prefix": "flights/"}, "must contain partitionKey namespaces"),
        ({"DynamicPartitioningConfiguration": {"Enabled": False}}, "when Dynamic Partitioning is enabled, and only"),
        ({"CompressionFormat": "GZIP", "CustomTimeZone": "CET"}, "CompressionFormat, CustomTimeZone: not in the local"),
        ({"DataFormatConversionConfiguration": ORC}, "OrcSerDe: not in the local cloud"),
        ({"S3BackupConfiguration": BACKUP | GZIP}, r"S3BackupConfiguration\.CompressionFormat: not in the local cloud"),
        ({"S3BackupConfiguration": BACKUP | {"Prefix": "!{timestamp:yyyy}/"}}, "ErrorOutputPrefix cannot be null or"),
        ({"S3BackupConfiguration": BACKUP | BY_DAY}, "cannot contain partitionKey namespaces"),
    ],
)
def test_refuses_what_would_not_work(
    client: Callable[[str], Any], source: dict[str, Any], sound: dict[str, str], change: dict[str, Any], message: str
) -> None:
    """A destination that AWS would not take, or that isn't supported here, is neither created nor updated to."""
    destination = source["ExtendedS3DestinationConfiguration"] | change
    with pytest.raises(ClientError, match=message) as refused:
        client("firehose").create_delivery_stream(
            DeliveryStreamName="bad", **source | {"ExtendedS3DestinationConfiguration": destination}
        )
    assert refused.value.response["Error"]["Code"] == "InvalidArgumentException"
    if "S3BackupConfiguration" in change:  # which an update calls S3BackupUpdate, and that is refused by name
        change, message = {"S3BackupUpdate": change["S3BackupConfiguration"]}, "S3BackupUpdate: not in the local cloud"
    with pytest.raises(ClientError, match=message) as refused:
        client("firehose").update_destination(**sound, ExtendedS3DestinationUpdate=change)
    assert refused.value.response["Error"]["Code"] == "InvalidArgumentException"


def test_an_update_of_a_stack_is_refused_likewise(deploy_stack: Callable[..., Any]) -> None:
    def template(**destination: Any) -> dict[str, Any]:
        given = {"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::firehose-raw", **destination}
        properties = {"DeliveryStreamType": "DirectPut", "ExtendedS3DestinationConfiguration": given}
        return {"Resources": {"Delivery": {"Type": "AWS::KinesisFirehose::DeliveryStream", "Properties": properties}}}

    deploy_stack("delivery", template(Prefix="before/"))
    with pytest.raises(AssertionError, match="S3BackupConfiguration with a BucketARN is needed"):
        deploy_stack("delivery", template(S3BackupMode="Enabled"))
