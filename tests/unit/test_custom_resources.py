"""The custom resources: CloudFormation always hears from them, with the reason when they fail."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

Modules = dict[str, ModuleType]

GROUP = "millrace-test-flight-delays"
LONGEST_ANSWER = 4096  # bytes that CloudFormation accepts
PROPERTIES = {
    "ProjectName": "build",
    "RepositoryUri": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/ml",
    "ImageTag": "abc",
}
IMAGE = f"{PROPERTIES['RepositoryUri']}:abc"
CONTEXT = SimpleNamespace(log_stream_name="2026/11/22/[$LATEST]1")


class CloudFormation:
    """The URL that a custom resource answers to, and what it was sent there."""

    def __init__(self) -> None:
        answers = self.answers = list[dict[str, Any]]()

        class Receiver(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                # The URL is signed for an upload without a content type.
                accepted = not self.headers["Content-Type"] and len(body) <= LONGEST_ANSWER
                if accepted:
                    answers.append(json.loads(body))
                self.send_response(200 if accepted else 403)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Receiver)

    def event(self, request_type: str, properties: dict[str, str], **more: str) -> dict[str, Any]:
        """A request whose answer comes here."""
        return {
            "RequestType": request_type,
            "ResponseURL": f"http://127.0.0.1:{self.server.server_port}/answer",
            "StackId": "stack",
            "RequestId": "request",
            "LogicalResourceId": "Resource",
            "ResourceProperties": {"ServiceToken": "function"} | properties,
            **more,
        }

    @property
    def answer(self) -> dict[str, Any]:
        """The one answer."""
        (answer,) = self.answers
        return answer


@pytest.fixture
def cloudformation() -> Iterator[CloudFormation]:
    receiver = CloudFormation()
    thread = Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    thread.join()


@pytest.fixture
def modules(import_lambda: Callable[[str], Modules]) -> Modules:
    return import_lambda("custom_resources")


@pytest.fixture
def codebuild(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    yield from _stubbed("codebuild", monkeypatch)


@pytest.fixture
def sagemaker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    yield from _stubbed("sagemaker", monkeypatch)


@pytest.fixture
def s3control(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    yield from _stubbed("s3control", monkeypatch)


@pytest.fixture
def waits(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds the build would have been waited for, each time."""
    slept: list[float] = []
    monkeypatch.setattr(modules["codebuild"], "time", SimpleNamespace(sleep=slept.append))
    return slept


def test_what_the_work_returns_is_answered(modules: Modules, cloudformation: CloudFormation) -> None:
    handler = modules["response"].custom_resource(lambda event: {"Size": event["ResourceProperties"]["Size"]})
    handler(cloudformation.event("Create", {"Size": "3"}), CONTEXT)
    assert cloudformation.answer == {
        "Status": "SUCCESS",
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Resource",
        "PhysicalResourceId": "Resource",
        "Data": {"Size": "3"},
    }


def test_work_may_name_the_resource_and_otherwise_it_keeps_its_name(
    modules: Modules, cloudformation: CloudFormation
) -> None:
    wrap = modules["response"].custom_resource
    wrap(lambda _: {"PhysicalResourceId": "named"})(cloudformation.event("Create", {}), CONTEXT)
    wrap(lambda _: {})(cloudformation.event("Update", {}, PhysicalResourceId="named"), CONTEXT)
    assert [answer["PhysicalResourceId"] for answer in cloudformation.answers] == ["named", "named"]
    assert all(answer["Data"] == {} for answer in cloudformation.answers)


@pytest.mark.parametrize("error", [RuntimeError("the reason"), KeyError("the reason"), ValueError("the reason")])
def test_a_failure_is_answered_with_its_reason_and_its_log(
    error: Exception, modules: Modules, cloudformation: CloudFormation
) -> None:
    modules["response"].custom_resource(_fails_with(error))(cloudformation.event("Create", {}), CONTEXT)
    assert cloudformation.answer["Status"] == "FAILED"
    assert "the reason" in cloudformation.answer["Reason"]
    assert CONTEXT.log_stream_name in cloudformation.answer["Reason"]


def test_a_failure_with_a_long_story_is_answered_too(modules: Modules, cloudformation: CloudFormation) -> None:
    """CloudFormation refuses an answer above 4,096 bytes, and would then wait until its own time is up."""
    work = _fails_with(RuntimeError("a long story. " * 1000))
    modules["response"].custom_resource(work)(cloudformation.event("Create", {}), CONTEXT)
    assert cloudformation.answer["Status"] == "FAILED"
    assert len(json.dumps(cloudformation.answer)) <= LONGEST_ANSWER
    assert CONTEXT.log_stream_name in cloudformation.answer["Reason"]


