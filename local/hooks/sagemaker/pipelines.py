"""Pipelines: Processing, Training, Condition and RegisterModel steps, one after another as their dependencies allow.

Without effect here: step caching, retry policies, experiments. Format: aws-sagemaker-mlops.github.io/
sagemaker-model-building-pipeline-definition-JSON-schema
"""

import json
import operator
import random
import re
import string
import time
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from local.hooks.sagemaker import api, containers, store
from local.hooks.sagemaker.api import operation
from local.hooks.sagemaker.store import Record, SageMakerError, invalid

CASTS: dict[str, Callable[[str], Any]] = {"String": str, "Integer": int, "Float": float}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}


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


def parse(definition: str) -> tuple[Record, dict[str, Node]]:
    """A definition and its steps in the order they run in. Raises a ValidationException for what could not run."""
    try:
        parsed = json.loads(definition)
        found = {node.step["Name"]: node for node in nodes(parsed["Steps"])}
        order = [*TopologicalSorter({name: node.needs for name, node in found.items()}).static_order()]
    except (ValueError, TypeError, KeyError) as error:
        cycle = f"steps wait for each other: {error.args[1]}" if isinstance(error, CycleError) else repr(error)
        raise invalid(f"PipelineDefinition: {cycle}.") from None
    if parsed.get("Version") != "2020-12-01":
        raise invalid('PipelineDefinition: "Version" must be "2020-12-01".')
    if unknown := sorted({*order} - found.keys()):
        raise invalid(f"PipelineDefinition: there are no steps {', '.join(unknown)}, which others refer to.")
    return parsed, {name: found[name] for name in order}


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


class Execution:
    """One run of a definition."""

    def __init__(self, record: Record, steps: dict[str, Node], parameters: Record) -> None:
        self.record = record
        self.nodes = steps
        self.results: Record = {}  # of the steps that succeeded
        self.scope = {"Parameters": parameters, "Execution": record, "Steps": self.results}

    def run(self) -> None:
        """Run every step whose turn comes. Raises SageMakerError when one fails: none runs after it."""
        for node in self.nodes.values():
            chosen = node.gate is None or self.results.get(node.gate[0]) == {"Outcome": node.gate[1]}
            if chosen and node.needs <= self.results.keys():
                self.step(node.step)

    def step(self, step: Record) -> None:
        """Run one step and keep its result, or the reason of its failure, which it raises."""
        entry = {"StepName": step["Name"], "StartTime": time.time(), "StepStatus": "Executing", "Metadata": {}}
        self.record["PipelineExecutionSteps"].append(entry)
        try:
            self.results[step["Name"]] = STEPS[step["Type"]](self, step, entry)
            entry["StepStatus"] = "Succeeded"
        except SageMakerError as error:
            entry.update(StepStatus="Failed", FailureReason=str(error)[:1024])
            raise invalid(f"Step failure: One or multiple steps failed. {step['Name']}: {error}"[:1024]) from error
        finally:
            entry["EndTime"] = time.time()

    def job(self, step: Record, entry: Record) -> Record:
        """Run a job to its end."""
        noun, identity = f"{step['Type']}Job", self.record["PipelineExecutionId"]
        name = f"pipelines-{identity}-{step['Name'][:28]}-{_random(10)}"
        arn = api.call(f"Create{noun}", {**self.resolve(step["Arguments"]), f"{noun}Name": name})[f"{noun}Arn"]
        entry["Metadata"] = {noun: {"Arn": arn}}
        record = store.settled(noun, arn)
        if record[f"{noun}Status"] != "Completed":
            raise invalid(record["FailureReason"])
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
        _, name, _, file = path.split(".", 3)
        declared = {item["PropertyFileName"]: item for item in self.nodes[name].step.get("PropertyFiles", ())}
        output, place = walk(declared, f"{file}.OutputName"), walk(declared, f"{file}.FilePath")
        folder = walk(self.results, f"{name}.ProcessingOutputConfig.Outputs['{output}'].S3Output.S3Uri")
        with containers.s3(f"{folder.rstrip('/')}/{place}") as (service, bucket, key):
            return json.loads(service.get_object(Bucket=bucket, Key=key)["Body"].read())


