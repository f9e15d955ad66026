"""The flight-state layer as synthesized: what becomes of what fails, what is recoverable, and what its role may do."""

from typing import Any

import pytest

from checks.assembly import Assembly, Stack, references
from components.stream_consumer import DEAD_LETTERS_PREFIX


@pytest.mark.requirement("str-kpl-kcl")
def test_what_cannot_be_processed_ends_in_quarantine_alone_and_whole(assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        mapping = one(stacks["flight-state"], "AWS::Lambda::EventSourceMapping")
        (source,) = references(mapping["EventSourceArn"])
        (bucket,) = references(mapping["DestinationConfig"]["OnFailure"]["Destination"])
        assert source.stack_name == stacks["streaming"].name
        assert bucket.target.startswith(f"{stacks['data-lake'].name}:")
        assert "Quarantine" in bucket.target
        assert mapping["BisectBatchOnFunctionError"] is True
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["StartingPosition"] == "TRIM_HORIZON"
        assert mapping["MaximumRetryAttempts"] > 0
        assert "TumblingWindowInSeconds" not in mapping


def test_records_are_given_up_before_the_stream_forgets_them(assembly: Assembly) -> None:
    """Lambda keeps what grows too old, but knows nothing of what has left the stream."""
    for stacks in assembly.environments.values():
        age = one(stacks["flight-state"], "AWS::Lambda::EventSourceMapping")["MaximumRecordAgeInSeconds"]
        streams = stacks["streaming"].resources("AWS::Kinesis::Stream")
        (flights,) = (each["Properties"] for name, each in streams.items() if name.startswith("Flights"))
        assert 0 < age < flights["RetentionPeriodHours"] * 3600


@pytest.mark.parametrize("layer", ["flight-state", "real-time", "stream-scoring"])
def test_the_table_is_encrypted_recoverable_and_kept_where_data_is(layer: str, assembly: Assembly) -> None:
    for environment, stacks in assembly.environments.items():
        (table,) = stacks[layer].resources("AWS::DynamoDB::Table").values()
        properties, kept = table["Properties"], environment != "sandbox"
        assert properties["BillingMode"] == "PAY_PER_REQUEST"
        assert properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
        assert properties["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
        (key,) = references(properties["SSESpecification"]["KMSMasterKeyId"])
        assert key.target.startswith(f"{stacks['foundation'].name}:")
        assert table["DeletionPolicy"] == ("Retain" if kept else "Delete")
        assert properties.get("DeletionProtectionEnabled", False) is kept


def test_its_role_puts_items_and_dead_letters_and_reads_the_stream(assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        policy = one(stacks["flight-state"], "AWS::IAM::Policy")
        allowed: dict[str, Any] = {
            action: statement["Resource"]
            for statement in policy["PolicyDocument"]["Statement"]
            for action in listed(statement["Action"])
        }
        of_the_table = {action for action in allowed if action.startswith("dynamodb:")}
        of_buckets = {action for action in allowed if action.startswith("s3:")}
        assert of_the_table == {"dynamodb:PutItem"}
        assert of_buckets == {"s3:ListBucket", "s3:PutObject"}
        assert f"/{DEAD_LETTERS_PREFIX}*" in str(allowed["s3:PutObject"])
        writers = {"kms", "xray", "logs", "dynamodb", "s3", "kinesis"}
        assert {action.split(":")[0] for action in allowed} == writers


def test_people_hear_when_it_is_late_fails_or_gives_up(assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        stack = stacks["flight-state"]
        topic, mapping = next(iter(stack.resources("AWS::SNS::Topic"))), "AWS::Lambda::EventSourceMapping"
        alarms = {each["Properties"]["MetricName"]: each["Properties"] for each in stack.resources(ALARM).values()}
        given_up = "OnFailureDestinationDeliveredEventCount"
        assert alarms.keys() == {"IteratorAge", "Errors", given_up}
        assert all(alarm["AlarmActions"] == [{"Ref": topic}] for alarm in alarms.values())
        assert one(stack, mapping)["MetricsConfig"] == {"Metrics": ["EventCount"]}  # which that metric needs
        (dimension,) = alarms[given_up]["Dimensions"]
        (mapped,) = references(dimension["Value"])
        assert (dimension["Name"], mapped.target) == ("EventSourceMappingUUID", next(iter(stack.resources(mapping))))


ALARM = "AWS::CloudWatch::Alarm"


def one(stack: Stack, kind: str) -> dict[str, Any]:
    """The properties of a stack's only resource of a type."""
    (resource,) = stack.resources(kind).values()
    properties: dict[str, Any] = resource["Properties"]
    return properties


def listed(value: Any) -> list[str]:
    """A list, or a list of the one."""
    return value if isinstance(value, list) else [value]
