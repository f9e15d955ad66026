"""All gates over an assembly, and what of their findings no construct accepts."""

from collections.abc import Callable, Iterable

from checks import access, calls, lasting, linters, packs, rules
from checks.accepted import Accepted
from checks.assembly import Assembly
from checks.finding import Finding

Gate = Callable[[Assembly], Iterable[Finding]]
GATES: tuple[Gate, ...] = (rules.findings, packs.findings, access.findings, calls.findings, lasting.findings)
WITH_LINTERS: tuple[Gate, ...] = (*GATES, linters.findings)


def found(assembly: Assembly, gates: Iterable[Gate] = WITH_LINTERS) -> list[Finding]:
    """What the gates find, accepted or not, the worst first. Raises AssemblyError."""
    return sorted(
        {finding for gate in gates for finding in gate(assembly)}, key=lambda finding: (finding.severity.rank, finding)
    )


def judge(assembly: Assembly, gates: Iterable[Gate] = GATES) -> list[Finding]:
    """What the gates find and no construct accepts, the worst first. Raises AssemblyError."""
    return list(Accepted(assembly).open(found(assembly, gates)))
