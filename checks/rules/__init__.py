"""The rule pack for data and ML resources: judges one resource at a time, in any assembly or template.

In another CDK app: `from checks.plugin import DataAndMlChecks`. docs/rules.md lists the rules; an acknowledgment there
or here is `Validations.of(construct).acknowledge(Acknowledgment(id="DataAndMl::<rule>", reason=...))`.
"""

from collections.abc import Iterator
from typing import Any

from checks.assembly import Assembly, AssemblyError
from checks.finding import Finding
from checks.rules import (
    catalog,
    compute,
    generative,
    identity,
    jobs,
    sagemaker,
    storage,
    streaming,
    warehouse,
)
from checks.rules.resource import Resource
from checks.rules.rule import Rule

PACK = "DataAndMl"
_AREAS = (identity, storage, streaming, catalog, warehouse, sagemaker, jobs, generative, compute)
RULES: tuple[Rule, ...] = tuple(each for area in _AREAS for each in vars(area).values() if isinstance(each, Rule))


def findings(assembly: Assembly) -> Iterator[Finding]:
    """What the pack finds in every stack. Raises AssemblyError."""
    for stack in assembly.stacks:
        for rule, logical_id, message in judge(stack.template, stack.label):
            yield Finding(rule.id, rule.severity, stack.label, logical_id, message, rule.fix)
        _check_objects(stack.template, stack.label)


def judge(template: Any, where: str) -> Iterator[tuple[Rule, str, str]]:
    """(rule, logical id, message) of every finding in a template. Raises AssemblyError with `where` if it is none."""
    _check(template, where)
    for logical_id, each in template.get("Resources", {}).items():
        resource = Resource(logical_id, each["Type"], each.get("Properties", {}), template)
        for rule in RULES:
            if resource.type in rule.types and (message := rule.judge(resource)):
                yield rule, logical_id, message


def _check(template: Any, where: str) -> None:
    """Raise AssemblyError if a template's resources can't be told apart."""
    resources = template.get("Resources", {}) if isinstance(template, dict) else None
    if not isinstance(resources, dict):
        raise AssemblyError(f"{where}: its template has no Resources object. Synthesize again with `cdk synth`.")
    for logical_id, each in resources.items():
        if not isinstance(each, dict) or not isinstance(each.get("Type"), str):
            raise AssemblyError(
                f"{where}: {logical_id} is no resource with a Type. Macros such as Fn::ForEach can't be judged: "
                "expand them, or synthesize again with `cdk synth`."
            )


def _check_objects(template: dict[str, Any], where: str) -> None:
    """Raise AssemblyError if properties or outputs are none: rules would judge them, the gates after this can't."""
    for logical_id, each in template.get("Resources", {}).items():
        if not isinstance(each.get("Properties", {}), dict):
            raise AssemblyError(f"{where}: the Properties of {logical_id} are no object: CloudFormation refuses them.")
    outputs = template.get("Outputs", {})
    if not isinstance(outputs, dict) or not all(isinstance(each, dict) for each in outputs.values()):
        raise AssemblyError(f"{where}: its template's Outputs are no objects: CloudFormation refuses them.")
