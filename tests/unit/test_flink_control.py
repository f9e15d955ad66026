"""Starting and stopping the deployed job: waits for the end, does nothing twice, and says what is wrong."""

import boto3
import pytest
from botocore.stub import Stubber

from flink_jobs.__main__ import FlinkError, application_name, bring


def test_a_stopped_job_is_started_and_waited_for() -> None:
    said: list[str] = []
    flink, stub = _flink("READY", "STARTING", "RUNNING", verb="start_application")
    with stub:
        bring(flink, "delays", "start", said.append, sleep=lambda _: None)
    assert said[-1].endswith("delays is RUNNING")
    stub.assert_no_pending_responses()


def test_a_running_job_is_stopped() -> None:
    flink, stub = _flink("RUNNING", "STOPPING", "READY", verb="stop_application")
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
    flink, stub = _flink("READY", "STARTING", "ROLLED_BACK", verb="start_application")
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


def _flink(first: str, *later: str, verb: str = "") -> tuple[object, Stubber]:
    """A client whose application is in these states, one a question; `verb` is called after the first."""
    client = boto3.client("kinesisanalyticsv2")
    stub = Stubber(client)
    for status in (first, *later):
        detail = {
            "ApplicationARN": "arn:aws:kinesisanalytics:eu-west-1:123456789012:application/delays",
            "ApplicationName": "delays",
            "RuntimeEnvironment": "FLINK-2_2",
            "ApplicationStatus": status,
            "ApplicationVersionId": 1,
        }
        stub.add_response("describe_application", {"ApplicationDetail": detail}, {"ApplicationName": "delays"})
        if verb and status == first:
            stub.add_response(verb, {}, {"ApplicationName": "delays"})
    return client, stub
