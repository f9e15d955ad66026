"""Holds the calls in the code against the actions in the role, both ways; findings name a file and a line."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from checks.assembly import Assembly
from checks.calls.actions import KEY_ACTIONS, actions
from checks.calls.implicit import IMPLIED, MANAGED
from checks.calls.implicit_flink import FLINK
from checks.calls.implicit_glue import GLUE
from checks.calls.libraries import library
from checks.calls.places import shown
from checks.calls.source import Call, Place, Reading, read
from checks.calls.workloads import Index, Target, Use, uses
from checks.finding import Finding, Severity

_read = cache(read)
_OWN_KEY = {  # type -> where its own key is named
    "AWS::S3::Bucket": "KMSMasterKeyID",
    "AWS::SQS::Queue": "KmsMasterKeyId",
    "AWS::SNS::Topic": "KmsMasterKeyId",
    "AWS::Kinesis::Stream": "KeyId",
}


@dataclass
class _Role:
    """A role: what it is allowed, by which resources, on what; and what its users need, and why."""

    target: Target
    users: list[Use] = field(default_factory=list)
    allowed: dict[str, list[tuple[Target, Any]]] = field(default_factory=lambda: defaultdict(list))
    denied: set[str] = field(default_factory=set)
    unreadable: list[str] = field(default_factory=list)
    needed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    accepted: set[str] = field(default_factory=set)

    def allows(self, action: str) -> bool:
        """Whether some statement allows an action, whatever on, and none denies it on everything."""
        return any(_matches(pattern, action) for pattern in self.allowed) and not any(
            _matches(pattern, action) for pattern in self.denied
        )


def findings(assembly: Assembly) -> Iterator[Finding]:
    """calls-missing, calls-unused and calls-unresolved, for every role whose users are known."""
    index = Index(assembly)
    for role in _roles(index):
        problems = list(_unresolved(assembly, role))
        yield from problems
        _need(role, index, assembly)
        yield from _missing(role)
        if not problems and not any(use.unknown for use in role.users):
            yield from _unused(role, assembly)


def not_judged(assembly: Assembly) -> list[tuple[str, str]]:
    """(environment/layer/logical id, why) of each role's user whose needs are unknown, and of roles without users."""
    index = Index(assembly)
    roles = _roles(index)
    unknown = {
        (str(Target(use.stack, use.logical_id)), use.unknown) for role in roles for use in role.users if use.unknown
    }
    used = {role.target for role in roles}
    idle = [Target(stack, name) for stack, name, _ in assembly.resources("AWS::IAM::Role")]
    return sorted(unknown | {(str(role), "nothing in the assembly works with it") for role in idle if role not in used})


def _roles(index: Index) -> list[_Role]:
    found: dict[Target, _Role] = {}
    for target, use in uses(index):
        found.setdefault(target, _Role(target)).users.append(use)
    for role in found.values():
        properties = role.target.properties
        for policy in _listed(properties.get("Policies", [])):
            _allow(role, role.target, policy.get("PolicyDocument", {}))
        for managed in _listed(properties.get("ManagedPolicyArns", [])):
            _allow_managed(role, managed, index)
        stack = role.target.stack
        for name, policy in stack.resources("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy").items():
            if {"Ref": role.target.logical_id} in policy["Properties"].get("Roles", []):
                _allow(role, Target(stack, name), policy["Properties"]["PolicyDocument"])
        for name, policy in stack.resources("AWS::IAM::RolePolicy").items():
            if policy["Properties"].get("RoleName") == {"Ref": role.target.logical_id}:
                _allow(role, Target(stack, name), policy["Properties"].get("PolicyDocument", {}))
    return list(found.values())


def _allow(role: _Role, policy: Target, document: dict[str, Any]) -> None:
    for statement in _listed(document.get("Statement", [])):
        listed = [str(action) for action in _listed(statement.get("Action", []))]
        if statement.get("Effect") == "Deny":
            if statement.get("Resource") == "*" and "Condition" not in statement:
                role.denied |= set(listed)
            continue
        for action in listed or ["*"]:  # NotAction: all but a few
            role.allowed[action].append((policy, statement.get("Resource", "*")))


