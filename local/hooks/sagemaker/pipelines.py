"""Pipelines: Processing, Training, Condition and RegisterModel steps, one after another as their dependencies allow.

Without effect here: step caching, retry policies, experiments. Format: aws-sagemaker-mlops.github.io/
sagemaker-model-building-pipeline-definition-JSON-schema
"""

import json
import operator
import re
import time
import uuid
from collections.abc import Callable
from graphlib import TopologicalSorter
from typing import Any

from local.hooks.sagemaker import api, containers, store
from local.hooks.sagemaker.api import operation
from local.hooks.sagemaker.store import Record, SageMakerError, invalid

CASTS: dict[str, Callable[[str], Any]] = {"String": str, "Integer": int, "Float": float}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {"Equals": operator.eq, "GreaterThanOrEqualTo": operator.ge}


def ordered(steps: list[Record]) -> list[Record]:
    """Steps of one level in an order they can run in. Raises ValueError or KeyError when there is none."""
    named = {step["Name"]: step for step in steps}
    if len(named) < len(steps):
        raise ValueError("step names must be unique")
    waits = {}
    for name, step in named.items():
        mentioned = re.findall(r'"Get": "Steps\.([^.\["]+)', json.dumps(step))
        waits[name] = {*step.get("DependsOn", ()), *(named.keys() & mentioned)}
    return [named[name] for name in TopologicalSorter(waits).static_order()]


def parse(definition: str) -> Record:
    """A definition from its JSON, its steps in order. Raises a ValidationException for what could not run."""
    try:
        parsed = json.loads(definition)
        return parsed | {"Steps": ordered(parsed["Steps"])}
    except (ValueError, TypeError, KeyError) as error:  # a step that isn't there is a KeyError
        raise invalid(f"PipelineDefinition: {error!r}.") from None


def typed(definition: Record, given: list[Record]) -> Record:
    """Each parameter's value in its declared type. Raises a ValidationException that names the wrong ones."""
    declared = {item["Name"]: item for item in definition.get("Parameters", [])}
    values = {name: item["DefaultValue"] for name, item in declared.items() if "DefaultValue" in item}
    values |= {item["Name"]: item["Value"] for item in given}
    if wrong := sorted(values.keys() ^ declared.keys()):
        raise invalid(f"Parameters that are not defined by the pipeline or have no value: {', '.join(wrong)}.")
    for name, item in declared.items():
        try:
            values[name] = CASTS[item["Type"]](values[name])
        except (KeyError, ValueError):
            raise invalid(f"Parameter {name}: {values[name]!r} is not of type {item['Type']}.") from None
        if values[name] not in item.get("EnumValues", [values[name]]):
            raise invalid(f"Parameter {name}: {values[name]!r} is not one of {item['EnumValues']}.")
    return values


def walk(value: Any, path: str) -> Any:
    """What `A.B['name'].C` leads to; a name in brackets is a list item's OutputName or the like."""
    for word in re.findall(r"[^.\[\]'\"]+", path):
        if isinstance(value, list):
            value = {name: item for item in value for key, name in item.items() if key.endswith("Name")}
        try:
            value = value[word]
        except (KeyError, TypeError):
            raise invalid(f"{path} leads nowhere: there is no {word!r}.") from None
    return value


MADE = {"Processing": "ProcessingJob", "Training": "TrainingJob", "RegisterModel": "ModelPackage"}  # by type of step