def test_a_build_is_started_waited_for_and_answered_with_its_image(
    modules: Modules, cloudformation: CloudFormation, codebuild: Stubber, waits: list[float]
) -> None:
    _starts(codebuild)
    _then(codebuild, "IN_PROGRESS")
    _then(codebuild, "SUCCEEDED")
    modules["build_image"].handler(cloudformation.event("Create", PROPERTIES), CONTEXT)
    assert cloudformation.answer["Status"] == "SUCCESS"
    assert cloudformation.answer["Data"] == {"ImageUri": IMAGE}
    assert cloudformation.answer["PhysicalResourceId"] == IMAGE
    assert len(waits) == 2


@pytest.mark.parametrize("status", ["FAILED", "FAULT", "STOPPED", "TIMED_OUT"])
def test_a_build_that_fails_is_answered_with_its_log(
    status: str, modules: Modules, cloudformation: CloudFormation, codebuild: Stubber, waits: list[float]
) -> None:
    _starts(codebuild)
    _then(codebuild, status, {"deepLink": "https://logs.example/1"})
    modules["build_image"].handler(cloudformation.event("Update", PROPERTIES), CONTEXT)
    assert cloudformation.answer["Status"] == "FAILED"
    reason = f"the build of build ended {status}: read its log at https://logs.example/1"
    assert reason in cloudformation.answer["Reason"]


def test_a_package_is_built_where_it_was_asked_for(
    modules: Modules, cloudformation: CloudFormation, codebuild: Stubber, waits: list[float]
) -> None:
    variables = [{"name": "BUCKET", "value": "packages"}, {"name": "KEY", "value": "flink/abc.zip"}]
    expected = {"projectName": "build", "environmentVariablesOverride": variables}
    codebuild.add_response("start_build", {"build": {"id": "build:1", "buildStatus": "IN_PROGRESS"}}, expected)
    _then(codebuild, "SUCCEEDED")
    properties = {"ProjectName": "build", "Bucket": "packages", "Key": "flink/abc.zip"}
    modules["build_package"].handler(cloudformation.event("Create", properties), CONTEXT)
    assert cloudformation.answer["Status"] == "SUCCESS"
    assert cloudformation.answer["PhysicalResourceId"] == "s3://packages/flink/abc.zip"


def test_a_build_that_cannot_start_is_answered(
    modules: Modules, cloudformation: CloudFormation, codebuild: Stubber, waits: list[float]
) -> None:
    codebuild.add_client_error("start_build", "AccountLimitExceededException", "too many builds")
    modules["build_image"].handler(cloudformation.event("Create", PROPERTIES), CONTEXT)
    assert cloudformation.answer["Status"] == "FAILED"
    assert "too many builds" in cloudformation.answer["Reason"]


def test_deleting_an_image_builds_nothing(modules: Modules, cloudformation: CloudFormation, codebuild: Stubber) -> None:
    modules["build_image"].handler(cloudformation.event("Delete", PROPERTIES, PhysicalResourceId=IMAGE), CONTEXT)
    assert cloudformation.answer["Status"] == "SUCCESS"


def test_deleting_answers_with_the_name_it_was_asked_for(
    modules: Modules, cloudformation: CloudFormation, codebuild: Stubber, waits: list[float]
) -> None:
    """After a failed creation that is the name the failure gave: another would be another resource."""
    codebuild.add_client_error("start_build", "AccountLimitExceededException", "too many builds")
    handler = modules["build_image"].handler
    handler(cloudformation.event("Create", PROPERTIES), CONTEXT)
    name = cloudformation.answer["PhysicalResourceId"]
    handler(cloudformation.event("Delete", PROPERTIES, PhysicalResourceId=name), CONTEXT)
    assert cloudformation.answers[-1]["Status"] == "SUCCESS"
    assert cloudformation.answers[-1]["PhysicalResourceId"] == name


def test_deleting_a_group_deletes_its_packages_first(
    modules: Modules, cloudformation: CloudFormation, sagemaker: Stubber
) -> None:
    _packages(sagemaker, ["package/1", "package/2"], {"ModelPackageGroupName": GROUP}, "more")
    _packages(sagemaker, ["package/3"], {"ModelPackageGroupName": GROUP, "NextToken": "more"})
    for number in (1, 2, 3):
        sagemaker.add_response("delete_model_package", {}, {"ModelPackageName": f"package/{number}"})
    modules["empty_model_group"].handler(
        cloudformation.event("Delete", {"ModelPackageGroupName": GROUP}, PhysicalResourceId="group"), CONTEXT
    )
    assert cloudformation.answer["Status"] == "SUCCESS"
    assert cloudformation.answer["PhysicalResourceId"] == "group"


