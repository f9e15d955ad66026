"""What runs as which role: functions, jobs, containers, and services that act with a role."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from checks.assembly import Assembly, Stack, references
from checks.calls.modules import Code

_NOT_USERS = re.compile(r"AWS::(IAM|KMS)::|Policy$|Permission$|^Custom::|AWS::CloudFormation::CustomResource")
_SERVICES = {
    "AWS::CloudTrail::Trail",
    "AWS::CodeBuild::Project",
    "AWS::DataBrew::Job",
    "AWS::DataBrew::Project",
    "AWS::EC2::FlowLog",
    "AWS::KinesisAnalyticsV2::Application",
    "AWS::Glue::Crawler",
    "AWS::Glue::Job",
    "AWS::KinesisFirehose::DeliveryStream",
    "AWS::Lambda::Function",
    "AWS::SageMaker::Model",
    "AWS::SageMaker::Pipeline",
    "AWS::Scheduler::Schedule",
}
# What belongs to a function or a model, works with its role and names only its owner.
_PARTS = {
    "AWS::Lambda::EventInvokeConfig": "AWS::Lambda::Function",
    "AWS::Lambda::EventSourceMapping": "AWS::Lambda::Function",
    "AWS::SageMaker::EndpointConfig": "AWS::SageMaker::Model",
}
EVALUATION = ":aws-sdk:glue:startDataQualityRulesetEvaluationRun"
_ASSET = re.compile(r"[0-9a-f]{32,64}")
_STARTED = re.compile(r"python[0-9.]*\s+-m\s+([\w.]+)")


@dataclass(frozen=True, eq=False)
class Target:
    """A resource of some stack."""

    stack: Stack
    logical_id: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Target) and (other.stack is self.stack, other.logical_id) == (True, self.logical_id)

    def __hash__(self) -> int:
        return hash((self.stack.environment, self.stack.name, self.logical_id))

    def __str__(self) -> str:
        return f"{self.stack.environment}/{self.stack.layer}/{self.logical_id}"

    @property
    def type(self) -> str:
        """Its CloudFormation type."""
        return str(self.stack.template["Resources"][self.logical_id]["Type"])

    @property
    def properties(self) -> dict[str, Any]:
        """Its properties."""
        found: dict[str, Any] = self.stack.template["Resources"][self.logical_id].get("Properties", {})
        return found


@dataclass(frozen=True, eq=False)
class Use:
    """One resource, or one step of a pipeline, that works with a role.

    `kind` is a CloudFormation type or a step's type; `code` what it runs, if that is known; `unknown` says why not.
    """

    stack: Stack
    logical_id: str
    kind: str
    properties: Any
    index: "Index"
    code: Code | None = None
    unknown: str = ""
    steps: frozenset[str] = field(default_factory=frozenset)

    def at(self, *path: str) -> Any:
        """A property, or None."""
        found = self.properties
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return found

    @cached_property
    def text(self) -> str:
        """All of its properties."""
        return json.dumps(self.properties)

    def mentions(self, name: str) -> bool:
        """Whether a property of this name is anywhere in it."""
        return f'{name}"' in self.text.replace("\\", "")

    def types(self, *path: str) -> set[str]:
        """The types of the resources that a property points at."""
        return {target.type for target in self.index.targets(self.stack, self.at(*path))}

    def fails_to(self, kind: str) -> bool:
        """Whether what fails is sent to a resource of this type."""
        at_failure = self.types("DestinationConfig", "OnFailure", "Destination")
        return kind in at_failure | self.types("DeadLetterConfig", "TargetArn")


class Index:
    """An assembly's stacks, exports and assets by name."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.stacks = {stack.name: stack for stack in assembly.stacks}
        self.exports: dict[str, tuple[Stack, Any]] = {}
        for stack in assembly.stacks:
            for output in stack.outputs.values():
                if isinstance(name := output.get("Export", {}).get("Name"), str):
                    self.exports[name] = stack, output["Value"]
        found = [*assembly.folder.glob("asset.*"), *assembly.folder.glob("*/asset.*")]
        self.assets = {path.name.split(".")[1]: path for path in found}

    def targets(self, stack: Stack, value: Any) -> Iterator[Target]:
        """The resources that a value points at, in whichever stack they are."""
        for reference in references(value):
            if reference.function == "Fn::ImportValue":
                if reference.target in self.exports:
                    yield from self.targets(*self.exports[reference.target])
            elif reference.function == "Fn::GetStackOutput":
                producer = self.stacks.get(reference.stack_name)
                if producer and reference.target in producer.outputs:
                    yield from self.targets(producer, producer.outputs[reference.target].get("Value"))
            elif reference.target in stack.resources():
                yield Target(stack, reference.target)

    def asset(self, text: str) -> Path | None:
        """The asset whose hash a text names, whole or its first 32 characters (an image's tag)."""
        for name in _ASSET.findall(text):
            for identifier, path in self.assets.items():
                if identifier.startswith(name):
                    return path
        return None

    def roles(self, stack: Stack, value: Any) -> set[Target]:
        """The roles that a value points at."""
        return {target for target in self.targets(stack, value) if target.type == "AWS::IAM::Role"}


def uses(index: Index) -> list[tuple[Target, Use]]:
    """Every role of the assembly with each resource or pipeline step that works with it."""
    everything = index.assembly.resources()
    return [pair for stack, name, resource in everything for pair in _uses(index, stack, name, resource)]


