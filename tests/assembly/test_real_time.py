"""The real-time layer as synthesized: what Flink may read and write, how it is sized, and who hears of anomalies."""

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from checks.assembly import Assembly, Stack, references
from checks.calls.workloads import Index
from components.flink_package import MODULES
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
        assert configuration["ApplicationSystemRollbackConfiguration"]["RollbackEnabled"] is True


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


def test_it_polls_in_the_sandbox_and_reads_beside_the_others_elsewhere(assembly: Assembly) -> None:
    for environment, stacks in assembly.environments.items():
        source, consumers = _groups(stacks["real-time"])["source"], _consumers(stacks["real-time"])
        reading = {name: value for name, value in source.items() if name.startswith(("source.reader", "source.efo"))}
        if environment == "sandbox":
            assert not consumers
            assert reading == {"source.reader.empty-records-fetch-interval": "1 s"}
        else:
            (consumer,) = consumers.values()
            assert consumer["Properties"]["StreamARN"] == source["stream.arn"]
            assert reading == {  # and no longer pause, which would hold back what has been pushed already
                "source.reader.type": "EFO",
                "source.efo.consumer.name": consumer["Properties"]["ConsumerName"],
                "source.efo.lifecycle": "SELF_MANAGED",
            }


@pytest.mark.requirement("sec-msf-iam")
def test_its_role_may_do_what_its_reader_calls_and_write_two_streams(assembly: Assembly) -> None:
    for stack in _stacks(assembly):
        flights, departures, delays = (
            _groups(stack)[name]["stream.arn"] for name in ("source", "departures", "metrics")
        )
        expected = {str(written): {"kinesis:PutRecords"} for written in (departures, delays)}
        expected[str(flights)] = {"kinesis:DescribeStreamSummary", "kinesis:ListShards"}
        for consumer, resource in _consumers(stack).items():
            arn = {"Fn::GetAtt": [consumer, "ConsumerARN"]}
            expected[str(arn)] = {"kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"}
            named = {"Fn::Join": ["", [flights, f"/consumer/{resource['Properties']['ConsumerName']}"]]}
            expected[str(named)] = {"kinesis:DescribeStreamConsumer"}
        if not _consumers(stack):
            expected[str(flights)] |= {"kinesis:GetRecords", "kinesis:GetShardIterator"}
        assert _allowed(stack, "kinesis:") == expected


@pytest.mark.parametrize(
    ("start_at", "options"),
    [
        ("TRIM_HORIZON", {"source.init.position": "TRIM_HORIZON"}),
        (
            "2026-11-28T16:45:00+01:00",
            {"source.init.position": "AT_TIMESTAMP", "source.init.timestamp": "2026-11-28T16:45:00.000+01:00"},
        ),
    ],
)
def test_a_job_without_state_starts_where_it_is_told(start_at: str, options: dict[str, str]) -> None:
    assert RealTimeOptions.model_validate({"start_at": start_at}).start == options


@pytest.mark.parametrize("start_at", ["EARLIEST", "2026-11-28T16:45:00"])
def test_a_place_to_start_at_is_one_that_the_connector_knows(start_at: str) -> None:
    with pytest.raises(ValidationError, match="start_at"):
        RealTimeOptions.model_validate({"start_at": start_at})


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
        commands = _build_commands(stack)
        verified = next(n for n, command in enumerate(commands) if command.startswith("gpg --verify"))
        packed = next(n for n, command in enumerate(commands) if "zip -qr" in command)
        assert verified < packed


def test_the_package_has_what_its_modules_import_of_this_repository(assembly: Assembly, tmp_path: Path) -> None:
    """As the build lays it out of its source, read by a Python that knows of nothing else."""
    stack = _stacks(assembly)[0]
    (project,) = stack.resources("AWS::CodeBuild::Project").values()
    source = Index(assembly).asset(json.dumps(project["Properties"]["Source"]["Location"]))
    assert source
    shutil.copytree(source, tmp_path / "source")
    copies = [command for command in _build_commands(stack) if command.startswith(("mkdir ", "cp "))]
    subprocess.run(["sh", "-c", " && ".join(copies)], cwd=tmp_path / "source", check=True)
    imported = f"import sys; sys.path.insert(0, 'package/{MODULES}'); import flights"
    subprocess.run([sys.executable, "-I", "-c", imported], cwd=tmp_path / "source", check=True)


def _build_commands(stack: Stack) -> list[str]:
    (project,) = stack.resources("AWS::CodeBuild::Project").values()
    commands: list[str] = json.loads(project["Properties"]["Source"]["BuildSpec"])["phases"]["build"]["commands"]
    return commands


def _stacks(assembly: Assembly) -> list[Stack]:
    return [stacks["real-time"] for stacks in assembly.environments.values()]


def _application(stack: Stack) -> dict[str, Any]:
    (application,) = stack.resources(APPLICATION).values()
    return application["Properties"]


def _groups(stack: Stack) -> dict[str, dict[str, Any]]:
    groups = _application(stack)["ApplicationConfiguration"]["EnvironmentProperties"]["PropertyGroups"]
    return {group["PropertyGroupId"]: group["PropertyMap"] for group in groups}


def _consumers(stack: Stack) -> dict[str, dict[str, Any]]:
    return stack.resources("AWS::Kinesis::StreamConsumer")


def _allowed(stack: Stack, service: str) -> dict[str, set[str]]:
    """What the application's role may do of a service, by resource."""
    allowed: dict[str, set[str]] = defaultdict(set)
    for statement in _statements(stack):
        actions, resources = (
            [each] if isinstance(each, str | dict) else each for each in (statement["Action"], statement["Resource"])
        )
        for resource in resources:
            allowed[str(resource)] |= {action for action in actions if action.startswith(service)}
    return {resource: actions for resource, actions in allowed.items() if actions}


def _statements(stack: Stack) -> list[dict[str, Any]]:
    """What the application's role may do."""
    (role,) = (reference.target for reference in references(_application(stack)["ServiceExecutionRole"]))
    return [
        statement
        for policy in stack.resources("AWS::IAM::Policy").values()
        if {"Ref": role} in policy["Properties"]["Roles"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
