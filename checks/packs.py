"""What the rule packs, but for our own, that ran during synth left open, from the assembly's validation report."""

from collections.abc import Iterator

from checks.assembly import Assembly
from checks.finding import Finding, Severity
from checks.rules import PACK

_LEVELS = {"error": Severity.HIGH, "fatal": Severity.HIGH, "warning": Severity.MEDIUM}


def findings(assembly: Assembly) -> Iterator[Finding]:
    """Every open violation; none without a report, which another app need not have."""
    ids = {stack.path(name): (stack.label, name) for stack in assembly.stacks for name in stack.resources()}
    for report in assembly.validation:
        if report["pluginName"] == PACK:
            continue  # a gate of its own, which needs no synth
        for violation in report["violations"]:
            severity = _LEVELS.get(str(violation.get("severity")).lower(), Severity.LOW)
            for construct in violation["violatingConstructs"]:
                path = construct.get("constructPath", "")
                stack, name = ids.get(path, ("", path))
                fix = str(violation.get("fix") or "Mend it, or explain it where the construct is made.")
                yield Finding(violation["ruleName"], severity, stack, name, violation["description"], fix)