def _uses(index: Index, stack: Stack, name: str, resource: dict[str, Any]) -> Iterator[tuple[Target, Use]]:
    kind, properties = resource["Type"], resource.get("Properties", {})
    if kind in _PARTS:
        for owner in index.targets(stack, properties):
            if owner.type == _PARTS[kind]:
                for role in index.roles(owner.stack, owner.properties):
                    yield role, Use(stack, name, kind, properties, index)
    elif kind == "AWS::SageMaker::Pipeline":
        yield from _pipeline(index, stack, name, properties)
    elif kind == "AWS::Events::Rule":
        for target in properties.get("Targets", []):  # each with a role of its own
            for role in index.roles(stack, target.get("RoleArn")):
                yield role, Use(stack, name, kind, target, index)
    elif kind == "AWS::Scheduler::Schedule":  # its own role, and one that its call hands on
        target = properties["Target"]
        for role in index.roles(stack, target.get("RoleArn")):
            yield role, Use(stack, name, kind, properties, index)
        unknown = "" if EVALUATION in str(target.get("Arn")) else "what its call hands this role to is not in the table"
        for role in index.roles(stack, target.get("Input")):
            yield role, Use(stack, name, "EvaluationRun", target, index, unknown=unknown)
    elif not _NOT_USERS.search(kind):
        for role in index.roles(stack, properties):
            code, unknown = _code(index, kind, properties)
            unknown = unknown if kind in _SERVICES else f"what a {kind} does with its role is not in the table"
            yield role, Use(stack, name, kind, properties, index, code, unknown)


def _code(index: Index, kind: str, properties: dict[str, Any]) -> tuple[Code | None, str]:
    """What a resource runs, or why that is not known."""
    if kind == "AWS::Lambda::Function":
        return _function_code(index, properties)
    if kind == "AWS::Glue::Job":
        script = index.asset(str(properties.get("Command", {}).get("ScriptLocation")))
        if script is None or not script.is_file():
            return None, "its script is not in the assembly"
        others = [index.asset(text) for text in _ASSET.findall(json.dumps(properties.get("DefaultArguments", {})))]
        return script_code(script, [path for path in others if path and path.is_dir()]), ""
    if kind == "AWS::SageMaker::Model":
        return _container_code(index, json.dumps(properties), "serve")
    return None, ""


def _function_code(index: Index, properties: dict[str, Any]) -> tuple[Code | None, str]:
    runtime = properties.get("Runtime", "a container image")
    if not str(runtime).startswith("python"):
        return None, f"its runtime is {runtime}"
    module, _, handler = str(properties.get("Handler")).replace("/", ".").rpartition(".")
    source = properties.get("Code", {})
    if isinstance(text := source.get("ZipFile"), str):
        return Code((), module, handler, text), ""
    asset = index.asset(str(source.get("S3Key")))
    if asset is None or not asset.is_dir():
        return None, "its code is not a folder of the assembly"
    return Code((asset,), module, handler), ""


def _container_code(index: Index, text: str, program: str, entry: str = "") -> tuple[Code | None, str]:
    """The module that a container starts: that of its entry point, or of the image's `train` or `serve`."""
    asset = index.asset(text)
    if asset is None or not asset.is_dir():
        return None, "its image is not built from the assembly"
    if not entry:
        programs = [path for path in asset.rglob(program) if path.is_file()]
        entry = programs[0].read_text(errors="replace") if programs else ""
    started = _STARTED.search(entry)
    return (Code((asset,), started[1]), "") if started else (None, f"what its image starts ({program}) can't be told")


def script_code(script: Path, others: list[Path]) -> Code:
    """A script that is an asset of its own: its name holds its hash, so it is read as inline text is."""
    return Code(tuple(others), "index", "", script.read_text(errors="replace"), script)


def _pipeline(index: Index, stack: Stack, name: str, properties: dict[str, Any]) -> Iterator[tuple[Target, Use]]:
    body = properties.get("PipelineDefinition", {}).get("PipelineDefinitionBody")
    definition, intrinsics = _definition(body)
    steps = list(_steps(definition.get("Steps", []))) if isinstance(definition, dict) else []
    types = frozenset(str(step.get("Type")) for step in steps)
    own_unknown = "" if steps else "its definition is not in the template"
    for role in index.roles(stack, properties.get("RoleArn")):
        yield role, Use(stack, name, "AWS::SageMaker::Pipeline", definition, index, unknown=own_unknown, steps=types)
    for step in steps:
        request, kind = step.get("Arguments", {}), str(step.get("Type"))
        marked = re.findall(r"\0(\d+)\0", str(request.get("RoleArn")))
        for role in index.roles(stack, [intrinsics[each] for each in marked]):
            entry = request.get("AppSpecification", {}).get("ContainerEntrypoint", [])
            code, unknown = _container_code(index, json.dumps(request), "train", " ".join(map(str, entry)))
            yield role, Use(stack, name, kind, request, index, code, unknown)


def _definition(body: Any) -> tuple[Any, dict[str, Any]]:
    """A pipeline's definition with what is only known at deployment marked by number, and that by its number."""
    parts = body["Fn::Join"][1] if isinstance(body, dict) and "Fn::Join" in body else [body]
    intrinsics = {str(number): part for number, part in enumerate(parts) if not isinstance(part, str)}
    text = "".join(part if isinstance(part, str) else f"\\u0000{number}\\u0000" for number, part in enumerate(parts))
    try:
        return json.loads(text), intrinsics
    except ValueError:
        return {}, intrinsics


def _steps(steps: list[Any]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield step
        arguments = step.get("Arguments", {})
        if step.get("Type") == "Condition":
            yield from _steps([*arguments.get("IfSteps", []), *arguments.get("ElseSteps", [])])
