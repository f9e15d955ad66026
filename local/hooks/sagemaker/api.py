"""The control plane: requests judged by botocore's SageMaker model, answers cut to its output shapes."""

import json
import re
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator
from ministack.core.concurrency import run_reentrant
from ministack.core.responses import error_response_json, json_response

from local.hooks import Answer
from local.hooks.sagemaker import store
from local.hooks.sagemaker.store import Record, SageMakerError, invalid

Operation = Callable[[Record], Record]
OPERATIONS: dict[str, tuple[Operation, set[str]]] = {}  # with the members of a request that have a meaning here
DELETED = ("Model", "EndpointConfig", "ModelPackage", "Pipeline")
NOUNS = (*DELETED, "Endpoint", "ModelPackageGroup", "PipelineExecution", "TrainingJob", "ProcessingJob")
FILTERS = ("ModelPackageGroupName", "ModelApprovalStatus", "PipelineName")
# What would silently not happen, in a request as JSON: refused instead.
NOT_DONE = re.compile(
    r'"(AlgorithmName|DatasetDefinition|FeatureStoreOutput|FileSystemDataSource|InstanceGroups|ModelDataSource)":|'
    r'"\w*InputMode": "Pipe"|"S3DataType": "\w*ManifestFile"|"\w*CompressionType": "Gzip"|"Mode": "MultiModel"|'
    r'"SortBy": "(Name|Status)"'
)


def operation(name: str, members: str) -> Callable[[Operation], Operation]:
    """Makes a function the one that answers this operation, whose request may have these members.

    What it returns is cut to the operation's output: a record will do.
    """

    def add(function: Operation) -> Operation:
        OPERATIONS[name] = function, {*members.split()}
        return function

    return add


@cache
def model() -> ServiceModel:
    """botocore's model of the service."""
    return botocore.session.get_session().get_service_model("sagemaker")


def call(name: str, request: Record) -> Record:
    """Run an operation as for a client. Raises SageMakerError, which names each member that is wrong."""
    function, members = OPERATIONS[name]
    shapes = model().operation_model(name)
    if wrong := ParamValidator().validate(request, shapes.input_shape).generate_report():
        raise invalid(f"{name}: {wrong}")
    other = sorted(request.keys() - members) or [found[0] for found in NOT_DONE.finditer(json.dumps(request))]
    if other:
        raise invalid(f"{name}: the local cloud does not do {', '.join(other)}.")
    return project(shapes.output_shape, function(request))


def project(shape: Shape | None, record: Record) -> Record:
    """The members of a structure that the record has."""
    return {name: record[name] for name in shape.members if record.get(name) is not None} if shape else {}


def describe(noun: str, record: Record) -> Record:
    """A record as its Describe operation answers it."""
    return project(model().operation_model(f"Describe{noun}").output_shape, record)


def page(name: str, request: Record, items: list[Record]) -> Record:
    """A List operation's answer, all on one page, from items that are oldest first: newest first unless asked."""
    members = model().operation_model(name).output_shape.members
    field = next(key for key, member in members.items() if member.type_name == "list")
    ordered = items if request.get("SortOrder") == "Ascending" else items[::-1]
    return {field: [project(members[field].member, item) for item in ordered]}


def selected(noun: str, request: Record) -> list[Record]:
    """The records that a List request asks for, oldest first; it names a group or a pipeline by name or by ARN."""
    wanted = {field: request[field].rpartition("/")[2] for field in FILTERS if field in request}
    return [record for record in store.records(noun) if wanted.items() <= record.items()]


def named(noun: str, request: Record) -> str:
    """The name or the ARN in a request about one record."""
    return request.get(f"{noun}Name") or request[f"{noun}Arn"]


def register(noun: str) -> None:
    """Make the operations that all nouns have alike."""
    list_members = f"MaxResults SortBy SortOrder {' '.join(FILTERS)}"
    operation(f"Describe{noun}", f"{noun}Name {noun}Arn")(lambda request: store.find(noun, named(noun, request)))
    operation(f"List{noun}s", list_members)(lambda request: page(f"List{noun}s", request, selected(noun, request)))
    if noun in DELETED:
        members = f"{noun}Name ClientRequestToken"
        operation(f"Delete{noun}", members)(lambda request: store.delete(noun, named(noun, request)))


for _noun in NOUNS:
    register(_noun)


def change(noun: str, record: Record, status: str, **fields: Any) -> None:
    """Change the status of a job or an endpoint and emit the event."""
    record.update({f"{noun}Status": status}, **fields, LastModifiedTime=time.time())
    announce(noun, record, lambda seconds: int(seconds * 1000))


def announce(noun: str, record: Record, spelled: Callable[[float], Any], **extra: Any) -> None:
    """Emit a record's state change: what Describe answers, its times in the event's own spelling."""
    detail = describe(noun, record) | extra
    detail |= {name: spelled(value) for name, value in detail.items() if name.endswith("Time")}
    if noun == "Endpoint":
        detail["EndpointStatus"] = store.split(detail["EndpointStatus"], "_").upper()
    store.emit(f"{store.split(noun, ' ')} State Change", detail, record[f"{noun}Arn"])


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
