"""Acknowledging rule-pack findings: one construct, one finding, one reason.

cdk-nag names a wildcard finding after the resolved resource, e.g. `AwsSolutions-IAM5[Resource::<export>/raw/*]`,
which no construct can know while it is being built. So a construct says here which of its findings it explains, and
`Explained`, a validation plugin that goes before the pack, acknowledges exactly those once their names are known.
"""

import re
from collections.abc import Iterator

import jsii
from aws_cdk import (
    IPolicyValidationPlugin,
    PolicyValidationPluginReport,
    Stack,
)
from cdk_nag import NagPack
from constructs import IConstruct

_METADATA = "millrace:explained"
# What Validations.acknowledge() writes; it adds a stack trace with the path of a temporary folder to every report.
_ACKNOWLEDGED = "aws:cdk:acknowledged-rules"


def explain(construct: IConstruct, finding: str, reason: str) -> None:
    """Accept the findings of `construct` and what it contains whose whole name matches the regex `finding`.

    The name is without its pack: "IAM5\\[Resource::.*/flights/\\*\\]". The reason is for a reviewer.
    """
    construct.node.add_metadata(_METADATA, {"finding": finding, "reason": reason})


@jsii.implements(IPolicyValidationPlugin)
class Explained:
    """Acknowledges what constructs have explained to any of `packs`; finds nothing itself. It goes before them."""

    def __init__(self, app: IConstruct, *packs: NagPack) -> None:
        self._app = app
        self._packs = packs
        self._explained: dict[str, list[tuple[str, str]]] = {}  # by path

    @property
    def name(self) -> str:
        return "Explained"

    def validate(self, _context: object) -> PolicyValidationPluginReport:
        for pack in self._packs:
            name = pack.read_pack_name
            for violation in pack.validate_scope(self._app).violations:
                for resource in violation.violating_resources:
                    construct = _find(self._app, resource.construct_path)
                    if reason := self._reason(construct, violation.rule_name.removeprefix(f"{name}-")):
                        construct.node.add_metadata(_ACKNOWLEDGED, {f"{name}::{violation.rule_name}": reason})
        return PolicyValidationPluginReport(success=True, violations=[])

    def _reason(self, construct: IConstruct, finding: str) -> str:
        """All reasons that `construct` or a holder of it below the stack gives for `finding`."""
        reasons = [
            reason
            for holder in _upwards(construct)
            for pattern, reason in self._explanations(holder)
            if re.fullmatch(pattern, finding, re.DOTALL)
        ]
        return "; ".join(dict.fromkeys(reasons))

    def _explanations(self, holder: IConstruct) -> list[tuple[str, str]]:
        path = holder.node.path
        if path not in self._explained:  # reading metadata is slow: it all comes through the jsii kernel
            entries = [entry.data for entry in holder.node.metadata if entry.type == _METADATA]
            self._explained[path] = [(str(entry["finding"]), str(entry["reason"])) for entry in entries]
        return self._explained[path]


def _find(app: IConstruct, path: str) -> IConstruct:
    construct = app
    for name in path.split("/"):
        construct = construct.node.find_child(name)
    return construct


def _upwards(construct: IConstruct | None) -> Iterator[IConstruct]:
    while construct is not None and not Stack.is_stack(construct):
        yield construct
        construct = construct.node.scope
