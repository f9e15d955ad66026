"""What a rule is: a pure function over one resource, and what a reader of its finding has to know."""

from collections.abc import Callable
from dataclasses import dataclass

from checks.finding import Severity
from checks.rules.resource import Resource

Check = Callable[[Resource], str | None]


@dataclass(frozen=True)
class Rule:
    """`types` are the resource types it judges, `what` the sentence that holds of a sound one, `source` a URL."""

    id: str
    types: tuple[str, ...]
    severity: Severity
    what: str
    why: str
    fix: str
    source: str
    check: Check

    def judge(self, resource: Resource) -> str | None:
        """What is wrong with `resource`, in the worst combination of its conditions; None when nothing is."""
        return next((message for choice in resource.choices() if (message := self.check(choice))), None)


def rule(
    id: str, *types: str, severity: Severity = Severity.MEDIUM, why: str, fix: str, source: str = ""
) -> Callable[[Check], Rule]:
    """Make a function over a Resource of `types` a Rule; its docstring says what holds of a sound one."""

    def made(check: Check) -> Rule:
        return Rule(id, types, severity, (check.__doc__ or "").strip(), why, fix, source, check)

    return made