def _allow_managed(role: _Role, managed: Any, index: Index) -> None:
    text = str(managed)
    known = next((held for name, held in MANAGED.items() if name in text), None)
    own = [target for target in index.targets(role.target.stack, managed) if target.type == "AWS::IAM::ManagedPolicy"]
    for policy in own:
        _allow(role, policy, policy.properties["PolicyDocument"])
    for action in (known or "").split():
        role.allowed[action].append((role.target, "*"))
    if known is None and not own:
        role.unreadable.append(text)


def _need(role: _Role, index: Index, assembly: Assembly) -> None:
    """Gather what the role's users need, from their code and from the table."""
    for use in role.users:
        for implied in (*IMPLIED, *FLINK, *GLUE):
            if use.kind in implied.kinds.split() and implied.applies(use):
                listed = implied.actions.split()
                role.accepted |= set(listed)
                for action in listed if implied.needed else ():
                    role.needed[action].append(
                        f"{use.logical_id} ({use.kind}) needs it for {implied.why}: {implied.source}"
                    )
        for call in sorted(_reading(use).calls):
            for action in _actions_of(call):
                role.needed[action].append(f"{shown(call.place, assembly.folder)} calls {call.operation}")
    _need_keys(role, index)


def _need_keys(role: _Role, index: Index) -> None:
    """What is encrypted with a key of one's own needs actions on that key; where that is unknown they are accepted."""
    for action, on_key in KEY_ACTIONS.items():
        if action not in role.needed:
            continue
        if not role.allows(action):
            role.accepted |= set(on_key)
        for pattern, statements in role.allowed.items():
            for policy, resource in statements if _matches(pattern, action) else ():
                if _own_key(index, policy, resource):
                    for each in on_key:
                        role.needed[each].append(f"{action} on what is encrypted with a key of one's own")
                elif resource == "*":
                    role.accepted |= set(on_key)


def _own_key(index: Index, policy: Target, resource: Any) -> bool:
    return any(
        name in str(target.properties)
        for target in index.targets(policy.stack, resource)
        if (name := _OWN_KEY.get(target.type))
    )


def _actions_of(call: Call) -> tuple[str, ...]:
    return actions(call.service, call.operation) if call.service else library(call.operation) or ()


def _reading(use: Use) -> Reading:
    return _read(use.code) if use.code else Reading(frozenset(), frozenset())


def _unresolved(assembly: Assembly, role: _Role) -> Iterator[Finding]:
    for use in role.users:
        for problem in sorted(_reading(use).problems):
            yield _finding(
                "calls-unresolved",
                Target(use.stack, use.logical_id),
                f"{shown(problem.place, assembly.folder)} {problem.message}",
                "write the call so that its client and its operation can be read, or name them in constants",
            )
    for managed in role.unreadable:
        yield _finding(
            "calls-unresolved",
            role.target,
            f"it holds the managed policy {managed}, whose actions are not known here",
            "list the actions that its code calls instead",
        )


def _missing(role: _Role) -> Iterator[Finding]:
    for action, reasons in sorted(role.needed.items()):
        if not role.allows(action):
            yield _finding(
                "calls-missing",
                role.target,
                f"it does not allow {action}; {'; '.join(sorted(set(reasons)))}",
                f"allow {action} on just what is called for, or take the call away",
            )


def _unused(role: _Role, assembly: Assembly) -> Iterator[Finding]:
    used = {action.lower() for action in {*role.needed, *role.accepted}}
    for pattern, statements in sorted(role.allowed.items()):
        if pattern.lower() in used:
            continue
        covered = ", ".join(sorted(action for action in role.needed if _matches(pattern, action)))
        users = ", ".join(sorted({_named(use, assembly) for use in role.users}))
        for policy in {target for target, _ in statements}:
            yield _finding(
                "calls-unused",
                policy,
                f"it allows {pattern}, of which {covered or 'nothing'} is called for by {users}",
                f"allow {covered} instead" if covered else f"take {pattern} away",
            )


def _named(use: Use, assembly: Assembly) -> str:
    file = use.code.file(use.code.entry) if use.code else None
    return f"{use.logical_id} ({shown(Place(file, 1), assembly.folder) if file else use.kind})"


def _finding(rule: str, at: Target, message: str, fix: str) -> Finding:
    severity = Severity.MEDIUM if rule == "calls-unused" else Severity.HIGH
    return Finding(rule, severity, f"{at.stack.environment}/{at.stack.layer}", at.logical_id, message, fix)


def _matches(pattern: str, action: str) -> bool:
    return fnmatchcase(action.lower(), pattern.lower().replace("[", "[[]"))


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else [value]
