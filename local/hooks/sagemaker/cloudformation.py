"""SageMaker's CloudFormation types, each over the API's own operations."""

import uuid
from collections.abc import Callable
from typing import Any

from ministack.services.cloudformation import provisioners

from local.hooks.cloudformation import add_type
from local.hooks.sagemaker import api, store
from local.hooks.sagemaker.store import Record, SageMakerError, invalid

Created = tuple[str, Record]
UPDATED = ("Endpoint", "Pipeline")  # a change of their name replaces them; of any property but Tags, the other types
TYPES = ("Model", "EndpointConfig", "ModelPackageGroup", *UPDATED)


def run(operation: str, properties: Record, **also: Any) -> Record:
    """Run an operation with a resource's properties; it refuses by name those it doesn't know."""
    request = properties | also
    if definition := request.get("PipelineDefinition"):
        request["PipelineDefinition"] = definition.get("PipelineDefinitionBody", definition)
    return api.call(operation, request)


def created(noun: str, reference: str) -> Created:
    """The physical id and the attributes of a record. Raises SageMakerError when what was under way failed."""
    record = store.settled(noun, reference)
    if noun == "Endpoint" and record.get("FailureReason"):
        raise invalid(record["FailureReason"])
    attributes = {name: record[name] for name in (f"{noun}Name", f"{noun}Arn")}
    return attributes[f"{noun}Name" if noun == "Pipeline" else f"{noun}Arn"], attributes


def handlers(noun: str) -> dict[str, Callable[..., Any]]:
    """A type's handlers, with MiniStack's signatures. Ref is the ARN, but a pipeline's name."""
    token = {"ClientRequestToken": str(uuid.uuid4())} if noun == "Pipeline" else {}

    def create(logical_id: str, properties: Record, stack_name: str) -> Created:
        generated = provisioners._physical_name(stack_name, logical_id, max_len=63)
        name = properties.get(f"{noun}Name", generated)
        run(f"Create{noun}", properties, **{f"{noun}Name": name}, **token)
        try:
            return created(noun, name)
        except SageMakerError:  # an endpoint that failed
            run(f"Delete{noun}", {f"{noun}Name": name})
            raise

    def update(physical_id: str, old: Record, new: Record, stack_name: str) -> Created:
        if noun in UPDATED:
            properties = {name: value for name, value in new.items() if name != "Tags"}
            run(f"Update{noun}", properties, **{f"{noun}Name": store.find(noun, physical_id)[f"{noun}Name"]})
        return created(noun, physical_id)

    def delete(physical_id: str, properties: Record) -> None:
        name = physical_id.rpartition("/")[2]
        if any(record[f"{noun}Name"] == name for record in store.records(noun)):
            run(f"Delete{noun}", {f"{noun}Name": name}, **token)

    return {"create": create, "update": update, "delete": delete}


def install() -> None:
    """Register the types: what they wait for, a container, calls this server."""
    for noun in TYPES:
        members = api.model().operation_model(f"Create{noun}").input_shape.members
        replacing = {f"{noun}Name"} if noun in UPDATED else members.keys() - {"Tags"}
        add_type(f"AWS::SageMaker::{noun}", handlers(noun), replacing)
