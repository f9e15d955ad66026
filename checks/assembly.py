"""Reads a cloud assembly (cdk.out) as the plain JSON it is."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

Resources = dict[str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Stack:
    """One stack: `layer` is its construct path below its stage, `requires` names the stacks deployed before it."""

    environment: str
    layer: str
    name: str
    template: dict[str, Any]
    metadata: dict[str, list[dict[str, Any]]]
    requires: tuple[str, ...]
    file: Path
    target: str = ""  # aws://account/region

    def resources(self, *types: str) -> Resources:
        """Resources by logical id: all of them, or those of `types`."""
        everything: Resources = self.template.get("Resources", {})
        return {name: each for name, each in everything.items() if not types or each["Type"] in types}

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """Outputs by name, also those that the CDK adds for other stacks."""
        found: dict[str, dict[str, Any]] = self.template.get("Outputs", {})
        return found

    def path(self, logical_id: str) -> str:
        """The construct path of a resource, or its logical id where the assembly doesn't tell."""
        return self._paths.get(logical_id, logical_id)

    @cached_property
    def _paths(self) -> dict[str, str]:
        return {
            entry["data"]: path.removeprefix("/")
            for path, entries in self.metadata.items()
            for entry in entries
            if entry["type"] == "aws:cdk:logicalId" and isinstance(entry["data"], str)
        }

    @property
    def label(self) -> str:
        """environment/layer, as findings name it."""
        return f"{self.environment}/{self.layer}".lstrip("/")

    def where(self, logical_id: str) -> str:
        """What a failing test says of a resource."""
        return f"{self.environment}/{self.layer}/{logical_id} ({self.template['Resources'][logical_id]['Type']})"


@dataclass(frozen=True)
class Acknowledged:
    """A finding that a construct has and explains; `rule` names the finding, e.g. AwsSolutions-IAM5[Resource::*]."""

    path: str
    rule: str
    at: str
    reason: str


class AssemblyError(ValueError):
    """A folder is no cloud assembly; the message says what is wrong and how to make one."""


class Assembly:
    """All stacks of a folder, and the report of the validation plugins. Raises AssemblyError when it is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "manifest.json").is_file():
            raise AssemblyError(f"{folder} has no manifest.json: it is no cloud assembly. `cdk synth` makes one.")

    @cached_property
    def stacks(self) -> list[Stack]:
        """Every stack of every stage; there is at least one."""
        try:
            found = list(_stacks(self.folder, ""))
        except (LookupError, TypeError, AttributeError, RecursionError) as error:
            raise AssemblyError(
                f"{self.folder}: a manifest is not as the CDK writes it ({error!r}): synthesize again with `cdk synth`."
            ) from None
        if not found:
            raise AssemblyError(f"{self.folder} has no stack, so there is nothing to judge. `cdk synth` makes some.")
        return found

    @cached_property
    def environments(self) -> dict[str, dict[str, Stack]]:
        """environment -> layer -> stack."""
        found: dict[str, dict[str, Stack]] = {}
        for stack in self.stacks:
            found.setdefault(stack.environment, {})[stack.layer] = stack
        return found

    @cached_property
    def validation(self) -> list[dict[str, Any]]:
        """What each validation plugin reports: open and acknowledged findings; nothing where none ran."""
        file = self.folder / "validation-report.json"
        report = _read(file) if file.exists() else {"pluginReports": []}
        if not isinstance(report, dict) or not isinstance(report.get("pluginReports"), list):
            raise AssemblyError(f"{file} has no pluginReports: synthesize again with `cdk synth`.")
        return list(report["pluginReports"])

    @property
    def acknowledged(self) -> list[Acknowledged]:
        """Every acknowledged finding, once for each construct that has it."""
        return [
            Acknowledged(construct["constructPath"], finding["ruleName"], finding["acknowledgedAt"], finding["reason"])
            for report in self.validation
            for finding in report.get("suppressedViolations", [])
            for construct in finding["violatingConstructs"]
        ]

    def resources(self, *types: str) -> list[tuple[Stack, str, dict[str, Any]]]:
        """(stack, logical id, resource) of `types` in every stack."""
        return [(stack, *each) for stack in self.stacks for each in stack.resources(*types).items()]


@dataclass(frozen=True)
class Reference:
    """One intrinsic function that points somewhere: `target` is a logical id, an export or an output's name."""

    function: str
    target: str
    stack_name: str = ""  # of Fn::GetStackOutput


def references(value: Any) -> Iterator[Reference]:
    """Every reference within a piece of a template."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            match key, item:
                case "Ref", str():
                    yield Reference(key, item)
                case "Fn::GetAtt", [str() as logical_id, *_]:
                    yield Reference(key, logical_id)
                case "Fn::GetAtt", str():
                    yield Reference(key, item.split(".")[0])
                case "Fn::ImportValue", str():
                    yield Reference(key, item)
                case "Fn::GetStackOutput", dict():
                    yield Reference(key, item["OutputName"], item["StackName"])
                case "Fn::Sub", _:
                    yield from _substituted(item)
                case _:
                    yield from references(item)


def _substituted(value: Any) -> Iterator[Reference]:
    text, variables = (value, {}) if isinstance(value, str) else value
    for name in re.findall(r"\$\{([^!}][^}]*)\}", text):
        if name not in variables:
            yield Reference("Fn::Sub", name.split(".")[0])
    yield from references(variables)


def _stacks(folder: Path, stage: str) -> Iterator[Stack]:
    artifacts = _read(folder / "manifest.json")["artifacts"]
    named = {
        identifier: artifact["properties"].get("stackName", identifier)
        for identifier, artifact in artifacts.items()
        if artifact["type"] == "aws:cloudformation:stack"
    }
    for identifier, artifact in artifacts.items():
        if artifact["type"] == "cdk:cloud-assembly":
            yield from _stacks(folder / artifact["properties"]["directoryName"], artifact["properties"]["displayName"])
        elif identifier in named:
            yield Stack(
                environment=stage,
                layer=artifact.get("displayName", identifier).split(" ")[0].removeprefix(f"{stage}/"),
                name=named[identifier],
                template=_read(folder / artifact["properties"]["templateFile"]),
                metadata=_metadata(folder, artifact),
                requires=tuple(named[each] for each in artifact.get("dependencies", []) if each in named),
                file=folder / artifact["properties"]["templateFile"],
                target=str(artifact.get("environment", "")),
            )


def _metadata(folder: Path, artifact: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What constructs say of themselves: in a file of its own, or in the manifest by older libraries."""
    file = artifact.get("additionalMetadataFile")
    found = _read(folder / file) if file else artifact.get("metadata", {})
    return {path: [{"type": each["type"], "data": each.get("data")} for each in found[path]] for path in found}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise AssemblyError(f"{path} can't be read ({error}): synthesize again with `cdk synth`.") from None
