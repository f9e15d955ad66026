"""One resource of a template as rules see it: safe to read whatever its JSON is, and never kinder than the worst case.

An intrinsic function stands for a value that nobody knows before deployment. Where a rule asks whether something is
named (a key, a VPC, a queue) an intrinsic is a name; where it asks for a literal (`true`, a number of days) an
intrinsic is not that literal, so the rule finds it. Each branch of an `Fn::If` is judged.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

_NOTHING = {"Ref": "AWS::NoValue"}
_CONDITIONS = 6  # 64 combinations; with more, all true or all false but for one, so that each branch is judged


@dataclass(frozen=True)
class Resource:
    """A resource and its template; `resource["A.B"]` is a property, None where there is no such thing."""

    logical_id: str
    type: str
    properties: Any
    template: dict[str, Any]

    def __getitem__(self, path: str) -> Any:
        return at(self.properties, path)

    def others(self, *types: str) -> Iterator["Resource"]:
        """The template's resources of `types`."""
        for name, each in self.template["Resources"].items():
            if each["Type"] in types:
                yield Resource(name, each["Type"], each.get("Properties", {}), self.template)

    def named_by(self, value: Any, *types: str) -> Iterator["Resource"]:
        """The template's resource of `types` that `value` is a Ref or Fn::GetAtt of, if there is one."""
        return (other for other in self.others(*types) if other.logical_id == target(value))

    def choices(self) -> Iterator["Resource"]:
        """This resource once for each combination of the conditions in its properties."""
        names = sorted(_conditions(self.properties))
        if len(names) > _CONDITIONS:
            flips = [[name == flipped for name in names] for flipped in (None, *names)]
            combinations = [*flips, *([not value for value in values] for values in flips)]
        else:
            combinations = [list(values) for values in product((True, False), repeat=len(names))]
        for values in combinations:
            chosen = _chosen(self.properties, dict(zip(names, values, strict=True)))
            yield Resource(self.logical_id, self.type, chosen, self.template)


def at(value: Any, path: str) -> Any:
    """What is at `path` ("A.B") in `value`; None where there is nothing, or AWS::NoValue."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return None if value == _NOTHING else value


def target(value: Any) -> str | None:
    """The logical id that a Ref or Fn::GetAtt points to."""
    match value:
        case {"Ref": str() as name} | {"Fn::GetAtt": [str() as name, *_]}:
            return name
        case {"Fn::GetAtt": str() as name}:
            return name.split(".")[0]
    return None


def items(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, or the one that stands for a list of one."""
    several = value if isinstance(value, list) else [value]
    return [each for each in several if isinstance(each, dict) and each != _NOTHING]


def texts(value: Any) -> list[str]:
    """The strings of a list, or the one that stands for a list of one, intrinsics as `text` gives them."""
    return [text(each) for each in (value if isinstance(value, list) else [value]) if each is not None]


def intrinsic(value: Any) -> bool:
    """Whether `value` is known only when it is deployed."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    name = next(iter(value))
    return name == "Ref" or name.startswith("Fn::")


def true(value: Any) -> bool:
    """Whether `value` is true for certain; CloudFormation also takes the word."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def false(value: Any) -> bool:
    """Whether `value` is false for certain."""
    return value is False or (isinstance(value, str) and value.lower() == "false")


def number(value: Any) -> float | None:
    """A literal number, also one written as a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def own_key(value: Any) -> bool:
    """Whether `value` names a key of one's own: an intrinsic does, AWS's alias/aws/... does not."""
    return bool(value) and "alias/aws/" not in text(value)


def text(value: Any) -> str:
    """`value` as text, joined as far as that is known: `${AccountId}` for AWS::AccountId, `${}` for other unknowns."""
    match value:
        case str():
            return value
        case {"Fn::Join": [str() as separator, list() as parts]}:
            return separator.join(map(text, parts))
        case {"Fn::Sub": str() as template} | {"Fn::Sub": [str() as template, *_]}:
            return template.replace("${AWS::", "${")
        case {"Ref": str() as name} if name.startswith("AWS::"):
            return f"${{{name.removeprefix('AWS::')}}}"
    return "${}" if isinstance(value, dict | list) else str(value)


def parsed(value: Any) -> Any:
    """A document that a property holds as an object or as JSON text; None when it is neither."""
    if isinstance(value, dict | list) and not intrinsic(value):
        return value
    try:
        return json.loads(text(value))
    except (ValueError, RecursionError):
        return None


def _conditions(value: Any) -> set[str]:
    match value:
        case {"Fn::If": [str() as name, *branches]}:
            return {name}.union(*map(_conditions, branches))
        case dict():
            return set().union(*map(_conditions, value.values()))
        case list():
            return set().union(*map(_conditions, value))
    return set()


def _chosen(value: Any, truth: dict[str, bool]) -> Any:
    """`value` with each Fn::If replaced by the branch that `truth` takes."""
    match value:
        case {"Fn::If": [str() as name, yes, no]}:
            return _chosen(yes if truth[name] else no, truth)
        case dict():
            return {key: _chosen(each, truth) for key, each in value.items()}
        case list():
            return [_chosen(each, truth) for each in value]
    return value
