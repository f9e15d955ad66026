"""The real-time layer as synthesized: what Flink may read and write, how it is sized, and who hears of anomalies."""

import json
from typing import Any

import pytest

from checks.assembly import Assembly, Stack, references
from stacks.real_time import RealTimeOptions

APPLICATION = "AWS::KinesisAnalyticsV2::Application"


@pytest.mark.requirement("str-msf")
def test_the_application_runs_flink_2_2_with_checkpoints_and_snapshots(assembly: Assembly) -> None:
    for stack in _stacks(assembly):
        application = _application(stack)
        configuration = application["ApplicationConfiguration"]
        settings = configuration["FlinkApplicationConfiguration"]
        assert application["RuntimeEnvironment"] == "FLINK-2_2"
        assert settings["CheckpointConfiguration"]["CheckpointingEnabled"] is True
        assert configuration["ApplicationSnapshotConfiguration"]["SnapshotsEnabled"] is True


@pytest.mark.requirement("str-msf")
def test_it_scales_by_itself_but_in_the_sandbox(assembly: Assembly) -> None:
    scaling = {
        environment: _application(stacks["real-time"])["ApplicationConfiguration"]["FlinkApplicationConfiguration"][
            "ParallelismConfiguration"
        ]["AutoScalingEnabled"]
        for environment, stacks in assembly.environments.items()
    }
    assert scaling == {"sandbox": False, "staging": True, "production": True}


def test_no_deployment_starts_it(assembly: Assembly) -> None:
    assert all("RunConfiguration" not in _application(stack) for stack in _stacks(assembly))


@pytest.mark.requirement("str-flink-not-firehose")
def test_it_reads_the_flights_stream_and_never_from_firehose(assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        stack = stacks["real-time"]
        groups = _groups(stack)
        (source,) = references(groups["source"]["stream.arn"])
        assert groups["source"]["connector"] == "kinesis"
        assert source.stack_name == stacks["streaming"].name
        assert "firehose" not in json.dumps([_application(stack), _statements(stack)]).lower()


@pytest.mark.requirement("sec-msf-iam")
def test_its_role_reads_one_stream_and_writes_two_others(assembly: Assembly) -> None:
    for stack in _stacks(assembly):
        groups, allowed = _groups(stack), _statements(stack)
        for action, used in (("kinesis:GetRecords", ["source"]), ("kinesis:PutRecords", ["departures", "metrics"])):
            (resources,) = (statement["Resource"] for statement in allowed if action in statement["Action"])
            listed = resources if isinstance(resources, list) else [resources]
            assert sorted(map(str, listed)) == sorted(str(groups[group]["stream.arn"]) for group in used)


@pytest.mark.requirement("str-kpl-kcl")
@pytest.mark.parametrize("layer", ["real-time", "stream-scoring"])
def test_what_a_function_cannot_read_ends_in_a_queue_alone(layer: str, assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        stack = stacks[layer]
        (mapping,) = stack.resources("AWS::Lambda::EventSourceMapping").values()
        properties = mapping["Properties"]
        (queue,) = stack.resources("AWS::SQS::Queue")
        assert properties["BisectBatchOnFunctionError"] is True
        assert properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert properties["MaximumRetryAttempts"] > 0
        assert properties["MaximumRecordAgeInSeconds"] > 0
        assert queue in {reference.target for reference in references(properties["DestinationConfig"])}


@pytest.mark.requirement("str-kpu")
@pytest.mark.parametrize(("parallelism", "per_kpu", "billed"), [(1, 1, 2), (4, 1, 5), (4, 4, 2), (5, 4, 3)])
def test_kpus_are_those_of_the_tasks_and_one_that_orchestrates(parallelism: int, per_kpu: int, billed: int) -> None:
    assert RealTimeOptions(parallelism=parallelism, parallelism_per_kpu=per_kpu).kpus == billed


@pytest.mark.requirement("str-kda-destinations")
def test_queues_that_are_named_hear_of_anomalies(variants: Assembly) -> None:
    subscriptions = {
        stack.environment: resource["Properties"]["Endpoint"]
        for stack, _, resource in variants.resources("AWS::SNS::Subscription")
        if stack.layer == "real-time" and resource["Properties"]["Protocol"] == "sqs"
    }
    assert subscriptions == {"asked": "arn:aws:sqs:us-east-1:123456789012:theirs"}


def test_the_connector_is_verified_before_it_is_packed(assembly: Assembly) -> None:
    for stack in _stacks(assembly):
        (project,) = stack.resources("AWS::CodeBuild::Project").values()
        commands = json.loads(project["Properties"]["Source"]["BuildSpec"])["phases"]["build"]["commands"]
        verified = next(n for n, command in enumerate(commands) if command.startswith("gpg --verify"))
        packed = next(n for n, command in enumerate(commands) if "zip -qr" in command)
        assert verified < packed


def _stacks(assembly: Assembly) -> list[Stack]:
    return [stacks["real-time"] for stacks in assembly.environments.values()]


def _application(stack: Stack) -> dict[str, Any]:
    (application,) = stack.resources(APPLICATION).values()
    return application["Properties"]


def _groups(stack: Stack) -> dict[str, dict[str, Any]]:
    groups = _application(stack)["ApplicationConfiguration"]["EnvironmentProperties"]["PropertyGroups"]
    return {group["PropertyGroupId"]: group["PropertyMap"] for group in groups}


def _statements(stack: Stack) -> list[dict[str, Any]]:
    """What the application's role may do."""
    (role,) = (reference.target for reference in references(_application(stack)["ServiceExecutionRole"]))
    return [
        statement
        for policy in stack.resources("AWS::IAM::Policy").values()
        if {"Ref": role} in policy["Properties"]["Roles"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
