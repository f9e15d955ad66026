"""The deploy Lambda: an approved package reaches the serving stack once, whatever the stack is doing."""

from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

STACK = "arn:aws:cloudformation:eu-west-1:123456789012:stack/millrace-test-serving/1"
OLD, NEW = (f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/flight-delays/{version}" for version in (1, 2))
EVENT = {"detail": {"ModelPackageArn": NEW}}
BUSY = f"Stack:{STACK} is in UPDATE_IN_PROGRESS state and can not be updated."


@pytest.fixture
def deploy(import_lambda: Callable[[str], dict[str, ModuleType]], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("STACK", STACK)
    monkeypatch.setenv("PARAMETER", "ModelPackageArn")
    return import_lambda("deploy_model")["handler"]


@pytest.fixture
def waits(deploy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds it would have slept, each time."""
    slept: list[float] = []
    monkeypatch.setattr(deploy.time, "sleep", slept.append)
    return slept


@pytest.fixture
def stack(deploy: ModuleType) -> Iterator[Stubber]:
    with Stubber(deploy.cloudformation) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def test_an_approved_package_becomes_the_stacks_parameter(
    deploy: ModuleType, stack: Stubber, waits: list[float]
) -> None:
    _is(stack, OLD)
    _accepts_update(stack)
    assert deploy.handler(EVENT, _context()) == {"status": "UPDATING", "package": NEW}
    assert not waits


def test_delivered_again_there_is_nothing_to_do(deploy: ModuleType, stack: Stubber) -> None:
    _is(stack, NEW)
    assert deploy.handler(EVENT, _context()) == {"status": "UNCHANGED", "package": NEW}


def test_delivered_again_during_the_update_it_waits_for_its_end(
    deploy: ModuleType, stack: Stubber, waits: list[float]
) -> None:
    _is(stack, NEW, "UPDATE_IN_PROGRESS")
    _refuses_update(stack, BUSY)
    _is(stack, NEW)
    assert deploy.handler(EVENT, _context())["status"] == "UNCHANGED"
    assert len(waits) == 1


def test_rolled_back_in_the_meantime_it_tries_again(deploy: ModuleType, stack: Stubber, waits: list[float]) -> None:
    _is(stack, NEW, "UPDATE_ROLLBACK_IN_PROGRESS")
    _refuses_update(stack, BUSY)
    _is(stack, OLD, "UPDATE_ROLLBACK_COMPLETE")
    _accepts_update(stack)
    assert deploy.handler(EVENT, _context())["status"] == "UPDATING"


def test_a_busy_stack_is_waited_for(deploy: ModuleType, stack: Stubber, waits: list[float]) -> None:
    for _ in range(3):
        _is(stack, OLD, "UPDATE_IN_PROGRESS")
        _refuses_update(stack, BUSY)
    _is(stack, OLD)
    _accepts_update(stack)
    assert deploy.handler(EVENT, _context())["status"] == "UPDATING"
    assert waits == [deploy.POLL_SECONDS] * 3


def test_a_stack_that_stays_busy_fails_in_time_for_a_retry(
    deploy: ModuleType, stack: Stubber, waits: list[float]
) -> None:
    _is(stack, OLD, "UPDATE_IN_PROGRESS")
    _refuses_update(stack, BUSY)
    with pytest.raises(TimeoutError, match=f"still being updated; {NEW} waits for the retry"):
        deploy.handler(EVENT, _context(remaining_milliseconds=9_000))
    assert not waits


@pytest.mark.parametrize(
    "message",
    ["No updates are to be performed.", f"Stack:{STACK} is in UPDATE_ROLLBACK_FAILED state and can not be updated."],
)
def test_any_other_refusal_is_an_error(message: str, deploy: ModuleType, stack: Stubber, waits: list[float]) -> None:
    _is(stack, OLD)
    _refuses_update(stack, message)
    with pytest.raises(ClientError, match=message):
        deploy.handler(EVENT, _context())
    assert not waits


def test_a_missing_permission_is_an_error(deploy: ModuleType, stack: Stubber) -> None:
    stack.add_client_error("describe_stacks", "AccessDenied", "not authorized", 403)
    with pytest.raises(ClientError, match="not authorized"):
        deploy.handler(EVENT, _context())


def _context(remaining_milliseconds: int = 60_000) -> Any:
    return SimpleNamespace(get_remaining_time_in_millis=lambda: remaining_milliseconds)


def _is(stack: Stubber, package: str, status: str = "UPDATE_COMPLETE") -> None:
    """The stack's next description."""
    parameters = [
        {"ParameterKey": "BootstrapVersion", "ParameterValue": "/cdk-bootstrap/hnb659fds/version"},
        {"ParameterKey": "ModelPackageArn", "ParameterValue": package},
    ]
    described = {
        "StackName": "millrace-test-serving",
        "CreationTime": "2026-11-22T00:00:00Z",
        "StackStatus": status,
        "Parameters": parameters,
    }
    stack.add_response("describe_stacks", {"Stacks": [described]}, {"StackName": STACK})


def _update() -> dict[str, Any]:
    return {
        "StackName": STACK,
        "UsePreviousTemplate": True,
        "Capabilities": ["CAPABILITY_IAM"],
        "Parameters": [
            {"ParameterKey": "BootstrapVersion", "UsePreviousValue": True},
            {"ParameterKey": "ModelPackageArn", "ParameterValue": NEW},
        ],
    }


def _accepts_update(stack: Stubber) -> None:
    stack.add_response("update_stack", {"StackId": STACK}, _update())


def _refuses_update(stack: Stubber, message: str) -> None:
    stack.add_client_error("update_stack", "ValidationError", message, 400, expected_params=_update())
