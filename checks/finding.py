"""What every gate answers with, and its one JSON form."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is: the words that rule packs and SARIF viewers share."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


@dataclass(frozen=True, order=True)
class Finding:
    """One thing wrong: `stack` is environment/layer, `resource` a logical id, `fix` what to do next."""

    rule: str
    severity: Severity
    stack: str
    resource: str
    message: str
    fix: str

    def __str__(self) -> str:
        where = f"{self.stack}/{self.resource}"
        return f"{self.severity:6} {self.rule}  {where}\n       {self.message}\n       fix: {self.fix}"


def to_json(findings: Iterable[Finding]) -> str:
    """A list of {rule, severity, stack, resource, message, fix}."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)
