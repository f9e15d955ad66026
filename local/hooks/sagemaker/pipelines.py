"""Pipelines: Processing, Training, Condition and RegisterModel steps, run as their dependencies allow.

Without effect here: step caching, retry policies, experiments. Format: aws-sagemaker-mlops.github.io/
sagemaker-model-building-pipeline-definition-JSON-schema
"""

import contextlib
import contextvars
import json
import operator
import random
import re
import string
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from botocore.exceptions import ClientError
from ministack.core.concurrency import spawn_background

from local.hooks import client
from local.hooks.sagemaker import api, containers, jobs, store
from local.hooks.sagemaker.api import operation
from local.hooks.sagemaker.store import Record, SageMakerError, invalid

CASTS: dict[str, Callable[[str], Any]] = {
    "String": str,
    "Integer": int,
    "Float": float,
    "Boolean": lambda word: {"true": True, "false": False}[word.lower()],
}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}


class StepError(Exception):
    """A step fails; the message becomes its FailureReason."""


class Node(NamedTuple):
    """A step, the steps it waits for, and the outcome it needs of the condition it is inside of."""

    step: Record
    needs: set[str]
    gate: tuple[str, str] | None


def nodes(steps: list[Record], gate: tuple[str, str] | None = None) -> Iterator[Node]:
    """Every step, those inside conditions too."""
    for step in steps:
        arguments = step.get("Arguments", {})
        branches = {"IfSteps": "True", "ElseSteps": "False"} if step["Type"] == "Condition" else {}
        own = {key: value for key, value in arguments.items() if key not in branches}
        named = re.findall(r'"Get": "Steps\.([^.\["]+)', json.dumps(own))
        yield Node(step, {*named, *step.get("DependsOn", ()), *([gate[0]] if gate else [])}, gate)
        for branch, outcome in branches.items():
            yield from nodes(arguments.get(branch, []), (step["Name"], outcome))


def parse(definition: str) -> Record:
    """A definition from its JSON. Raises a ValidationException for what no execution could run."""
    try:
        parsed = json.loads(definition)
        found = list(nodes(parsed["Steps"]))
        names = {node.step["Name"] for node in found}
        TopologicalSorter({node.step["Name"]: node.needs for node in found}).prepare()
    except (ValueError, TypeError, KeyError) as error:
        cycle = f"steps wait for each other: {error.args[1]}" if isinstance(error, CycleError) else repr(error)
        raise invalid(f"PipelineDefinition: {cycle}.") from None
    if parsed.get("Version") != "2020-12-01" or len(names) < len(found):
        raise invalid('PipelineDefinition: "Version" must be "2020-12-01", step names must be unique.')
    if unknown := sorted(set().union(*(node.needs for node in found)) - names):
        raise invalid(f"PipelineDefinition: there are no steps {', '.join(unknown)}, which others refer to.")
    return parsed


def typed(definition: Record, given: list[Record]) -> Record:
    """Each parameter's value in its declared type. Raises a ValidationException that names the wrong ones."""
    declared = {item["Name"]: item for item in definition.get("Parameters", [])}
    values = {name: item["DefaultValue"] for name, item in declared.items() if "DefaultValue" in item}
    values |= {item["Name"]: item["Value"] for item in given}
    if wrong := sorted(values.keys() ^ declared.keys()):
        raise invalid(f"Parameters that are not defined by the pipeline or have no value: {', '.join(wrong)}.")
    for name, item in declared.items():
        try:
            values[name] = CASTS[item["Type"]](str(values[name]))
        except (KeyError, ValueError):
            raise invalid(f"Parameter {name}: {values[name]!r} is not of type {item['Type']}.") from None
        if values[name] not in item.get("EnumValues", [values[name]]):
            raise invalid(f"Parameter {name}: {values[name]!r} is not one of {item['EnumValues']}.")
    return values


def walk(value: Any, path: str) -> Any:
    """What `A.B['name'].C[0]` leads to; a name in brackets is a list item's OutputName or the like."""
    for word in re.findall(r"[^.\[\]'\"]+", path):
        if isinstance(value, list) and not word.isdigit():
            value = {name: item for item in value for key, name in item.items() if key.endswith("Name")}
        try:
            value = value[int(word) if isinstance(value, list) else word]
        except (KeyError, IndexError, TypeError):
            raise StepError(f"ClientError: {path} leads nowhere: there is no {word!r}.") from None
    return value


