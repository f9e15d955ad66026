"""The part of the table in implicit.py for Managed Flink: the service itself, and what its Kinesis connector calls."""

from collections.abc import Callable
from typing import Any

from checks.calls.implicit import Implied
from checks.calls.workloads import Use

_FLINK = "AWS::KinesisAnalyticsV2::Application"
_ROLE = "https://docs.aws.amazon.com/managed-flink/latest/java/get-started-exercise.html"
_CONNECTOR = (
    "https://nightlies.apache.org/flink/flink-docs-release-2.2/docs/connectors/datastream/kinesis/"
    "#internally-used-kinesis-apis"
)
_READER, _LIFECYCLE = ("source.reader.type", "POLLING"), ("source.efo.lifecycle", "JOB_MANAGED")  # with their defaults


def _tables(use: Use) -> list[dict[str, Any]]:
    """The options of each Kinesis table that the application's properties describe."""
    groups = use.at("ApplicationConfiguration", "EnvironmentProperties", "PropertyGroups")
    named = [group.get("PropertyMap") for group in groups or () if isinstance(group, dict)]
    return [options for options in named if isinstance(options, dict) and options.get("connector") == "kinesis"]


def _sources(use: Use) -> list[dict[str, Any]]:
    return [options for options in _tables(use) if any(name.startswith("source.") for name in options)]


def _has_source(reader: str, *lifecycles: str) -> Callable[[Use], bool]:
    return lambda use: any(
        options.get(*_READER) == reader and (not lifecycles or options.get(*_LIFECYCLE) in lifecycles)
        for options in _sources(use)
    )


FLINK: tuple[Implied, ...] = (
    Implied(
        _FLINK,
        "logs:DescribeLogGroups logs:DescribeLogStreams logs:PutLogEvents s3:GetObject s3:ListBucket",
        "its package and its log",
        _ROLE,
    ),
    Implied(
        _FLINK,
        "kinesis:DescribeStreamSummary kinesis:ListShards kms:Decrypt",
        "the shards of an encrypted stream that it reads",
        _CONNECTOR,
        lambda use: bool(_sources(use)),
    ),
    Implied(
        _FLINK,
        "kinesis:GetRecords kinesis:GetShardIterator",
        "a stream that it reads by polling",
        _CONNECTOR,
        _has_source("POLLING"),
    ),
    Implied(
        _FLINK,
        "kinesis:DescribeStreamConsumer kinesis:SubscribeToShard",
        "a stream that it reads by enhanced fan-out",
        _CONNECTOR,
        _has_source("EFO"),
    ),
    Implied(
        _FLINK,
        "kinesis:DeregisterStreamConsumer kinesis:RegisterStreamConsumer",
        "the stream consumer that its job manages",
        _CONNECTOR,
        _has_source("EFO", "JOB_MANAGED"),
    ),
    Implied(
        _FLINK,
        "kinesis:PutRecords kms:GenerateDataKey",
        "an encrypted stream that it writes",
        _CONNECTOR,
        lambda use: len(_tables(use)) > len(_sources(use)),
    ),
    Implied(
        _FLINK,
        "kinesis:DescribeStream kinesis:DescribeStreamConsumer kinesis:DescribeStreamSummary kinesis:GetRecords "
        "kinesis:GetShardIterator kinesis:ListShards kinesis:PutRecords kinesis:SubscribeToShard "
        "kms:Decrypt kms:GenerateDataKey",
        "streams that its code names and its properties don't",
        _ROLE,
        lambda use: not _tables(use),
        needed=False,
    ),
)
