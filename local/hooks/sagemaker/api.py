"""The control plane: requests judged by botocore's SageMaker model, answers cut to its output shapes."""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import botocore.session
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator
from ministack.core.concurrency import run_reentrant
from ministack.core.responses import error_response_json, json_response

from local.hooks.sagemaker import store
from local.hooks.sagemaker.store import Record, SageMakerError, invalid

Operation = Callable[[Record], Record]
Answer = tuple[int, dict[str, str], Any]
NOUNS = (
    "Model",
    "EndpointConfig",
    "Endpoint",
    "ModelPackageGroup",
    "ModelPackage",
    "Pipeline",
    "PipelineExecution",
    "TrainingJob",
    "ProcessingJob",
)
FILTERS = ("ModelPackageGroupName", "ModelApprovalStatus", "PipelineName")
OPERATIONS: dict[str, Operation] = {}
# What would silently not happen here, as `Path.To.Field=value` of a request: refused instead.
REFUSED = {
    "CreateTrainingJob": r"CheckpointConfig.*|.*\.AlgorithmName=.*|.*InputMode=Pipe|.*\.S3DataType=.*ManifestFile|"
    r".*FileSystemDataSource.*|ResourceConfig\.Instance(Groups.*|Count=(?!1$).*)",
    "CreateProcessingJob": r".*\.S3InputMode=Pipe|.*\.S3DataType=ManifestFile|.*\.S3CompressionType=Gzip|"
    r".*(DatasetDefinition|FeatureStoreOutput).*|.*\.InstanceCount=(?!1$).*",
    "CreateModel": r"Containers\.1\..*|.*\.ModelDataSource.*|.*\.Mode=MultiModel",
    "CreateEndpointConfig": r"Shadow.*|Async.*|Explainer.*|DataCaptureConfig\.EnableCapture=True",
    "CreateEndpoint": (shifting := r"DeploymentConfig\.(Roll|Auto).*|.*\.Type=(CANARY|LINEAR)"),
    "UpdateEndpoint": shifting,
    "UpdateModelPackage": r"AdditionalInferenceSpecificationsToAdd.*",
    "StartPipelineExecution": r"Selective.*|PipelineVersionId=.*|Mlflow.*",
}


def operation(name: str) -> Callable[[Operation], Operation]:
    """Makes a function the one that answers this operation."""
    return lambda function: OPERATIONS.setdefault(name, function)


@cache
def model() -> ServiceModel:
    """botocore's model of the service."""
    return botocore.session.get_session().get_service_model("sagemaker")


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """`Path.To.Field=value` of every value in a request."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, f"{path}.{key}".lstrip("."))
    else:
        yield f"{path}={value}"


def violations(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """What botocore's ParamValidator leaves to the server: enumerations, maxima and patterns."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        member = {"structure": "members", "list": "member", "map": "value"}[shape.type_name]
        inner = shape.members[key] if member == "members" else getattr(shape, member)
        yield from violations(inner, item, f"{path}.{key}".lstrip("."))
    rules, size = shape.metadata, len(value) if isinstance(value, str | list | dict) else value
    if size > rules.get("max", size):
        yield f"{path}: {value!r} is above the maximum {rules['max']}"
    if value not in rules.get("enum", [value]):
        yield f"{path}: {value!r} is not one of {rules['enum']}"
    pattern = rules.get("pattern", r"\p")  # Python's expressions lack these classes
    if isinstance(value, str) and r"\p" not in pattern and not re.fullmatch(pattern, value):
        yield f"{path}: {value!r} does not match the pattern {pattern}"


def call(name: str, request: Record) -> Record:
    """Run an operation as for a client. Raises SageMakerError, which names each field that is wrong."""
    shape = model().operation_model(name).input_shape
    report = ParamValidator().validate(request, shape).generate_report()
    if found := report or "; ".join(violations(shape, request, "")):
        raise invalid(f"{name}: {found}")
    if name in REFUSED and (found := "; ".join(leaf for leaf in leaves(request) if re.fullmatch(REFUSED[name], leaf))):
        raise invalid(f"{name}: the local cloud does not do {found}")
    return OPERATIONS[name](request)


def project(shape: Shape | None, record: Record) -> Record:
    """The members of a structure that the record has."""
    return {name: record[name] for name in shape.members if record.get(name) is not None} if shape else {}


def describe(noun: str, record: Record) -> Record:
    """A record as its Describe operation answers it."""
    return project(model().operation_model(f"Describe{noun}").output_shape, record)


