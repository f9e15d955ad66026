"""Starting and stopping the deployed job: waits for the end, does nothing twice, and says what is wrong."""

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from flink_jobs.__main__ import FlinkError, bring, main
from tests.unit.deployed import Stacks

FROM_LATEST = {"ApplicationRestoreConfiguration": {"ApplicationRestoreType": "RESTORE_FROM_LATEST_SNAPSHOT"}}
FROM_NOTHING = {"ApplicationRestoreConfiguration": {"ApplicationRestoreType": "SKIP_RESTORE_FROM_SNAPSHOT"}}
WHAT_FITS = FROM_LATEST | {"FlinkRunConfiguration": {"AllowNonRestoredState": True}}


@pytest.mark.parametrize(
    ("restore", "snapshots", "configuration"),
    [
        ("everything", 1, FROM_LATEST),
        ("everything", 0, FROM_NOTHING),
        ("what-fits", 1, WHAT_FITS),
        ("nothing", 1, FROM_NOTHING),
    ],
)
def test_a_stopped_job_is_started_from_what_was_asked_and_waited_for(
    restore: str, snapshots: int, configuration: dict[str, Any]
) -> None:
    said: list[str] = []
    flink, stub = _flink()
    _in_states(stub, "READY")
    snapshot = {"SnapshotName": "stopped", "SnapshotStatus": "READY", "ApplicationVersionId": 1}
    stub.add_response(
        "list_application_snapshots",
        {"SnapshotSummaries": [snapshot] * snapshots},
        {"ApplicationName": "delays", "Limit": 1},
    )
    started = {"ApplicationName": "delays", "RunConfiguration": configuration}
    stub.add_response("start_application", {"OperationId": "1"}, started)
    _in_states(stub, "READY", "STARTING", "RUNNING")
    with stub:
        bring(flink, "delays", "start", said.append, restore=restore, sleep=lambda _: None)
    assert said[-1].endswith("delays is RUNNING")
    stub.assert_no_pending_responses()


def test_a_running_job_is_stopped() -> None:
    flink, stub = _flink("RUNNING")
    stub.add_response("stop_application", {"OperationId": "1"}, {"ApplicationName": "delays"})
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


def test_a_start_that_fails_is_an_error_in_the_words_of_the_service() -> None:
    flink, stub = _flink("READY")
    stub.add_response("list_application_snapshots", {"SnapshotSummaries": []})
    stub.add_response("start_application", {"OperationId": "1"})
    _in_states(stub, "STARTING", "READY")
    failure = {"ErrorInfo": {"ErrorString": "Cannot map savepoint state"}}
    operation = {
        "Operation": "StartApplication",
        "StartTime": 0,
        "EndTime": 0,
        "OperationStatus": "FAILED",
        "OperationFailureDetails": failure,
    }
    stub.add_response(
        "describe_application_operation",
        {"ApplicationOperationInfoDetails": operation},
        {"ApplicationName": "delays", "OperationId": "1"},
    )
    with stub, pytest.raises(FlinkError, match=r"is READY, not RUNNING: Cannot map savepoint state; .*ApplicationLogs"):
        bring(flink, "delays", "start", print, sleep=lambda _: None)


def test_a_job_that_falls_back_is_an_error_that_names_its_log() -> None:
    flink, stub = _flink("STARTING", "STARTING", "ROLLED_BACK")
    with stub, pytest.raises(FlinkError, match=r"is ROLLED_BACK, not RUNNING: .*ApplicationLogs"):
        bring(flink, "delays", "start", print, sleep=lambda _: None)


def test_a_job_in_between_is_left_alone() -> None:
    flink, stub = _flink("UPDATING")
    with stub, pytest.raises(FlinkError, match="is UPDATING: wait until that has ended, then stop it again"):
        bring(flink, "delays", "stop", print)


def test_a_stack_that_is_not_deployed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3.Session, "client", lambda session, service: Stacks())
    with pytest.raises(SystemExit, match=r"can't start the job: there is no stack theirs-real-time .* deploy it first"):
        main(["start", "--environment", "sandbox", "--prefix", "theirs"])


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
