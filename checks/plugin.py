"""The rule pack as a validation plugin, so that `cdk synth` of any app runs it.

Validations.of(app).add_plugins(DataAndMlChecks())
"""

import json
from pathlib import Path
from typing import Any

import jsii
from aws_cdk import IPolicyValidationPlugin, PolicyValidationPluginReport, PolicyViolatingResource, PolicyViolation

from checks.finding import Severity
from checks.rules import PACK, RULES, judge


@jsii.implements(IPolicyValidationPlugin)
class DataAndMlChecks:
    """Fails the synth on a finding of severity high or medium, and warns of a low one.

    To accept a finding: Validations.of(construct).acknowledge(Acknowledgment(id="DataAndMl::<rule>", reason="...")).
    It is then in validation-report.json among the suppressed violations, with its reason.
    """

    @property
    def name(self) -> str:
        return PACK

    @property
    def rule_ids(self) -> list[str]:
        return [rule.id for rule in RULES]

    def validate(self, context: Any) -> PolicyValidationPluginReport:
        violations = [
            PolicyViolation(
                rule_name=rule.id,
                description=f"{message}. {rule.why}",
                fix=rule.fix,
                severity="warning" if rule.severity is Severity.LOW else "error",
                rule_metadata={"severity": rule.severity, "source": rule.source},
                violating_resources=[
                    PolicyViolatingResource(resource_logical_id=logical_id, template_path=path, locations=[])
                ],
            )
            for path in context.template_paths
            for rule, logical_id, message in judge(json.loads(Path(path).read_text()), path)
        ]
        return PolicyValidationPluginReport(
            success=all(each.severity == "warning" for each in violations), violations=violations
        )