@pytest.mark.parametrize(
    ("message", "status"), [(f"ModelPackageGroup {GROUP} does not exist.", "SUCCESS"), ("1 validation error", "FAILED")]
)
def test_a_group_that_is_gone_is_deleted_and_one_that_cannot_be_listed_is_not(
    message: str, status: str, modules: Modules, cloudformation: CloudFormation, sagemaker: Stubber
) -> None:
    sagemaker.add_client_error("list_model_packages", "ValidationException", message)
    modules["empty_model_group"].handler(cloudformation.event("Delete", {"ModelPackageGroupName": GROUP}), CONTEXT)
    assert cloudformation.answer["Status"] == status


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_a_group_that_stays_keeps_its_packages(
    request_type: str, modules: Modules, cloudformation: CloudFormation, sagemaker: Stubber
) -> None:
    modules["empty_model_group"].handler(cloudformation.event(request_type, {"ModelPackageGroupName": GROUP}), CONTEXT)
    assert cloudformation.answer["Status"] == "SUCCESS"


def test_a_package_that_cannot_be_deleted_is_answered(
    modules: Modules, cloudformation: CloudFormation, sagemaker: Stubber
) -> None:
    _packages(sagemaker, ["package/1"], {"ModelPackageGroupName": GROUP})
    sagemaker.add_client_error("delete_model_package", "ConflictException", "package/1 is being created")
    modules["empty_model_group"].handler(cloudformation.event("Delete", {"ModelPackageGroupName": GROUP}), CONTEXT)
    assert cloudformation.answer["Status"] == "FAILED"
    assert "package/1 is being created" in cloudformation.answer["Reason"]


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_public_access_is_blocked_in_every_way(
    request_type: str, modules: Modules, cloudformation: CloudFormation, s3control: Stubber
) -> None:
    every_way = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    asked = {"AccountId": "123456789012", "PublicAccessBlockConfiguration": dict.fromkeys(every_way, True)}
    s3control.add_response("put_public_access_block", {}, asked)
    event = cloudformation.event(request_type, {"AccountId": "123456789012"})
    modules["block_public_access"].handler(event, CONTEXT)
    assert cloudformation.answer["Status"] == "SUCCESS"
    assert cloudformation.answer["PhysicalResourceId"] == "public-access-block-123456789012"


def test_public_access_stays_blocked_when_the_stack_goes_and_the_log_says_so(
    modules: Modules, cloudformation: CloudFormation, s3control: Stubber, caplog: pytest.LogCaptureFixture
) -> None:
    modules["block_public_access"].handler(
        cloudformation.event("Delete", {"AccountId": "123456789012"}, PhysicalResourceId="block"), CONTEXT
    )
    assert cloudformation.answer["Status"] == "SUCCESS"
    assert "stays blocked" in caplog.text


def _stubbed(service: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """What boto3.client gives; every stubbed call must have been made at the end."""
    client = boto3.client(service)
    monkeypatch.setattr(boto3, "client", lambda name: {service: client}[name])
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def _fails_with(error: Exception) -> Callable[[Any], dict[str, Any]]:
    def work(_event: Any) -> dict[str, Any]:
        raise error

    return work


def _starts(codebuild: Stubber) -> None:
    codebuild.add_response(
        "start_build",
        {"build": {"id": "build:1", "buildStatus": "IN_PROGRESS"}},
        {
            "projectName": "build",
            "environmentVariablesOverride": [
                {"name": "REPOSITORY_URI", "value": PROPERTIES["RepositoryUri"]},
                {"name": "IMAGE_TAG", "value": "abc"},
            ],
        },
    )


def _then(codebuild: Stubber, status: str, logs: dict[str, str] | None = None) -> None:
    build = {"id": "build:1", "buildStatus": status, "logs": logs or {}}
    codebuild.add_response("batch_get_builds", {"builds": [build]}, {"ids": ["build:1"]})


def _packages(sagemaker: Stubber, arns: list[str], asked: dict[str, str], more: str | None = None) -> None:
    listed = [
        {
            "ModelPackageArn": arn,
            "ModelPackageGroupName": GROUP,
            "CreationTime": "2026-11-22T00:00:00Z",
            "ModelPackageStatus": "Completed",
        }
        for arn in arns
    ]
    answer: dict[str, Any] = {"ModelPackageSummaryList": listed}
    sagemaker.add_response("list_model_packages", answer | ({"NextToken": more} if more else {}), asked)
