"""Gathers an environment from its templates: who there is, what there is, and every policy between them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from checks.access.arns import FORMS
from checks.access.attachments import Attachments, Document, gather
from checks.access.evaluate import Principal, Resource, Who
from checks.access.kinds import KIND_OF, KINDS
from checks.access.patterns import is_wild, overlaps, worst
from checks.access.policies import ANYONE, Named, Statement
from checks.access.resolve import Resolver, options
from checks.assembly import Assembly, Stack

TRUSTED = "access:trusted-accounts"  # a construct's metadata: the accounts that a setting lets in


@dataclass(frozen=True)
class World:
    """One environment."""

    name: str
    principals: tuple[Principal, ...]
    resources: tuple[Resource, ...]
    documents: tuple[Document, ...]
    trusted: frozenset[str]  # accounts that settings let in
    accounts: frozenset[str]  # accounts that the stacks are deployed to


def worlds(assembly: Assembly) -> list[World]:
    """Every environment of the assembly."""
    return [_world(name, list(stacks.values())) for name, stacks in assembly.environments.items()]


def _world(name: str, stacks: list[Stack]) -> World:
    resolver = Resolver(stacks)
    found = gather(resolver)
    principals = list(_principals(resolver, found))
    resources = list(_resources(resolver, found))
    accounts = frozenset(resolver.place(stack).account for stack in stacks)
    principals += _named_outside(found.documents, principals, accounts)
    resources += _outside(found.documents, resources)
    return World(
        name,
        tuple(sorted(principals, key=lambda each: (each.who not in (Who.ROLE, Who.USER), each.label))),
        tuple(sorted(resources, key=lambda each: (not each.known, KINDS.index(each.kind), each.label))),
        tuple(found.documents),
        frozenset(_trusted(stacks)),
        accounts,
    )


def _label(stack: Stack, logical_id: str) -> str:
    """layer/Construct, as the construct's path says; layer/logical id where there is none."""
    path = stack.path(logical_id).removeprefix(f"{stack.environment}/").removesuffix("/Resource")
    return path if "/" in path else f"{stack.layer}/{path}"


def _principals(resolver: Resolver, found: Attachments) -> Iterator[Principal]:
    for stack in resolver.stacks:
        account = resolver.place(stack).account
        for identifier, resource in stack.resources("AWS::IAM::Role", "AWS::IAM::User").items():
            who = Who.ROLE if resource["Type"] == "AWS::IAM::Role" else Who.USER
            name = resolver.name(stack, identifier)
            yield Principal(
                who,
                _label(stack, identifier),
                resolver.arn(stack, identifier),
                account,
                found.identity(account, who, name),
                found.boundaries.get((account, who, name)),
            )
    for account, kind, name in found.unmet(resolver):
        arn = f"arn:aws:iam::{account}:{kind}/{name}"
        yield Principal(Who.OTHER, arn, arn, account, found.identity(account, kind, name))


def _resources(resolver: Resolver, found: Attachments) -> Iterator[Resource]:
    for stack in resolver.stacks:
        for identifier in stack.resources(*KIND_OF):
            kind = KIND_OF[stack.template["Resources"][identifier]["Type"]]
            arn = resolver.arn(stack, identifier)
            yield Resource(
                kind,
                _label(stack, identifier),
                arn,
                resolver.place(stack).account,
                found.of_resource(arn),
                _key(resolver.properties(stack, identifier), kind.key),
            )


def _key(properties: Any, steps: tuple[str, ...]) -> str:
    """The customer's key at the end of `steps`; empty for none, or for one of AWS's own."""
    value = properties if steps else None
    for step in steps:
        value = next((item for item, _ in options(value) if isinstance(item, dict)), {}).get(step)
    return value if isinstance(value, str) and not value.startswith("alias/aws/") else ""


def _named_outside(
    documents: Iterable[Document], principals: list[Principal], accounts: frozenset[str]
) -> list[Principal]:
    """Whom resource policies let in that no template makes."""
    known = {each.arn for each in principals}
    found: dict[str, Principal] = {}
    for document in documents:
        for statement in document.statements if document.on else ():
            if statement.allows:
                everybody = [Named("AWS", ANYONE)] if statement.not_principals else []
                for named in [*statement.principals, *everybody]:
                    if named.value not in known:
                        found[named.value] = _outsider(named, accounts)
    return list(found.values())


def _outsider(named: Named, accounts: frozenset[str]) -> Principal:
    if named.value == ANYONE:
        return Principal(Who.ANYONE, "anyone", ANYONE)
    if named.kind == "Service":
        return Principal(Who.SERVICE, named.value, named.value)
    if named.is_root:
        label = "this account's IAM" if named.account in accounts else f"account {named.account}"
        return Principal(Who.ACCOUNT, label, named.value, named.account)
    return Principal(Who.OTHER, named.value, named.value, named.account)


def _outside(documents: Iterable[Document], resources: list[Resource]) -> list[Resource]:
    """What identity policies name that no template makes: a bucket handed in, another account's key."""
    found: dict[str, Resource] = {}
    for statement in _allows(documents):
        for pattern in statement.resources:
            for kind, form in _ARNS:
                named = form.match(pattern)
                if not named or is_wild(worst(named["name"])):
                    continue
                arn = named[0]
                if not any(each.kind is kind and overlaps(worst(arn), worst(each.arn)) for each in resources):
                    found[arn] = Resource(kind, arn, arn, known=False)
    return list(found.values())


def _allows(documents: Iterable[Document]) -> Iterator[Statement]:
    for document in documents:
        if not document.on:
            yield from (each for each in document.statements if each.allows)


def _form(text: str) -> re.Pattern[str]:
    parts = {"partition": "[^:]+", "region": "[^:]*", "account": "[^:]*", "database": "[^/:]+", "path": "/(?:.*/)?"}
    parts["name"] = "(?P<name>[^/:]+)"
    return re.compile("".join(parts.get(each, re.escape(each)) for each in re.split(r"[{}]", text)))


_ARNS = [(kind, _form(FORMS[type_])) for kind in KINDS for type_ in kind.types[:1]]


def _trusted(stacks: Iterable[Stack]) -> Iterator[str]:
    for stack in stacks:
        for entries in stack.metadata.values():
            for entry in entries:
                if entry["type"] == TRUSTED:
                    yield from entry["data"]
