"""Which findings an assembly's own constructs accept, and why."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from checks.assembly import Assembly, AssemblyError, Stack
from checks.finding import Finding

EXPLAINED = "millrace:explained"  # {finding: regex, reason}, written by components/findings.py
ACKNOWLEDGED = "aws:cdk:acknowledged-rules"  # {pack::rule: reason}, written by the CDK's Validations.acknowledge()
# One name that no rule has for each way to name rules. A regex that takes one in would take in what nobody has seen.
_NO_RULES = ("no-such-rule", "access-no-such-rule", "NoSuchRule", "CKV_AWS_0")


class Accepted:
    """The explanations and acknowledgments of an assembly, by construct. Raises AssemblyError for one too wide."""

    def __init__(self, assembly: Assembly) -> None:
        self._stacks = {stack.label: stack for stack in assembly.stacks}
        for stack in assembly.stacks:
            for path, entries in stack.metadata.items():
                for entry in entries:
                    if entry["type"] == EXPLAINED:
                        _check(path, entry.get("data"))

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


def _check(path: str, explained: Any) -> None:
    """Raise AssemblyError for an explanation that names no rule, accepts every rule or gives no reason."""
    match explained:
        case {"finding": str() as finding, "reason": str() as reason} if reason.strip():
            try:
                wide = [each for each in _NO_RULES if re.fullmatch(finding, each)]
            except re.error as error:
                raise AssemblyError(f"{path} explains {finding!r}, which is no regex: {error}.") from None
            if wide:
                raise AssemblyError(f"{path} explains {finding!r}, which accepts any rule: name the rule.")
        case _:
            raise AssemblyError(f"{path} explains a finding without its name or a reason: give both.")


def _accepted_by(stack: Stack, holder: str) -> Iterator[tuple[str, str]]:
    """(regex of rules, reason) that one construct gives."""
    for entry in stack.metadata.get(f"/{holder}", []):
        if entry["type"] == EXPLAINED:
            yield entry["data"]["finding"], entry["data"]["reason"]
        elif entry["type"] == ACKNOWLEDGED and isinstance(entry["data"], dict):
            yield from ((re.escape(name.split("::")[-1]), reason) for name, reason in entry["data"].items())
