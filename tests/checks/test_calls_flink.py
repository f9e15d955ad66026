"""What a Flink application needs of its role, by what its properties say of its Kinesis tables."""

import re
from pathlib import Path
from typing import Any

import pytest

from checks.calls import findings
from tests.checks.made import assembly

SERVICE = ["logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:PutLogEvents", "s3:GetObject", "s3:ListBucket"]
SHARDS = ["kinesis:DescribeStreamSummary", "kinesis:ListShards", "kms:Decrypt"]
POLL, FAN_OUT = (
    ["kinesis:GetRecords", "kinesis:GetShardIterator"],
    ["kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"],
)
MANAGE = ["kinesis:DeregisterStreamConsumer", "kinesis:RegisterStreamConsumer"]
WRITE = ["kinesis:PutRecords", "kms:GenerateDataKey"]
START = {"source.init.position": "LATEST"}
EFO = {"source.reader.type": "EFO"}


@pytest.mark.parametrize(
    ("tables", "needed"),
    [
        ([START], [*SHARDS, *POLL]),
        ([EFO | {"source.efo.lifecycle": "SELF_MANAGED"}], [*SHARDS, *FAN_OUT]),
        ([EFO], [*SHARDS, *FAN_OUT, *MANAGE]),
        ([{"format": "json"}], WRITE),
        ([START, {"format": "json"}], [*SHARDS, *POLL, *WRITE]),
    ],
)
def test_each_reader_and_writer_needs_its_own_actions_and_no_others(
    tables: list[dict[str, str]], needed: list[str], tmp_path: Path
) -> None:
    others = {*SHARDS, *POLL, *FAN_OUT, *MANAGE, *WRITE} - {*needed, "kms:Decrypt"}  # which its package may need
    assert _found(tmp_path, tables, [*SERVICE, *needed]) == []
    assert _found(tmp_path, tables, SERVICE) == sorted(("calls-missing", action) for action in needed)
    unused = sorted(("calls-unused", action) for action in others)
    assert _found(tmp_path, tables, [*SERVICE, *needed, *others]) == unused


def test_streams_that_only_the_code_knows_may_be_read_and_need_not_be(tmp_path: Path) -> None:
    assert _found(tmp_path, [], SERVICE) == []
    assert _found(tmp_path, [], [*SERVICE, *SHARDS, *POLL, *WRITE]) == []


def _found(folder: Path, tables: list[dict[str, str]], allowed: list[str]) -> list[tuple[str, str]]:
    """(rule, action) of each finding in an application of these Kinesis tables with this role."""
    groups = [
        {"PropertyGroupId": str(n), "PropertyMap": {"connector": "kinesis", **each}} for n, each in enumerate(tables)
    ]
    policy = {"PolicyDocument": {"Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}]}}
    resources: dict[str, Any] = {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"Policies": [policy]}},
        "Job": {
            "Type": "AWS::KinesisAnalyticsV2::Application",
            "Properties": {
                "ServiceExecutionRole": {"Fn::GetAtt": ["Role", "Arn"]},
                "ApplicationConfiguration": {"EnvironmentProperties": {"PropertyGroups": groups}},
            },
        },
    }
    found = findings(assembly(folder, {"stack": {"Resources": resources}}))
    return sorted((each.rule, re.findall(r"allows? ([\w:]+)", each.message)[0]) for each in found)
