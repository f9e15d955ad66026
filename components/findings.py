"""Acknowledging rule-pack findings: one construct, one finding, one reason.

cdk-nag names a wildcard finding after the resolved resource, e.g. `AwsSolutions-IAM5[Resource::<export>/raw/*]`,
which no construct can know while it is being built. So a construct says here which of its findings it explains, and
`Explained`, a validation plugin that goes before the pack, acknowledges exactly those once their names are known.
"""

import re
from collections.abc import Iterator

import jsii
from aws_cdk import (
    Acknowledgment,
    IPolicyValidationPlugin,
    PolicyValidationPluginReport,
    Validations,
)
from cdk_nag import NagPack
from constructs import IConstruct

_METADATA = "millrace:explained"


def explain(construct: IConstruct, finding: str, reason: str) -> None:
    """Accept the findings of `construct` and what it contains whose whole name matches the regex `finding`.

    The name is without its pack: "IAM5\\[Resource::.*/flights/\\*\\]". The reason is for a reviewer.
    """
    construct.node.add_metadata(_METADATA, {"finding": finding, "reason": reason})


@jsii.implements(IPolicyValidationPlugin)
class Explained:
    """Acknowledges what constructs have explained to `pack`; finds nothing itself. Register it before the pack."""

    def __init__(self, app: IConstruct, pack: NagPack) -> None:
        self._app = app
        self._pack = pack

    @property
    def name(self) -> str:
        return "Explained"

    def validate(self, _context: object) -> PolicyValidationPluginReport:
        for violation in self._pack.validate_scope(self._app).violations:
            name = violation.rule_name
            for resource in violation.violating_resources:
                construct = _find(self._app, resource.construct_path)
                if reason := _reason(construct, name.removeprefix(f"{self._pack.read_pack_name}-")):
                    identifier = f"{self._pack.read_pack_name}::{name}"
                    Validations.of(construct).acknowledge(Acknowledgment(id=identifier, reason=reason))
        return PolicyValidationPluginReport(success=True, violations=[])


def _find(app: IConstruct, path: str) -> IConstruct:
    construct = app
    for name in path.split("/"):
        construct = construct.node.find_child(name)
    return construct


def _reason(construct: IConstruct, finding: str) -> str | None:
    for holder in _upwards(construct):
        for entry in holder.node.metadata:
            if entry.type == _METADATA and re.fullmatch(entry.data["finding"], finding, re.DOTALL):
                return str(entry.data["reason"])
    return None


def _upwards(construct: IConstruct | None) -> Iterator[IConstruct]:
    while construct is not None:
        yield construct
        construct = construct.node.scope
