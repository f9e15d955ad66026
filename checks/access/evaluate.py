"""Decides who may do what, as IAM does: an Allow is needed, an explicit Deny wins, a boundary limits.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html (a key's policy leaves it to IAM or not)
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from checks.access.conditions import undecided
from checks.access.kinds import Kind
from checks.access.patterns import covers, matches_action, narrower, overlaps, worst
from checks.access.policies import ANYONE, Named, Statement


class Who(StrEnum):
    """The kinds of principals."""

    ROLE = "role"
    USER = "user"
    ACCOUNT = "account"  # whoever an account lets
    SERVICE = "service"
    ANYONE = "anyone"
    OTHER = "other"  # federated, or an ARN that no template of the environment makes


@dataclass(frozen=True, eq=False)
class Policy:
    """Statements that count together, found by action."""

    statements: tuple[Statement, ...] = ()
    _found: dict[tuple[bool, str], tuple[Statement, ...]] = field(default_factory=dict, repr=False)

    def allows(self, action: str) -> tuple[Statement, ...]:
        """The statements that allow `action`."""
        return self._of(True, action)

    def denies(self, action: str) -> tuple[Statement, ...]:
        """The statements that deny `action`."""
        return self._of(False, action)

    def _of(self, allows: bool, action: str) -> tuple[Statement, ...]:
        if (allows, action) not in self._found:
            self._found[allows, action] = tuple(
                each for each in self.statements if each.allows is allows and _speaks_of(each, action)
            )
        return self._found[allows, action]


@dataclass(frozen=True, eq=False)
class Principal:
    """Who asks; `label` is for people. `identity` and `boundary` are the policies that the templates hold of it."""

    who: Who
    label: str
    arn: str
    account: str = ""
    identity: Policy = Policy()
    boundary: Policy | None = None

    def context(self, resource: "Resource") -> dict[str, str]:
        """The condition keys that its requests are known to have."""
        one = self.who in (Who.ROLE, Who.USER) or (self.who is Who.OTHER and self.arn.startswith("arn:"))
        keys = {
            "aws:principalarn": self.arn if one else "",
            "aws:principalaccount": self.account,
            "kms:calleraccount": self.account,
            "aws:resourceaccount": resource.account,
            "aws:principalservicename": self.arn if self.who is Who.SERVICE else "",
        }
        is_service = {"aws:principalisawsservice": str(self.who is Who.SERVICE).lower()}
        return {name: value for name, value in keys.items() if value} | is_service


@dataclass(frozen=True, eq=False)
class Resource:
    """What is asked for; `key_arn` is the customer's key that encrypts it."""

    kind: Kind
    label: str
    arn: str
    account: str = ""
    policy: Policy = Policy()
    key_arn: str = ""
    known: bool = True  # whether a template makes it, and so holds its policy


@dataclass(frozen=True)
class Scope:
    """A pattern of ARNs that may be acted on; `conditions` are the condition keys that could not be decided."""

    pattern: str
    conditions: frozenset[str] = frozenset()


class Decision(IntEnum):
    """The answer to one request, in the worst case."""

    DENIED = 0
    CONDITIONAL = 1
    ALLOWED = 2


def decide(principal: Principal, action: str, resource: Resource, arn: str) -> Decision:
    """Whether `principal` may do `action` to `arn`, which is the resource or lies within it."""
    found = scopes(principal, action, resource, arn)
    return max(
        (Decision.CONDITIONAL if each.conditions else Decision.ALLOWED for each in found), default=Decision.DENIED
    )


def scopes(principal: Principal, action: str, resource: Resource, target: str) -> tuple[Scope, ...]:
    """The parts of `target`, an ARN or a pattern of them, that `principal` may do `action` to."""
    if not (principal.identity.allows(action) or resource.policy.allows(action)):
        return ()
    request = _Request(principal, action, target, principal.context(resource))
    given = request.scopes_of(principal.identity)
    limit = None if principal.boundary is None else request.scopes_of(principal.boundary)
    if limit is not None:
        given = _both(given, limit)
    direct, delegated = request.resource_policy(resource, limit)
    needs_policy = bool(resource.kind.needs_policy) and action.startswith(resource.kind.needs_policy)
    if not resource.known or (_at_home(principal, resource) and not needs_policy):
        found = given + direct
    elif _at_home(principal, resource):
        found = _both(given, delegated) + direct
    elif principal.who in (Who.ROLE, Who.USER):
        found = _both(given, direct + delegated)
    else:
        found = direct + delegated
    denies = [*principal.identity.denies(action), *(principal.boundary or Policy()).denies(action)]
    denies += [each for each in resource.policy.denies(action) if how_named(each, principal)]
    return simplest(kept for scope in found if (kept := request.not_denied(scope, denies)))


