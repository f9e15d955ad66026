"""SageMaker's CloudFormation types, each over the API's own operations."""

import uuid
from collections.abc import Callable
from typing import Any

from botocore.model import Shape
from ministack.services.cloudformation import provisioners, stacks

from local.hooks import swap
from local.hooks.sagemaker import api, endpoints, store
from local.hooks.sagemaker.store import Record

Created = tuple[str, Record]
# By type, what GetAtt answers. Ref is the ARN, but a pipeline's name (CloudFormation's template reference).
TYPES = {
    "Model": ("ModelName", "ModelArn"),
    "EndpointConfig": ("EndpointConfigName", "EndpointConfigArn"),
    "Endpoint": ("EndpointName", "EndpointArn"),
    "ModelPackageGroup": ("CreationTime", "ModelPackageGroupArn", "ModelPackageGroupStatus"),
    "Pipeline": (),
}
# The properties whose change replaces the resource; of the other types every one but Tags does.
REPLACING = {
    "Endpoint": ("EndpointName",),
    "ModelPackageGroup": ("ModelPackageGroupName", "ModelPackageGroupDescription"),
    "Pipeline": ("PipelineName",),
}
UPDATE_ONLY = {"RetainAllVariantProperties", "ExcludeRetainedVariantProperties", "RetainDeploymentConfig"}
CASTS: dict[str, Callable[[str], Any]] = {"integer": int, "float": float, "boolean": lambda value: value == "true"}


def coerced(shape: Shape, value: Any) -> Any:
    """A property in the API's type: template parameters give numbers and booleans as text."""
    match value:
        case dict() if shape.type_name == "map":
            return {key: coerced(shape.value, item) for key, item in value.items()}
        case dict():
            return {
                key: coerced(shape.members[key], item) if key in shape.members else item for key, item in value.items()
            }
        case list():
            return [coerced(shape.member, item) for item in value]
        case str() if shape.type_name in CASTS:
            return CASTS[shape.type_name](value)
    return value


def run(operation: str, properties: Record, **also: Any) -> Record:
    """Run an operation with a resource's properties; it refuses by name those it doesn't know."""
    request = {name: value for name, value in properties.items() if name not in UPDATE_ONLY} | also
    if definition := request.pop("PipelineDefinition", {}):
        if place := definition.get("PipelineDefinitionS3Location"):
            version = {"VersionId": place["Version"]} if "Version" in place else {}
            place = {"Bucket": place["Bucket"], "ObjectKey": place["Key"], **version}
            request["PipelineDefinitionS3Location"] = place
        else:
            request["PipelineDefinition"] = definition["PipelineDefinitionBody"]
    return api.call(operation, coerced(api.model().operation_model(operation).input_shape, request))


def created(noun: str, record: Record) -> Created:
    """The physical id and the attributes of a record."""
    shown = record | {"CreationTime": store.iso(record["CreationTime"])}
    return shown["PipelineName" if noun == "Pipeline" else f"{noun}Arn"], {name: shown[name] for name in TYPES[noun]}


def served(record: Record, config: str) -> None:
    """Wait for an endpoint. Raises ValueError with the reason unless it ends in service with this configuration."""
    endpoints.settled(record["EndpointArn"])
    if record["EndpointStatus"] != "InService" or record["EndpointConfigName"] != config:
        raise ValueError(record["FailureReason"])


def handlers(noun: str) -> dict[str, Callable[..., Any]]:
    """A type's handlers, with MiniStack's signatures."""
    token = {"ClientRequestToken": str(uuid.uuid4())} if noun == "Pipeline" else {}

    def create(logical_id: str, properties: Record, stack_name: str) -> Created:
        generated = provisioners._physical_name(stack_name, logical_id, max_len=63)
        name = properties.get(f"{noun}Name", generated)
        run(f"Create{noun}", properties, **{f"{noun}Name": name}, **token)
        record = store.find(noun, name)
        if noun == "Endpoint":
            try:
                served(record, properties["EndpointConfigName"])
            except ValueError:
                run("DeleteEndpoint", {"EndpointName": name})
                raise
        return created(noun, record)

    def update(physical_id: str, old: Record, new: Record, stack_name: str) -> Created:
        record = store.find(noun, physical_id)
        properties = {name: value for name, value in new.items() if name != "Tags"}
        if noun == "Endpoint" and new["EndpointConfigName"] != record["EndpointConfigName"]:
            run("UpdateEndpoint", properties, EndpointName=record["EndpointName"])
            served(record, new["EndpointConfigName"])
        elif noun == "Pipeline":
            run("UpdatePipeline", properties)
        record["Tags"] = new.get("Tags", [])
        return created(noun, record)

    def delete(physical_id: str, properties: Record) -> None:
        if (record := store.lookup(noun, physical_id)) is None:
            return
        if noun == "Endpoint":
            endpoints.settled(physical_id)
        run(f"Delete{noun}", {f"{noun}Name": record[f"{noun}Name"]}, **token)

    return {"create": create, "update": update, "delete": delete}


def install() -> None:
    """Register the types, on worker threads: they wait for containers, which call this server."""
    for noun in TYPES:
        kind = f"AWS::SageMaker::{noun}"
        if kind in provisioners._RESOURCE_HANDLERS:
            raise RuntimeError(f"MiniStack has {kind} now: delete the hook's own in {__file__}.")
        provisioners._RESOURCE_HANDLERS[kind] = handlers(noun)
        members = api.model().operation_model(f"Create{noun}").input_shape.members
        provisioners._REPLACING_PROPERTIES[kind] = REPLACING.get(noun, tuple(members.keys() - {"Tags"}))
        provisioners._STACK_TAG_PROPERTY[kind] = ("Tags", "list")
    own = {f"AWS::SageMaker::{noun}" for noun in TYPES}
    swap(stacks, "_runs_on_worker_thread", lambda original: lambda kind: kind in own or original(kind))
