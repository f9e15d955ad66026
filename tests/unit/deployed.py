"""A deployment as the producer finds it: stack outputs, and in moto the buckets and streams that they name."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.exceptions import ClientError
from moto import mock_aws

from producers import deployment

PREFIX = "millrace-sandbox"
TARGET = deployment.Target(
    {
        "weather": deployment.Stream("weather-stream", "weather-delivery"),
        "flights": deployment.Stream("stream", "delivery"),
    },
    "raw",
    "quarantine",
)


class Stacks:
    """A CloudFormation client for the outputs of some stacks (moto's needs a package more)."""

    def __init__(self, **outputs_by_layer: dict[str, str]) -> None:
        self._outputs = {f"{PREFIX}-{layer.replace('_', '-')}": it for layer, it in outputs_by_layer.items()}

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        if StackName not in self._outputs:
            raise ClientError({"Error": {"Code": "ValidationError"}}, "DescribeStacks")
        outputs = [{"OutputKey": key, "OutputValue": it} for key, it in self._outputs[StackName].items()]
        return {"Stacks": [{"Outputs": outputs}]}


STACKS = Stacks(
    data_lake={"RawBucketName": "raw", "QuarantineBucketName": "quarantine"},
    streaming={
        "StreamName": "stream",
        "DeliveryStreamName": "delivery",
        "WeatherStreamName": "weather-stream",
        "WeatherDeliveryStreamName": "weather-delivery",
    },
)


@contextmanager
def clients() -> Iterator[dict[str, Any]]:
    """The clients of that deployment by service."""
    with mock_aws():
        made = {"cloudformation": STACKS} | {name: boto3.client(name) for name in ("s3", "kinesis", "firehose")}
        for bucket in (TARGET.raw_bucket, TARGET.quarantine_bucket):
            made["s3"].create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        destination = {"RoleARN": "arn:aws:iam::123456789012:role/r", "BucketARN": "arn:aws:s3:::raw"}
        for stream in TARGET.streams.values():
            made["kinesis"].create_stream(StreamName=stream.name, ShardCount=1)
            made["firehose"].create_delivery_stream(
                DeliveryStreamName=stream.delivery, ExtendedS3DestinationConfiguration=destination
            )
        yield made


def received(kinesis: Any, stream: str) -> list[tuple[str, bytes]]:
    """Keys and bytes of all records of a stream of one shard."""
    (shard,) = kinesis.list_shards(StreamName=stream)["Shards"]
    start = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    records = kinesis.get_records(ShardIterator=start["ShardIterator"], Limit=10_000)["Records"]
    return [(record["PartitionKey"], record["Data"]) for record in records]
