"""The action and the resource of a SageMaker request, by which MiniStack holds it against the role that makes it."""

import json
import re
from collections.abc import Callable
from typing import Any

from ministack.core import iam_actions

from local.hooks import wrap
from local.hooks.sagemaker import store

_INVOKE = re.compile(r"/endpoints/([^/]+)/invocations")
_OPERATION = re.compile(r"SageMaker\.(?:Create|Describe|Update|Delete|Start|Stop)(\w+)")


def action(original: Callable[..., str | None], service: str, method: str, path: str, *rest: object) -> str | None:
    """The runtime's requests name no action; those of the control plane do, as other services' do."""
    runtime = service == "sagemaker" and _INVOKE.fullmatch(path)
    return "sagemaker:InvokeEndpoint" if runtime else original(service, method, path, *rest)


def resource(original: Any, service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any) -> str:
    """The ARN of the one record that a request names, or "*"."""
    if service != "sagemaker":
        return str(original(service, method, path, headers, body, *rest))
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


def install() -> None:
    """Teach MiniStack's authorization the service."""
    iam_actions.SERVICE_TO_IAM_NAMESPACE["sagemaker"] = "sagemaker"
    wrap(iam_actions, "extract_iam_action", action)
    wrap(iam_actions, "extract_resource_arn", resource)
