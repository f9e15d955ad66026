"""The action and the resource of a SageMaker request, by which MiniStack holds it against the role that makes it."""

import json
import re
from collections.abc import Callable

from ministack.core import iam_actions

from local.hooks import swap
from local.hooks.sagemaker import store

_INVOKE = re.compile(r"/endpoints/([^/]+)/invocations")
_OPERATION = re.compile(r"SageMaker\.(?:Create|Describe|Update|Delete|Start|Stop)(\w+)")


def action(original: Callable[..., str | None]) -> Callable[..., str | None]:
    """The runtime's requests name no action; those of the control plane do, as other services' do."""

    def of(service: str, method: str, path: str, *rest: object) -> str | None:
        runtime = service == "sagemaker" and _INVOKE.fullmatch(path)
        return "sagemaker:InvokeEndpoint" if runtime else original(service, method, path, *rest)

    return of


def resource(original: Callable[..., str]) -> Callable[..., str]:
    """The ARN of the one record that a request names, or "*"."""

    def of(service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: object) -> str:
        if service != "sagemaker":
            return original(service, method, path, headers, body, *rest)
        if endpoint := _INVOKE.fullmatch(path):
            return store.arn("Endpoint", endpoint[1])
        found = _OPERATION.fullmatch(headers.get("x-amz-target", ""))
        if not found:
            return "*"
        noun, request = found[1], json.loads(body or b"{}")
        if noun == "PipelineExecution" and "PipelineName" in request:
            noun = "Pipeline"  # what is started
        name = request.get(f"{noun}Name") or request.get(f"{noun}Arn") or "*"
        return name if name.startswith("arn:") or name == "*" else store.arn(noun, name)

    return of


def install() -> None:
    """Teach MiniStack's authorization the service."""
    iam_actions.SERVICE_TO_IAM_NAMESPACE["sagemaker"] = "sagemaker"
    swap(iam_actions, "extract_iam_action", action)
    swap(iam_actions, "extract_resource_arn", resource)