STEPS: dict[str, Callable[[Execution, Record, Record], Record]] = {
    "Processing": Execution.job,
    "Training": Execution.job,
    "Condition": Execution.condition,
    "RegisterModel": Execution.register,
}
OWN = "PipelineName PipelineDisplayName PipelineDescription PipelineDefinition RoleArn"


def _random(length: int) -> str:
    return "".join(random.choices(string.ascii_lowercase + string.digits, k=length))  # noqa: S311


@operation("CreatePipeline", f"{OWN} ClientRequestToken Tags")
def create(request: Record) -> Record:
    """Store a pipeline."""
    parse(request.get("PipelineDefinition", ""))
    record = store.create("Pipeline", request["PipelineName"], request, PipelineStatus="Active")
    return {"PipelineArn": record["PipelineArn"]}


@operation("UpdatePipeline", OWN)
def update(request: Record) -> Record:
    """Change a pipeline; what runs keeps the definition it was started with."""
    record = store.find("Pipeline", request["PipelineName"])
    parse(request.get("PipelineDefinition", record["PipelineDefinition"]))
    record.update(request, PipelineName=record["PipelineName"], LastModifiedTime=time.time())
    return {"PipelineArn": record["PipelineArn"]}


@operation("StartPipelineExecution", "PipelineName PipelineParameters ClientRequestToken")
def start(request: Record) -> Record:
    """Start an execution; the same ClientRequestToken answers the same execution again."""
    pipeline = store.find("Pipeline", request["PipelineName"])
    for known in api.selected("PipelineExecution", {"PipelineName": pipeline["PipelineName"]}):
        if known["ClientRequestToken"] == request["ClientRequestToken"]:
            return {"PipelineExecutionArn": known["PipelineExecutionArn"]}
    definition, steps = parse(pipeline["PipelineDefinition"])
    if unknown := {node.step["Type"] for node in steps.values()} - STEPS.keys():
        raise invalid(f"The local cloud runs steps of the types {', '.join(STEPS)}, not {', '.join(unknown)}.")
    parameters, identity, now = typed(definition, request.get("PipelineParameters", [])), _random(12), time.time()
    record = store.create(
        "PipelineExecution",
        f"{pipeline['PipelineName']}/execution/{identity}",
        {**request, "PipelineName": pipeline["PipelineName"], "PipelineArn": pipeline["PipelineArn"]},
        PipelineExecutionDisplayName=f"execution-{int(now * 1000)}",
        PipelineExecutionId=identity,
        StartTime=now,
        PipelineExecutionSteps=[],
    )
    _change(record, "Executing")
    store.work(record["PipelineExecutionArn"], _supervise, Execution(record, steps, parameters))
    return {"PipelineExecutionArn": record["PipelineExecutionArn"]}


def _supervise(execution: Execution) -> None:
    """Run an execution to its end and record how it ended."""
    status, reason = "Failed", "InternalServerError: the local cloud's log says more."
    try:
        execution.run()
        status, reason = "Succeeded", ""
    except SageMakerError as error:
        reason = str(error)
    finally:
        _change(execution.record, status, **({"FailureReason": reason} if reason else {}))


def _change(record: Record, status: str, **fields: Any) -> None:
    """Change an execution's status and emit the event."""
    detail = {"currentPipelineExecutionStatus": status, "executionStartTime": store.iso(record["StartTime"])}
    if previous := record.get("PipelineExecutionStatus"):
        detail |= {"previousPipelineExecutionStatus": previous, "executionEndTime": store.iso(time.time())}
    named = ("PipelineExecutionDisplayName", "PipelineArn", "PipelineExecutionArn")
    detail |= {f"p{key[1:]}": record[key] for key in named}
    record.update(fields, PipelineExecutionStatus=status, LastModifiedTime=time.time())
    store.emit(
        "Model Building Pipeline Execution Status Change", detail, record["PipelineArn"], record["PipelineExecutionArn"]
    )


@operation("ListPipelineExecutionSteps", "PipelineExecutionArn MaxResults NextToken SortOrder")
def list_steps(request: Record) -> Record:
    """The steps that were started, the last one first."""
    steps = store.find("PipelineExecution", request["PipelineExecutionArn"])["PipelineExecutionSteps"]
    return api.page("ListPipelineExecutionSteps", request, steps)
