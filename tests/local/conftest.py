"""One local cloud for the session, on a free port and in a folder of its own, and what several of its tests set up."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local import tools
from local.cloud import Cloud
from tests.local.sagemaker_fake import Client, Events, heard, prepared

Outputs = dict[str, str]


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A started local cloud; it ends with the session, or with this process. Tests name roles that don't exist."""
    with Cloud(tmp_path_factory.mktemp("cloud"), tools.free_port(), enforce_iam=False) as started:
        yield started


@pytest.fixture(scope="session")
def client(cloud: Cloud) -> Callable[[str], Any]:
    """Makes boto3 clients of the local cloud: client("s3")."""
    return cloud.session().client


@pytest.fixture(scope="module")
def deploy_stack(client: Callable[[str], Any]) -> Iterator[Callable[..., Outputs]]:
    """Makes or updates a stack: deploy_stack(name, template, **parameters) answers its outputs.

    With template None the stack is updated with its previous template. The module's stacks are deleted at its end.
    """
    formation, names = client("cloudformation"), []

    def deploy(name: str, template: dict[str, Any] | None, **parameters: str) -> Outputs:
        source = {"TemplateBody": json.dumps(template)} if template else {"UsePreviousTemplate": True}
        request = {
            "StackName": name,
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            **source,
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        }
        if name in names:
            formation.update_stack(**request)
        else:
            names.append(name)
            formation.create_stack(**request)
        stack: dict[str, Any] = {}
        # The local cloud answers when the stack has settled, or after four seconds.
        while stack.get("StackStatus", "_IN_PROGRESS").endswith("_IN_PROGRESS"):
            stack = formation.describe_stacks(StackName=name)["Stacks"][0]
        assert stack["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"), [
            (event["LogicalResourceId"], event.get("ResourceStatusReason"))
            for event in formation.describe_stack_events(StackName=name)["StackEvents"]
            if event["ResourceStatus"].endswith("FAILED")
        ]
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    yield deploy
    for name in reversed(names):
        formation.delete_stack(StackName=name)
        formation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


@pytest.fixture(scope="module")
def aws(cloud: Cloud) -> Client:
    """Clients of the local cloud, which has SageMaker's fake image."""
    return prepared(cloud)


@pytest.fixture(scope="module")
def sagemaker(aws: Client) -> Any:
    """The SageMaker client."""
    return aws("sagemaker")


@pytest.fixture
def events(aws: Client) -> Iterator[Events]:
    """Reads SageMaker's events since the test began."""
    with heard(aws) as read:
        yield read