def text(value: Any) -> str:
    """A value as Std:Join writes it."""
    return json.dumps(value) if isinstance(value, bool) else str(value)


class Execution:
    """One run of a definition."""

    def __init__(self, record: Record, definition: Record, parameters: Record) -> None:
        self.record = record
        self.nodes = {node.step["Name"]: node for node in nodes(definition["Steps"])}
        self.results: Record = {}  # of the steps that succeeded
        self.failures: list[str] = []
        times = {"StartDateTime": store.iso(record["StartTime"]), "CurrentDateTime": store.iso(record["StartTime"])}
        self.scope = {"Parameters": parameters, "Execution": record | times, "Steps": self.results}

    def run(self) -> str:
        """Run every step whose turn comes. The reason of the failure, empty when there is none."""
        sorter = TopologicalSorter({name: node.needs for name, node in self.nodes.items()})
        sorter.prepare()
        running: dict[Future[None], str] = {}
        parallel = self.record.get("ParallelismConfiguration", {}).get("MaxParallelExecutionSteps", 50)
        with ThreadPoolExecutor(parallel) as pool:
            while sorter.is_active():
                for name in sorter.get_ready():
                    if self.due(self.nodes[name]):
                        running[pool.submit(contextvars.copy_context().run, self.step, self.nodes[name].step)] = name
                    else:
                        sorter.done(name)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    sorter.done(running.pop(future))
        return f"Step failure: One or multiple steps failed. {'; '.join(self.failures)}"[:1024] if self.failures else ""

    def due(self, node: Node) -> bool:
        """Whether a step whose predecessors have ended runs at all."""
        if self.failures or self.record["PipelineExecutionStatus"] != "Executing" or node.needs - self.results.keys():
            return False
        return node.gate is None or self.results[node.gate[0]]["Outcome"] == node.gate[1]

    def step(self, step: Record) -> None:
        """Run one step and keep its result or the reason of its failure."""
        entry = {
            "StepName": step["Name"],
            "StartTime": time.time(),
            "StepStatus": "Executing",
            "AttemptCount": 1,
            "Metadata": {},
        }
        self.record["PipelineExecutionSteps"].append(entry)
        try:
            self.results[step["Name"]] = STEPS[step["Type"]](self, step, entry)
            entry["StepStatus"] = "Succeeded"
        except (StepError, SageMakerError, ClientError) as error:
            stopped = self.record["PipelineExecutionStatus"] == "Stopping"
            entry.update(StepStatus="Stopped" if stopped else "Failed", FailureReason=str(error)[:1024])
            self.failures.append(f"{step['Name']}: {error}")
        finally:
            entry["EndTime"] = time.time()

    def job(self, step: Record, entry: Record) -> Record:
        """Run a job to its end."""
        noun, identity = f"{step['Type']}Job", self.record["PipelineExecutionId"]
        name = f"pipelines-{identity}-{step['Name'][:28]}-{_random(10)}"
        arn = api.call(f"Create{noun}", {**self.resolve(step["Arguments"]), f"{noun}Name": name})[f"{noun}Arn"]
        entry["Metadata"] = {noun: {"Arn": arn}}
        if self.record["PipelineExecutionStatus"] == "Stopping":  # since this step's turn came
            _stop_job(noun, arn)
        record = jobs.ended(noun, arn)
        if record[f"{noun}Status"] != "Completed":
            raise StepError(record.get("FailureReason", f"The job is {record[f'{noun}Status']}."))
        return api.describe(noun, record)

    def register(self, step: Record, entry: Record) -> Record:
        """Register a model package."""
        origin = {"MetadataProperties": {"GeneratedBy": self.record["PipelineExecutionArn"]}}
        arn = api.call("CreateModelPackage", origin | self.resolve(step["Arguments"]))["ModelPackageArn"]
        entry["Metadata"] = {"RegisterModel": {"Arn": arn}}
        return api.describe("ModelPackage", store.find("ModelPackage", arn))

    def condition(self, step: Record, entry: Record) -> Record:
        """Judge a condition step."""
        outcome = {"Outcome": str(all(map(self.holds, step["Arguments"]["Conditions"])))}
        entry["Metadata"] = {"Condition": outcome}
        return outcome

    def holds(self, condition: Record) -> bool:
        """Judge one condition. Raises StepError for an unknown one and for text against a number."""
        match condition["Type"]:
            case "Not":
                return not self.holds(condition["Expression"])
            case "And":
                return all(map(self.holds, condition["Conditions"]))
            case "Or":
                return any(map(self.holds, condition["Conditions"]))
            case "In":
                return self.resolve(condition["QueryValue"]) in self.resolve(condition["Values"])
            case kind if kind in COMPARISONS:
                left, right = self.resolve(condition["LeftValue"]), self.resolve(condition["RightValue"])
                if isinstance(left, str) == isinstance(right, str):
                    return COMPARISONS[kind](left, right)
                raise StepError(f"ClientError: {kind} can't compare {left!r} with {right!r}.")
        raise StepError(f"ClientError: there is no condition type {condition['Type']}.")

    def resolve(self, node: Any) -> Any:
        """A copy of a part of the definition, every expression replaced by its value."""
        match node:
            case list():
                return [self.resolve(item) for item in node]
            case {"Get": str(path)} if len(node) == 1:
                return walk(self.scope, path)
            case {"Std:Join": {"On": on, "Values": values}}:
                return text(on).join(text(self.resolve(value)) for value in values)
            case {"Std:JsonGet": {"PropertyFile": {"Get": str(file)}, "Path": path}}:
                return walk(self.property_file(file), self.resolve(path))
            case dict():
                return {key: self.resolve(value) for key, value in node.items()}
        return node

    def property_file(self, path: str) -> Any:
        """The JSON that Steps.<step>.PropertyFiles.<name> stands for."""
        _, name, _, file = path.split(".", 3)
        declared = {item["PropertyFileName"]: item for item in self.nodes[name].step.get("PropertyFiles", ())}
        output, place = walk(declared, f"{file}.OutputName"), walk(declared, f"{file}.FilePath")
        folder = walk(self.results, f"{name}.ProcessingOutputConfig.Outputs['{output}'].S3Output.S3Uri")
        bucket, key = containers.split(f"{folder.rstrip('/')}/{place}")
        try:
            return json.loads(client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
        except ValueError as error:
            raise StepError(f"ClientError: s3://{bucket}/{key} is not JSON: {error}.") from None


STEPS: dict[str, Callable[[Execution, Record, Record], Record]] = {
    "Processing": Execution.job,
    "Training": Execution.job,
    "Condition": Execution.condition,
    "RegisterModel": Execution.register,
}


def _random(length: int) -> str:
    return "".join(random.choices(string.ascii_lowercase + string.digits, k=length))  # noqa: S311


def _with_definition(request: Record) -> Record:
    """The request with its definition's text, which may be in S3."""
    if place := request.get("PipelineDefinitionS3Location"):
        version = {"VersionId": place["VersionId"]} if "VersionId" in place else {}
        answer = client("s3").get_object(Bucket=place["Bucket"], Key=place["ObjectKey"], **version)
        request = request | {"PipelineDefinition": answer["Body"].read().decode()}
    if "PipelineDefinition" in request:
        parse(request["PipelineDefinition"])
    return request


@operation("CreatePipeline")
def create(request: Record) -> Record:
    """Store a pipeline."""
    if not request.keys() & {"PipelineDefinition", "PipelineDefinitionS3Location"}:
        raise invalid("CreatePipeline needs PipelineDefinition or PipelineDefinitionS3Location.")
    record = store.create("Pipeline", request["PipelineName"], _with_definition(request), PipelineStatus="Active")
    return {"PipelineArn": record["PipelineArn"]}


@operation("UpdatePipeline")
def update(request: Record) -> Record:
    """Change a pipeline; what runs keeps the definition it was started with."""
    record = store.find("Pipeline", request["PipelineName"])
    store.update(record, **_with_definition(request) | {"PipelineName": record["PipelineName"]})
    return {"PipelineArn": record["PipelineArn"]}


@operation("StartPipelineExecution")
def start(request: Record) -> Record:
    """Start an execution; the same ClientRequestToken answers the same execution again."""
    pipeline = store.find("Pipeline", request["PipelineName"])
    for known in api.selected("PipelineExecution", {"PipelineName": pipeline["PipelineName"]}):
        if known["ClientRequestToken"] == request["ClientRequestToken"]:
            return {"PipelineExecutionArn": known["PipelineExecutionArn"]}
    definition = parse(pipeline["PipelineDefinition"])
    kinds = {node.step["Name"]: node.step["Type"] for node in nodes(definition["Steps"])}
    if unknown := [f"{name} ({kind})" for name, kind in kinds.items() if kind not in STEPS]:
        raise invalid(f"The local cloud runs steps of the types {', '.join(STEPS)}, not {', '.join(unknown)}.")
    parameters, identity, now = typed(definition, request.get("PipelineParameters", [])), _random(12), time.time()
    pipeline["LastRunTime"] = pipeline["LastExecutionTime"] = now
    inherited = {key: pipeline[key] for key in ("PipelineName", "PipelineArn", "PipelineDefinition")}
    record = store.create(
        "PipelineExecution",
        f"{pipeline['PipelineName']}/execution/{identity}",
        {"PipelineExecutionDisplayName": f"execution-{int(now * 1000)}", **request, **inherited},
        PipelineExecutionId=identity,
        StartTime=now,
        PipelineExecutionSteps=[],
    )
    _status(record, "Executing")
    spawn_background(_run, Execution(record, definition, parameters), thread_name=f"pipeline-{identity}")
    return {"PipelineExecutionArn": record["PipelineExecutionArn"]}


def _run(execution: Execution) -> None:
    record, reason = execution.record, "InternalServerError: the local cloud's log says more."
    try:
        reason = execution.run()
    finally:
        if record["PipelineExecutionStatus"] == "Stopping":
            _status(record, "Stopped")
        elif reason:
            _status(record, "Failed", FailureReason=reason, PipelineExecutionFailureReason=reason)
        else:
            _status(record, "Succeeded")


def _status(record: Record, now: str, **fields: Any) -> None:
    """Change an execution's status and emit the event."""
    detail = {"currentPipelineExecutionStatus": now, "executionStartTime": store.iso(record["StartTime"])}
    if previous := record.get("PipelineExecutionStatus"):
        detail["previousPipelineExecutionStatus"] = previous
    if now in ("Succeeded", "Failed", "Stopped"):
        detail["executionEndTime"] = store.iso(time.time())
    named = ("PipelineExecutionDisplayName", "PipelineExecutionDescription", "PipelineArn", "PipelineExecutionArn")
    detail |= {f"p{key[1:]}": record[key] for key in named if key in record}
    store.update(record, PipelineExecutionStatus=now, **fields)
    store.emit(
        "Model Building Pipeline Execution Status Change", detail, record["PipelineArn"], record["PipelineExecutionArn"]
    )


@operation("StopPipelineExecution")
def stop(request: Record) -> Record:
    """Stop an execution and the jobs it waits for."""
    record = store.find("PipelineExecution", request["PipelineExecutionArn"])
    if record["PipelineExecutionStatus"] != "Executing":
        raise invalid(f"The execution is {record['PipelineExecutionStatus']}: only one Executing can be stopped.")
    _status(record, "Stopping")
    for step in record["PipelineExecutionSteps"]:
        for noun, made in step["Metadata"].items():
            if noun in ("TrainingJob", "ProcessingJob"):
                _stop_job(noun, made["Arn"])
    return {"PipelineExecutionArn": record["PipelineExecutionArn"]}


def _stop_job(noun: str, arn: str) -> None:
    with contextlib.suppress(SageMakerError):  # it isn't running any more
        jobs.stop(noun, arn)


@operation("ListPipelineExecutionSteps")
def list_steps(request: Record) -> Record:
    """The steps that were started, the last one first."""
    steps = store.find("PipelineExecution", request["PipelineExecutionArn"])["PipelineExecutionSteps"]
    newest_first = request.get("SortOrder") != "Ascending"
    return api.page("ListPipelineExecutionSteps", request, steps[::-1] if newest_first else steps)


@operation("DescribePipelineDefinitionForExecution")
def describe_definition(request: Record) -> Record:
    """The definition an execution was started with."""
    record = store.find("PipelineExecution", request["PipelineExecutionArn"])
    return {"PipelineDefinition": record["PipelineDefinition"]}
