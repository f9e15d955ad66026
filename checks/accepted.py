"""Which findings an assembly's own constructs accept, and why."""

import re
from collections.abc import Iterable, Iterator

from checks.assembly import Assembly, Stack
from checks.finding import Finding

EXPLAINED = "millrace:explained"  # {finding: regex, reason}, written by components/findings.py
ACKNOWLEDGED = "aws:cdk:acknowledged-rules"  # {pack::rule: reason}, written by the CDK's Validations.acknowledge()


class Accepted:
    """The explanations and acknowledgments of an assembly, by construct."""

    def __init__(self, assembly: Assembly) -> None:
        self._stacks = {stack.label: stack for stack in assembly.stacks}

    def open(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """The findings that nothing accepts."""
        return (finding for finding in findings if not self.reason(finding))

    def reason(self, finding: Finding) -> str:
        """Why its resource's construct, or one that holds it below the stack, accepts a finding; "" if none does."""
        stack = self._stacks.get(finding.stack)
        if not stack or finding.resource not in stack.resources():
            return ""
        path = stack.path(finding.resource)
        holders = (path.rsplit("/", up)[0] for up in range(path.count("/") - stack.label.count("/")))
        return "; ".join(
            reason
            for holder in holders
            for pattern, reason in _accepted_by(stack, holder)
            if re.fullmatch(pattern, finding.rule)
        )


def _accepted_by(stack: Stack, holder: str) -> Iterator[tuple[str, str]]:
    """(regex of rules, reason) that one construct gives."""
    for entry in stack.metadata.get(f"/{holder}", []):
        if entry["type"] == EXPLAINED:
            yield entry["data"]["finding"], entry["data"]["reason"]
        elif entry["type"] == ACKNOWLEDGED:
            yield from ((re.escape(name.split("::")[-1]), reason) for name, reason in entry["data"].items())