def page(name: str, request: Record, items: list[Record]) -> Record:
    """One page of a List operation's answer."""
    members = model().operation_model(name).output_shape.members
    field = next(key for key, member in members.items() if member.type_name == "list")
    start = int(request.get("NextToken", 0))
    end = start + request.get("MaxResults", 100)
    more = {"NextToken": str(end)} if end < len(items) else {}
    return {field: [project(members[field].member, item) for item in items[start:end]], **more}


def selected(noun: str, request: Record) -> list[Record]:
    """The records that a List request asks for, newest first unless it says otherwise."""

    def wanted(record: Record, field: str, value: Any) -> bool:
        match field:
            case "NameContains":
                return value.lower() in record[f"{noun}Arn"].rpartition(":")[2].partition("/")[2].lower()
            case "PipelineNamePrefix":
                return record["PipelineName"].startswith(value)
            case "StatusEquals":
                return record[f"{noun}Status"] == value
            case field if field in FILTERS:
                return record.get(field) == value.rpartition("/")[2]  # a name or an ARN
        raise invalid(f"List{noun}s: the local cloud does not filter by {field}.")

    filters = {key: request[key] for key in request.keys() - {"MaxResults", "NextToken", "SortBy", "SortOrder"}}
    found = [record for record in store.records(noun) if all(wanted(record, *item) for item in filters.items())]
    by = {"Name": f"{noun}Arn", "Status": f"{noun}Status"}.get(request.get("SortBy", ""), "CreationTime")
    return sorted(found, key=lambda record: record[by], reverse=request.get("SortOrder") != "Ascending")


def _reference(noun: str, request: Record) -> str:
    return request.get(f"{noun}Name") or request[f"{noun}Arn"]


def _describe(noun: str, request: Record) -> Record:
    return describe(noun, store.find(noun, _reference(noun, request)))


def _delete(noun: str, request: Record) -> Record:
    return project(model().operation_model(f"Delete{noun}").output_shape, store.delete(noun, _reference(noun, request)))


def _list(noun: str, request: Record) -> Record:
    return page(f"List{noun}s", request, selected(noun, request))


OPERATIONS |= {f"Describe{noun}": partial(_describe, noun) for noun in NOUNS}
OPERATIONS |= {f"List{noun}s": partial(_list, noun) for noun in NOUNS if noun != "ModelPackage"}
DELETED = ("Model", "EndpointConfig", "ModelPackage", "Pipeline")
OPERATIONS |= {f"Delete{noun}": partial(_delete, noun) for noun in DELETED}


@operation("AddTags")
def add_tags(request: Record) -> Record:
    """Set tags on any record."""
    record = store.tagged(request["ResourceArn"])
    tags = {tag["Key"]: tag for tag in [*record.get("Tags", ()), *request["Tags"]]}
    record["Tags"] = [*tags.values()]
    return {"Tags": record["Tags"]}


@operation("ListTags")
def list_tags(request: Record) -> Record:
    """The tags of any record."""
    return page("ListTags", request, store.tagged(request["ResourceArn"]).get("Tags", []))


def status(noun: str, record: Record, now: str, **fields: Any) -> None:
    """Change a job's or an endpoint's status and emit the event."""
    store.update(record, **{f"{noun}Status": now}, **fields)
    announce(noun, record, lambda seconds: int(seconds * 1000))


def announce(noun: str, record: Record, time: Callable[[float], Any], **extra: Any) -> None:
    """Emit a record's state change: what Describe answers, its times in the event's own spelling."""
    detail = describe(noun, record) | extra
    detail |= {name: time(value) for name, value in detail.items() if name.endswith("Time")}
    if noun == "Endpoint":
        detail["EndpointStatus"] = store.split(detail["EndpointStatus"], "_").upper()
    tags = {"Tags": {tag["Key"]: tag["Value"] for tag in record.get("Tags", ())}}
    store.emit(f"{store.split(noun, ' ')} State Change", detail | tags, record[f"{noun}Arn"])


def failure(code: str, message: str, status: int = 400, **members: Any) -> Answer:
    """An error as both SageMaker services spell it."""
    return error_response_json(code, message, status, members, message_key="Message")


async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: Record) -> Answer:
    """MiniStack's handler. The runtime's requests come here too: they are signed for the same service."""
    from local.hooks.sagemaker import endpoints

    if path.startswith("/endpoints/"):
        return await endpoints.invoke(path, headers, body)
    name = headers.get("x-amz-target", "").removeprefix("SageMaker.")
    if name not in OPERATIONS:
        return failure("UnknownOperationException", f"SageMaker {name or path} is not in local/hooks/sagemaker.")
    try:
        return json_response(await run_reentrant(call, name, json.loads(body or b"{}")))
    except SageMakerError as error:
        modelled = {shape.name for shape in model().operation_model(name).error_shapes}
        return failure(error.code if error.code in modelled else "ValidationException", str(error))