class Execution:
    """One run of a definition."""

    def __init__(self, record: Record, parameters: Record) -> None:
        self.record = record
        self.results: Record = {}  # of the steps that succeeded
        self.scope = {"Parameters": parameters, "Execution": record, "Steps": self.results}

    def run(self, steps: list[Record]) -> None:
        """Run steps one after another, and keep their results. Raises SageMakerError when one fails."""
        for step in steps:
            entry = {"StepName": step["Name"], "StartTime": time.time(), "StepStatus": "Executing", "Metadata": {}}
            self.record["PipelineExecutionSteps"].append(entry)
            try:
                self.results[step["Name"]] = self.result(step, entry)
                entry["StepStatus"] = "Succeeded"
            except SageMakerError as error:
                entry |= {"StepStatus": "Failed", "FailureReason": error.reason}
                raise SageMakerError("Step failure", f"{step['Name']}: {error.reason}") from error
            finally:
                entry["EndTime"] = time.time()
            if step["Type"] == "Condition":
                branch = "IfSteps" if self.results[step["Name"]]["Outcome"] == "True" else "ElseSteps"
                self.run(ordered(step["Arguments"].get(branch, [])))

    def result(self, step: Record, entry: Record) -> Record:
        """Do what a step says, and tell of it in its entry's Metadata."""
        if step["Type"] == "Condition":
            entry["Metadata"] = {"Condition": {"Outcome": str(all(map(self.holds, step["Arguments"]["Conditions"])))}}
            return entry["Metadata"]["Condition"]
        if step["Type"] not in MADE:
            raise invalid(f"The local cloud runs Condition steps and {', '.join(MADE)}, not {step['Type']}.")
        noun = MADE[step["Type"]]
        own: Record = {"MetadataProperties": {"GeneratedBy": self.record["PipelineExecutionArn"]}}
        if noun != "ModelPackage":
            identity = f"{self.record['PipelineExecutionId']}-{step['Name'][:28]}-{uuid.uuid4().hex[:10]}"
            own = {f"{noun}Name": f"pipelines-{identity}"}
        arn = api.call(f"Create{noun}", self.resolve(step["Arguments"]) | own)[f"{noun}Arn"]
        entry["Metadata"] = {"RegisterModel" if noun == "ModelPackage" else noun: {"Arn": arn}}
        record = store.settled(noun, arn)
        if record[f"{noun}Status"] != "Completed":
            raise SageMakerError(*record["FailureReason"].split(": ", 1))
        return api.describe(noun, record) | {"PropertyFiles": step.get("PropertyFiles", [])}

    def holds(self, condition: Record) -> bool:
        """Judge one condition. Raises SageMakerError for an unknown one and for text against a number."""
        kind = condition["Type"]
        if kind not in COMPARISONS:
            raise invalid(f"The local cloud has the conditions {', '.join(COMPARISONS)}, not {kind}.")
        left, right = self.resolve(condition["LeftValue"]), self.resolve(condition["RightValue"])
        if isinstance(left, str) != isinstance(right, str):
            raise invalid(f"{kind} can't compare {left!r} with {right!r}.")
        return COMPARISONS[kind](left, right)

    def resolve(self, node: Any) -> Any:
        """A copy of a part of the definition, every expression replaced by its value."""
        match node:
            case list():
                return [self.resolve(item) for item in node]
            case {"Get": str(path)} if len(node) == 1:
                return walk(self.scope, path)
            case {"Std:Join": {"On": on, "Values": values}}:
                return on.join(str(self.resolve(value)) for value in values)
            case {"Std:JsonGet": {"PropertyFile": {"Get": str(file)}, "Path": path}}:
                return walk(self.property_file(file), path)
            case dict():
                return {key: self.resolve(value) for key, value in node.items()}
        return node

    def property_file(self, path: str) -> Any:
        """The JSON that Steps.<step>.PropertyFiles.<name> stands for."""
        declared = walk(self.scope, path)
        output = f"{path.partition('.PropertyFiles')[0]}.ProcessingOutputConfig.Outputs.{declared['OutputName']}"
        folder = walk(self.scope, output)["S3Output"]["S3Uri"]
        with containers.s3(f"{folder.rstrip('/')}/{declared['FilePath']}") as (service, bucket, key):
            return json.loads(service.get_object(Bucket=bucket, Key=key)["Body"].read())


OWN = "PipelineName PipelineDisplayName PipelineDescription PipelineDefinition RoleArn"


@operation("CreatePipeline", f"{OWN} ClientRequestToken Tags")
def create(request: Record) -> Record:
    """Store a pipeline."""
    parse(request.get("PipelineDefinition", ""))
    return store.create("Pipeline", request["PipelineName"], request, PipelineStatus="Active")


@operation("UpdatePipeline", OWN)
def update(request: Record) -> Record:
    """Change a pipeline; what runs keeps the definition it was started with."""
    record = store.find("Pipeline", request["PipelineName"])
    if "PipelineDefinition" in request:
        parse(request["PipelineDefinition"])
    record.update(request, LastModifiedTime=time.time())
    return record


@operation("StartPipelineExecution", "PipelineName PipelineParameters ClientRequestToken")
def start(request: Record) -> Record:
    """Start an execution; the same ClientRequestToken answers the same execution again."""
    pipeline = store.find("Pipeline", request["PipelineName"])
    for known in api.selected("PipelineExecution", {"PipelineName": pipeline["PipelineName"]}):
        if known["ClientRequestToken"] == request["ClientRequestToken"]:
            return known
    definition = parse(pipeline["PipelineDefinition"])
    parameters = typed(definition, request.get("PipelineParameters", []))
    identity = uuid.uuid4().hex[:12]
    record = store.create(
        "PipelineExecution",
        f"{pipeline['PipelineName']}/execution/{identity}",
        {**request, "PipelineName": pipeline["PipelineName"], "PipelineArn": pipeline["PipelineArn"]},
        PipelineExecutionId=identity,
        StartTime=time.time(),
        PipelineExecutionSteps=[],
    )
    _change(record, "Executing")
    store.work(
        record["PipelineExecutionArn"],
        lambda: Execution(record, parameters).run(definition["Steps"]),
        lambda reason: _change(record, "Failed" if reason else "Succeeded", reason),
    )
    return record


def _change(record: Record, status: str, reason: str = "") -> None:
    """Change an execution's status and emit the event."""
    detail = {"currentPipelineExecutionStatus": status, "executionStartTime": store.iso(record["StartTime"])}
    if previous := record.get("PipelineExecutionStatus"):
        detail |= {"previousPipelineExecutionStatus": previous, "executionEndTime": store.iso(time.time())}
    arns = {"pipelineArn": record["PipelineArn"], "pipelineExecutionArn": record["PipelineExecutionArn"]}
    record.update(PipelineExecutionStatus=status, FailureReason=reason or None, LastModifiedTime=time.time())
    store.emit("Model Building Pipeline Execution Status Change", detail | arns, *arns.values())


@operation("ListPipelineExecutionSteps", "PipelineExecutionArn MaxResults SortOrder")
def list_steps(request: Record) -> Record:
    """The steps that were started, the last one first."""
    steps = store.find("PipelineExecution", request["PipelineExecutionArn"])["PipelineExecutionSteps"]
    return api.page("ListPipelineExecutionSteps", request, steps)
