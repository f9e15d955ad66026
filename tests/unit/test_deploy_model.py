"""The deploy Lambda: the newest approval ends up serving, whatever order, number and state of the stack it meets."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

STACK = "arn:aws:cloudformation:eu-west-1:123456789012:stack/millrace-test-serving/1"
OLD, NEW = (f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/flight-delays/{version}" for version in (1, 2))
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
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
    monkeypatch.setattr(deploy, "time", SimpleNamespace(sleep=slept.append))  # other threads go on sleeping
    return slept


@pytest.fixture
def stack(deploy: ModuleType) -> Iterator[Stubber]:
    with Stubber(deploy.cloudformation) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def registry(deploy: ModuleType) -> Iterator[Stubber]:
    with Stubber(deploy.sagemaker) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def test_an_approved_package_becomes_the_stacks_parameter(
    deploy: ModuleType, stack: Stubber, registry: Stubber, waits: list[float]
) -> None:
    _is(stack, OLD)
    _knows(registry, NEW, minutes=1)
    _knows(registry, OLD)
    _accepts_update(stack, NEW)
    assert deploy.handler(_approval(NEW), _context()) == {"status": "UPDATING", "package": NEW}
    assert not waits


def test_the_baseline_is_replaced_by_the_first_approval(deploy: ModuleType, stack: Stubber, registry: Stubber) -> None:
    _is(stack, "baseline")
    _knows(registry, OLD)
    _accepts_update(stack, OLD)
    assert deploy.handler(_approval(OLD), _context())["status"] == "UPDATING"


def test_an_older_approval_that_comes_late_changes_nothing(
    deploy: ModuleType, stack: Stubber, registry: Stubber
) -> None:
    _is(stack, NEW)
    _knows(registry, OLD)
    _knows(registry, NEW, minutes=1)
    assert deploy.handler(_approval(OLD), _context()) == {"status": "SUPERSEDED", "package": OLD}


def test_an_older_version_approved_again_replaces_a_newer_one(
    deploy: ModuleType, stack: Stubber, registry: Stubber
) -> None:
    _is(stack, NEW)
    _knows(registry, OLD, minutes=5)
    _knows(registry, NEW, minutes=1)
    _accepts_update(stack, OLD)
    assert deploy.handler(_approval(OLD), _context())["status"] == "UPDATING"


@pytest.mark.parametrize("serving", ["Rejected", None])
def test_what_serves_without_approval_is_replaced_however_new_it_is(
    serving: str | None, deploy: ModuleType, stack: Stubber, registry: Stubber
) -> None:
    """A person who rolls back may approve the old version first and then reject, or delete, the new one."""
    _is(stack, NEW)
    _knows(registry, OLD, minutes=1)
    _knows(registry, NEW, serving, minutes=2)
    _accepts_update(stack, OLD)
    assert deploy.handler(_approval(OLD), _context())["status"] == "UPDATING"


@pytest.mark.parametrize("status", ["Rejected", "PendingManualApproval", None])
def test_an_approval_that_was_taken_back_changes_nothing(
    status: str | None, deploy: ModuleType, stack: Stubber, registry: Stubber
) -> None:
    _is(stack, OLD)
    _knows(registry, NEW, status, minutes=1)
    _knows(registry, OLD)
    assert deploy.handler(_approval(NEW), _context())["status"] == "NOT_APPROVED"


@pytest.mark.parametrize("order", [(OLD, NEW), (NEW, OLD), (OLD, NEW, OLD), (NEW, OLD, NEW)])
def test_whatever_the_order_of_deliveries_the_newest_approval_serves(
    order: tuple[str, ...], deploy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = ["baseline"]

    def describe(**_: str) -> dict[str, Any]:
        parameter = {"ParameterKey": "ModelPackageArn", "ParameterValue": served[-1]}
        return {"Stacks": [{"StackStatus": "UPDATE_COMPLETE", "Parameters": [parameter]}]}

    def update(**request: Any) -> None:
        served.append(request["Parameters"][0]["ParameterValue"])

    def package(**asked: str) -> dict[str, Any]:
        version = int(asked["ModelPackageName"].rpartition("/")[2])
        return {"ModelApprovalStatus": "Approved", "CreationTime": NOON + timedelta(minutes=version)}

    monkeypatch.setattr(deploy, "cloudformation", SimpleNamespace(describe_stacks=describe, update_stack=update))
    monkeypatch.setattr(deploy, "sagemaker", SimpleNamespace(describe_model_package=package))
    for delivered in order:
        deploy.handler(_approval(delivered), _context())
    assert served[-1] == NEW


def test_delivered_again_there_is_nothing_to_do(deploy: ModuleType, stack: Stubber) -> None:
    _is(stack, NEW)
    assert deploy.handler(_approval(NEW), _context()) == {"status": "UNCHANGED", "package": NEW}


def test_delivered_again_during_the_update_it_waits_for_its_end(
    deploy: ModuleType, stack: Stubber, waits: list[float]
) -> None:
    _is(stack, NEW, "UPDATE_IN_PROGRESS")
    _is(stack, NEW)
    assert deploy.handler(_approval(NEW), _context())["status"] == "UNCHANGED"
    assert waits == [deploy.POLL_SECONDS]


def test_a_rolled_back_stack_is_tried_once_a_delivery(
    deploy: ModuleType, stack: Stubber, registry: Stubber, waits: list[float]
) -> None:
    _is(stack, NEW, "UPDATE_ROLLBACK_IN_PROGRESS")
    _is(stack, OLD, "UPDATE_ROLLBACK_COMPLETE")
    _knows(registry, NEW, minutes=1)
    _knows(registry, OLD)
    _accepts_update(stack, NEW)
    assert deploy.handler(_approval(NEW), _context())["status"] == "UPDATING"


def test_an_update_that_was_quicker_is_waited_for(
    deploy: ModuleType, stack: Stubber, registry: Stubber, waits: list[float]
) -> None:
    for serving in ("baseline", OLD):
        _is(stack, serving)
        _knows(registry, NEW, minutes=1)
        if serving == OLD:
            _knows(registry, OLD)
            _accepts_update(stack, NEW)
        else:
            _refuses_update(stack, BUSY)
    assert deploy.handler(_approval(NEW), _context())["status"] == "UPDATING"
    assert len(waits) == 1


def test_a_stack_that_stays_busy_fails_in_time_for_a_retry(
    deploy: ModuleType, stack: Stubber, waits: list[float]
) -> None:
    _is(stack, OLD, "UPDATE_IN_PROGRESS")
    with pytest.raises(TimeoutError, match=f"still being updated; {NEW} waits for the retry"):
        deploy.handler(_approval(NEW), _context(remaining_milliseconds=9_000))
    assert not waits


def test_an_update_without_a_change_is_none(deploy: ModuleType, stack: Stubber, registry: Stubber) -> None:
    _is(stack, "baseline")
    _knows(registry, NEW)
    _refuses_update(stack, "No updates are to be performed.")
    assert deploy.handler(_approval(NEW), _context())["status"] == "UNCHANGED"


def test_any_other_refusal_is_an_error(
    deploy: ModuleType, stack: Stubber, registry: Stubber, waits: list[float]
) -> None:
    _is(stack, "baseline", "UPDATE_ROLLBACK_FAILED")
    _knows(registry, NEW)
    _refuses_update(stack, f"Stack:{STACK} is in UPDATE_ROLLBACK_FAILED state and can not be updated.")
    with pytest.raises(ClientError, match="UPDATE_ROLLBACK_FAILED"):
        deploy.handler(_approval(NEW), _context())
    assert not waits


def test_a_missing_permission_is_an_error(deploy: ModuleType, stack: Stubber, registry: Stubber) -> None:
    _is(stack, OLD)
    registry.add_client_error("describe_model_package", "AccessDeniedException", "not authorized", 400)
    with pytest.raises(ClientError, match="not authorized"):
        deploy.handler(_approval(NEW), _context())


def _approval(package: str) -> dict[str, Any]:
    return {"detail": {"ModelPackageArn": package}}


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
        "CreationTime": NOON,
        "StackStatus": status,
        "Parameters": parameters,
    }
    stack.add_response("describe_stacks", {"Stacks": [described]}, {"StackName": STACK})


def _knows(registry: Stubber, package: str, status: str | None = "Approved", minutes: int = 0) -> None:
    """The registry's next answer: a package that was last modified some minutes past noon, or none."""
    asked = {"ModelPackageName": package}
    if status is None:
        message = f"ModelPackage {package} does not exist."
        registry.add_client_error("describe_model_package", "ValidationException", message, 400, expected_params=asked)
        return
    described = {
        "ModelPackageName": "flight-delays",
        "ModelPackageArn": package,
        "CreationTime": NOON,
        "LastModifiedTime": NOON + timedelta(minutes=minutes),
        "ModelApprovalStatus": status,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
    }
    registry.add_response("describe_model_package", described, asked)


def _update(package: str) -> dict[str, Any]:
    return {
        "StackName": STACK,
        "UsePreviousTemplate": True,
        "Capabilities": ["CAPABILITY_IAM"],
        "Parameters": [
            {"ParameterKey": "BootstrapVersion", "UsePreviousValue": True},
            {"ParameterKey": "ModelPackageArn", "ParameterValue": package},
        ],
    }


def _accepts_update(stack: Stubber, package: str) -> None:
    stack.add_response("update_stack", {"StackId": STACK}, _update(package))


def _refuses_update(stack: Stubber, message: str) -> None:
    stack.add_client_error("update_stack", "ValidationError", message, 400, expected_params=_update(NEW))
