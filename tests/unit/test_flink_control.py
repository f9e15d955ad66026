"""Starting and stopping the deployed job: waits for the end, does nothing twice, and says what is wrong."""

import boto3
import pytest
from botocore.stub import Stubber

from flink_jobs.__main__ import FlinkError, application_name, bring


@pytest.mark.parametrize(
    ("snapshots", "restore"), [(0, "SKIP_RESTORE_FROM_SNAPSHOT"), (1, "RESTORE_FROM_LATEST_SNAPSHOT")]
)
def test_a_stopped_job_is_started_from_where_it_stopped_and_waited_for(snapshots: int, restore: str) -> None:
    said: list[str] = []
    flink, stub = _flink()
    _in_states(stub, "READY")
    snapshot = {"SnapshotName": "stopped", "SnapshotStatus": "READY", "ApplicationVersionId": 1}
    stub.add_response(
        "list_application_snapshots",
        {"SnapshotSummaries": [snapshot] * snapshots},
        {"ApplicationName": "delays", "Limit": 1},
    )
    configuration = {"ApplicationRestoreConfiguration": {"ApplicationRestoreType": restore}}
    stub.add_response("start_application", {}, {"ApplicationName": "delays", "RunConfiguration": configuration})
    _in_states(stub, "STARTING", "RUNNING")
    with stub:
        bring(flink, "delays", "start", said.append, sleep=lambda _: None)
    assert said[-1].endswith("delays is RUNNING")
    stub.assert_no_pending_responses()


def test_a_running_job_is_stopped() -> None:
    flink, stub = _flink("RUNNING")
    stub.add_response("stop_application", {}, {"ApplicationName": "delays"})
    _in_states(stub, "STOPPING", "READY")
    with stub:
        bring(flink, "delays", "stop", print, sleep=lambda _: None)
    stub.assert_no_pending_responses()


def test_a_running_job_is_not_started_again() -> None:
    said: list[str] = []
    flink, stub = _flink("RUNNING")
    with stub:
        bring(flink, "delays", "start", said.append)
    assert said == ["delays is RUNNING already"]


def test_a_job_that_falls_back_is_an_error_that_names_its_log() -> None:
    flink, stub = _flink("STARTING", "STARTING", "ROLLED_BACK")
    with stub, pytest.raises(FlinkError, match="is ROLLED_BACK, not RUNNING: read its log group"):
        bring(flink, "delays", "start", print, sleep=lambda _: None)


def test_a_job_in_between_is_left_alone() -> None:
    flink, stub = _flink("UPDATING")
    with stub, pytest.raises(FlinkError, match="is UPDATING: wait until that has ended, then stop it again"):
        bring(flink, "delays", "stop", print)


def test_a_stack_that_is_not_deployed_is_named() -> None:
    cloudformation = boto3.client("cloudformation")
    with Stubber(cloudformation) as stub:
        stub.add_client_error("describe_stacks", "ValidationError")
        with pytest.raises(FlinkError, match="no stack theirs-real-time in this account and region: deploy it first"):
            application_name(cloudformation, "theirs")


def _flink(*states: str) -> tuple[object, Stubber]:
    """A client, and what it will be answered: these states of the application to begin with."""
    client = boto3.client("kinesisanalyticsv2")
    stub = Stubber(client)
    _in_states(stub, *states)
    return client, stub


def _in_states(stub: Stubber, *states: str) -> None:
    for status in states:
        detail = {
            "ApplicationARN": "arn:aws:kinesisanalytics:eu-west-1:123456789012:application/delays",
            "ApplicationName": "delays",
            "RuntimeEnvironment": "FLINK-2_2",
            "ApplicationStatus": status,
            "ApplicationVersionId": 1,
        }
        stub.add_response("describe_application", {"ApplicationDetail": detail}, {"ApplicationName": "delays"})