def how_named(statement: Statement, principal: Principal) -> str:
    """How a resource policy's statement names a principal: itself, its account, everybody, or (empty) not at all."""
    if statement.not_principals:
        excepted = {_is(each, principal) for each in statement.not_principals} - {""}
        return "" if "itself" in excepted or (excepted and not statement.allows) else "everybody"
    names = {_is(each, principal) for each in statement.principals}
    return next((how for how in ("itself", "everybody", "its account") if how in names), "")


def simplest(found: Iterable[Scope]) -> tuple[Scope, ...]:
    """Without those that another one includes."""
    kept: list[Scope] = []
    for one in sorted(set(found), key=lambda scope: (len(scope.conditions), -len(scope.pattern), scope.pattern)):
        if not any(_includes(other, one) for other in kept):
            kept = [other for other in kept if not _includes(one, other)] + [one]
    return tuple(kept)


def _includes(other: Scope, one: Scope) -> bool:
    return covers(other.pattern, one.pattern) and other.conditions <= one.conditions


def _at_home(principal: Principal, resource: Resource) -> bool:
    return bool(principal.account) and principal.account == resource.account


def _is(named: Named, principal: Principal) -> str:
    if named.kind != "AWS":
        return "itself" if named.value == principal.arn else ""
    if named.value == ANYONE:
        return "" if principal.who is Who.SERVICE else "everybody"
    if named.value == principal.arn:
        return "itself"
    return "its account" if named.is_root and principal.account == named.account else ""


def _speaks_of(statement: Statement, action: str) -> bool:
    """In the worst case: what is unknown of an Allow is any action, of a Deny none."""
    allows = statement.allows
    if any(matches_action(worst(each) if allows else each, action) for each in statement.actions):
        return True
    excepted = (matches_action(each if allows else worst(each), action) for each in statement.not_actions)
    return bool(statement.not_actions) and not any(excepted)


def _both(one: list[Scope], other: list[Scope]) -> list[Scope]:
    """What two sets of scopes have in common."""
    return [
        Scope(common, left.conditions | right.conditions)
        for left in one
        for right in other
        if (common := narrower(left.pattern, right.pattern))
    ]


@dataclass(frozen=True)
class _Request:
    principal: Principal
    action: str
    target: str
    known: dict[str, str]

    def scopes_of(self, policy: Policy) -> list[Scope]:
        return [scope for each in policy.allows(self.action) for scope in self._scopes(each)]

    def resource_policy(self, resource: Resource, limit: list[Scope] | None) -> tuple[list[Scope], list[Scope]]:
        """What the resource's policy gives the principal itself, and what it leaves to the policies of its account.

        A boundary limits what names a role, but neither what names a user nor what names everybody.
        """
        direct: list[Scope] = []
        delegated: list[Scope] = []
        for statement in resource.policy.allows(self.action):
            match how_named(statement, self.principal):
                case "its account":
                    delegated += self._scopes(statement)
                case "itself" if limit is not None and self.principal.who is Who.ROLE:
                    direct += _both(list(self._scopes(statement)), limit)
                case "itself" | "everybody":
                    direct += self._scopes(statement)
        return direct, delegated

    def _scopes(self, statement: Statement) -> Iterator[Scope]:
        conditions = undecided(statement, self.known)
        if conditions is None:
            return
        if statement.not_resources:
            patterns = [] if any(covers(each, self.target) for each in statement.not_resources) else [self.target]
        else:
            given = statement.resources or (self.target,)  # trust policies name no resource
            patterns = [part for each in given if (part := self._part(each))]
        for pattern in patterns:
            yield Scope(pattern, conditions)

    def _part(self, pattern: str) -> str | None:
        """Of the target: as the texts say, else as whatever is unknown may turn out."""
        if said := narrower(pattern, self.target):
            return said if pattern == worst(pattern) else narrower(worst(pattern), self.target) or said
        wide = narrower(worst(pattern), worst(self.target))
        return self.target if wide == worst(self.target) else wide

    def not_denied(self, scope: Scope, denies: Iterable[Statement]) -> Scope | None:
        """The scope, or None when a Deny surely covers it; one that may cover it, or some of it, is a condition."""
        conditions = set(scope.conditions)
        for statement in denies:
            left = undecided(statement, self.known)
            if left is None:
                continue
            touched, covered = _denied(statement, scope.pattern)
            if covered and not left:
                return None
            if touched:
                conditions |= {f"not {each}" for each in left} or {"not all of it"}
        return Scope(scope.pattern, frozenset(conditions))


def _denied(statement: Statement, pattern: str) -> tuple[bool, bool]:
    """Whether a Deny speaks of some of `pattern`, and of all of it."""
    if statement.not_resources:
        excepted = list(map(worst, statement.not_resources))
        some = not any(covers(each, pattern) for each in excepted)
        every = not any(overlaps(each, pattern) for each in excepted)
    else:
        given = statement.resources or (pattern,)  # trust policies name no resource
        some, every = any(overlaps(each, pattern) for each in given), any(covers(each, pattern) for each in given)
    return some, every
