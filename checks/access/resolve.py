"""Resolves a template's intrinsic functions over all stacks of an environment, to text as CloudFormation would make it.

What only a deployment knows (a parameter, an attribute with no known form) becomes a symbol, the same wherever it is
used (patterns.unknown). A name that CloudFormation makes up starts as it will, and is told apart by its logical id.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from checks.access.arns import ARN_AS_REF, ATTRIBUTES, FORMS, NAMES
from checks.access.patterns import unknown
from checks.assembly import Stack

_ABSENT = object()  # AWS::NoValue
_NAME_LIKE = {"AWS::S3::Bucket": str.lower}


@dataclass(frozen=True)
class Either:
    """The two values of an Fn::If, since its condition is decided at deployment."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Place:
    """Where a stack is deployed; a template that goes anywhere has symbols."""

    account: str = unknown("account")
    region: str = unknown("region")

    @property
    def partition(self) -> str:
        """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html"""
        prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
        return next((name for start, name in prefixes.items() if self.region.startswith(start)), "aws")

    @property
    def suffix(self) -> str:
        """The domain of AWS's hosts."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"


def place(stack: Stack) -> Place:
    """Where its manifest says that it goes (aws://account/region)."""
    _, _, account, region, *_ = [*stack.target.split("/"), "", "", ""]
    given = {"account": account, "region": region}
    return Place(**{name: value for name, value in given.items() if value and not value.startswith("unknown-")})


class Resolver:
    """The values of the stacks of one environment, of which two may have one name, each in its region."""

    def __init__(self, stacks: Iterable[Stack]) -> None:
        self.stacks = tuple(stacks)
        self.named = {stack.name: stack for stack in self.stacks}
        self._exports: dict[str, tuple[Stack, Any]] = {}
        self._under_way: set[tuple[str, str]] = set()
        for stack in self.stacks:
            for output in stack.outputs.values():
                if "Export" in output:
                    self._exports[self.text(stack, output["Export"]["Name"])] = (stack, output["Value"])

    def place(self, stack: Stack) -> Place:
        """Where the stack goes."""
        return place(stack)

    def properties(self, stack: Stack, logical_id: str) -> dict[str, Any]:
        """The resolved properties of a resource."""
        found: dict[str, Any] = self.value(stack, stack.template["Resources"][logical_id].get("Properties", {}))
        return found

    def text(self, stack: Stack, value: Any) -> str:
        """A value that must be one text: what is none is a symbol."""
        resolved = self.value(stack, value)
        return str(resolved) if isinstance(resolved, str | int | float) else self._unknown(stack, value)

    def value(self, stack: Stack, value: Any) -> Any:
        """A piece of the stack's template, resolved."""
        if isinstance(value, list):
            return [each for each in (self.value(stack, item) for item in value) if each is not _ABSENT]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (function, argument), *_ = value.items()
            if function == "Ref" or function.startswith("Fn::"):
                return self._call(stack, function, argument)
        resolved = {name: self.value(stack, item) for name, item in value.items()}
        return {name: each for name, each in resolved.items() if each is not _ABSENT}

    def _call(self, stack: Stack, function: str, argument: Any) -> Any:
        match function, argument:
            case "Ref", str():
                return self._ref(stack, argument)
            case "Fn::GetAtt", str():
                return self._attribute(stack, *argument.split(".", 1))
            case "Fn::GetAtt", [str() as logical_id, attribute]:
                return self._attribute(stack, logical_id, self.text(stack, attribute))
            case "Fn::Join", [str() as separator, list() as parts]:
                return separator.join(self.text(stack, part) for part in parts)
            case "Fn::Sub", _:
                return self._substitute(stack, argument)
            case "Fn::Split", [str() as separator, text]:
                return self.text(stack, text).split(separator)
            case "Fn::Select", [index, choices] if str(index).isdigit():
                found = self.value(stack, choices)
                known = isinstance(found, list) and int(index) < len(found)
                return found[int(index)] if known else self._unknown(stack, {function: argument})
            case "Fn::If", [_, *branches]:
                values = [self.value(stack, branch) for branch in branches]
                possible = tuple(value for value in values if value is not _ABSENT)
                return values[0] if values[0] == values[-1] else Either(possible)
            case "Fn::FindInMap", [name, first, second, *_]:
                table = stack.template.get("Mappings", {}).get(name, {})
                found = table.get(self.text(stack, first), {}).get(self.text(stack, second))
                return found if found is not None else self._unknown(stack, argument)
            case "Fn::ImportValue", _:
                return self._output(self._exports.get(self.text(stack, argument)), stack, argument)
            case "Fn::GetStackOutput", {"StackName": name, "OutputName": output}:
                producer = self.named.get(self.text(stack, name))
                found = producer and producer.outputs.get(self.text(stack, output))
                return self._output((producer, found["Value"]) if producer and found else None, stack, argument)
        return self._unknown(stack, {function: argument})

    def _output(self, found: tuple[Stack, Any] | None, stack: Stack, argument: Any) -> Any:
        return self.value(*found) if found else self._unknown(stack, argument)

    def _ref(self, stack: Stack, name: str) -> Any:
        place = self.place(stack)
        pseudo = {
            "AWS::AccountId": place.account,
            "AWS::Region": place.region,
            "AWS::Partition": place.partition,
            "AWS::URLSuffix": place.suffix,
            "AWS::StackName": stack.name,
            "AWS::StackId": f"arn:{place.partition}:cloudformation:{place.region}:{place.account}:stack/{stack.name}/…",
            "AWS::NoValue": _ABSENT,
        }
        if name in pseudo:
            return pseudo[name]
        resource = stack.template.get("Resources", {}).get(name)
        if resource is None:
            return unknown(f"{stack.layer}.{name}")  # a parameter
        if resource["Type"] == "AWS::SQS::Queue":
            return f"https://sqs.{place.region}.{place.suffix}/{place.account}/{self.name(stack, name)}"
        return self.arn(stack, name) if resource["Type"] in ARN_AS_REF else self.name(stack, name)

    def _attribute(self, stack: Stack, logical_id: str, attribute: str) -> str:
        resource = stack.template.get("Resources", {}).get(logical_id)
        if resource and resource["Type"] in FORMS and attribute in ("Arn", "ConsumerARN", "TopicArn"):
            return self.arn(stack, logical_id)
        if resource and ATTRIBUTES.get(resource["Type"]) == attribute:
            return self.name(stack, logical_id)
        return unknown(f"{stack.layer}.{logical_id}.{attribute}")

    def arn(self, stack: Stack, logical_id: str) -> str:
        """The ARN of a resource whose type has a known form."""
        place, form = self.place(stack), FORMS[stack.template["Resources"][logical_id]["Type"]]
        given = stack.template["Resources"][logical_id].get("Properties", {})
        return form.format(
            partition=place.partition,
            region=place.region,
            account=place.account,
            name=self.name(stack, logical_id),
            path=self.text(stack, given.get("Path", "/")),
            database=self.text(stack, given.get("DatabaseName", "")),
            function=self.text(stack, given.get("FunctionName", "")).split(":")[-1],
            stream=self.text(stack, given.get("StreamARN", "")),
        )

    def name(self, stack: Stack, logical_id: str) -> str:
        """The physical name: as the template gives it, else as CloudFormation would begin it."""
        resource = stack.template["Resources"][logical_id]
        here = (stack.name, logical_id)
        given: Any = resource.get("Properties", {})
        for step in NAMES.get(resource["Type"], "").split("."):
            given = given.get(step) if isinstance(given, dict) else None
        if given is not None and here not in self._under_way:
            self._under_way.add(here)
            try:
                return self.text(stack, given)
            finally:
                self._under_way.discard(here)
        made_up = f"{stack.name}-{logical_id}-…"
        return _NAME_LIKE.get(resource["Type"], str)(made_up)

    def _substitute(self, stack: Stack, argument: Any) -> str:
        text, variables = (argument, {}) if isinstance(argument, str) else argument

        def replaced(found: re.Match[str]) -> str:
            name = found[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in variables:
                return self.text(stack, variables[name])
            return self.text(stack, {"Fn::GetAtt": name} if "." in name else {"Ref": name})

        return re.sub(r"\$\{([^}]+)\}", replaced, text)

    def _unknown(self, stack: Stack, value: Any) -> str:
        return unknown(f"{stack.layer}:{_shown(value)}")


def _shown(value: Any) -> str:
    """A short form of an expression, without the characters that ARNs are split at."""
    return re.sub(r"[^\w.-]+", "_", json.dumps(value, default=str)).strip("_")


def options(value: Any) -> Iterator[tuple[Any, bool]]:
    """The items of a list (or the one item) and whether each is there in every deployment."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Either):
            for each in item.values:
                yield from ((inner, False) for inner, _ in options(each))
        elif item is not None:
            yield item, True
