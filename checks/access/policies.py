"""Policy documents, resolved, as statements."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from checks.access.patterns import unknown
from checks.access.resolve import Either, options

ANYONE = "*"


class Source(NamedTuple):
    """What of a template holds a policy: environment/layer of the stack, and the logical id."""

    stack: str
    resource: str

    def __str__(self) -> str:
        return "/".join(self)


@dataclass(frozen=True)
class Named:
    """A principal as a policy names it: `kind` is AWS, Service, Federated or CanonicalUser."""

    kind: str
    value: str

    @property
    def account(self) -> str:
        """The account of an ARN or of an account number; empty for the others."""
        return self.value.split(":")[4] if self.kind == "AWS" and self.value.count(":") >= 5 else ""

    @property
    def is_root(self) -> bool:
        """Whether it means a whole account."""
        return self.kind == "AWS" and self.value.endswith(":root")


@dataclass(frozen=True)
class Condition:
    """One test of a request: every one of a statement must hold, with any of its values."""

    operator: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """One statement. `unread` says what of it, or of its document, the template does not."""

    allows: bool
    source: Source
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    not_resources: tuple[str, ...] = ()
    principals: tuple[Named, ...] = ()
    not_principals: tuple[Named, ...] = ()
    conditions: tuple[Condition, ...] = ()
    unread: tuple[str, ...] = ()


def statements(document: Any, source: Source) -> Iterator[Statement]:
    """The statements of a document; what can't be read is an Allow of everything, the worst case."""
    for given, certain in options(document):
        each = _parsed(given)
        if not isinstance(each, dict):
            yield unreadable(source, f"the document of {source}")
            continue
        for item, always in options(each.get("Statement", [])):
            if isinstance(item, dict):
                yield from _statement(item, source, certain and always)
            else:
                yield unreadable(source, f"a statement of {source}")


def _parsed(document: Any) -> Any:
    """What a document given as JSON text says; CloudFormation takes either."""
    try:
        return json.loads(document) if isinstance(document, str) else document
    except (ValueError, RecursionError):
        return document


def unreadable(source: Source, what: str) -> Statement:
    """The worst case for a policy that the templates don't hold."""
    return Statement(True, source, ("*",), resources=("*",), principals=(Named("AWS", ANYONE),), unread=(what,))


def _statement(item: dict[str, Any], source: Source, certain: bool) -> Iterator[Statement]:
    allows = item.get("Effect") != "Deny"
    if not allows and not certain:
        return  # a Deny that may not be there does not protect
    yield Statement(
        allows,
        source,
        actions=_texts(item.get("Action"), allows),
        not_actions=_texts(item.get("NotAction"), not allows),
        resources=_texts(item.get("Resource"), allows),
        not_resources=_texts(item.get("NotResource"), not allows),
        principals=tuple(_principals(item.get("Principal"), allows)),
        not_principals=tuple(_principals(item.get("NotPrincipal"), not allows)),
        conditions=tuple(_conditions(item.get("Condition", {}))),
        unread=() if certain else ("Fn::If",),
    )


def _texts(value: Any, widest: bool) -> tuple[str, ...]:
    """The items; those that are only there in some deployments count where they make access wider."""
    found = []
    for item, certain in options(value):
        if certain or widest:
            found.append(item if isinstance(item, str) else unknown("unreadable"))
    return tuple(found)


def _principals(value: Any, widest: bool) -> Iterator[Named]:
    for each, certain in options(value):
        if not (certain or widest):
            continue
        if isinstance(each, str):
            yield Named("AWS", each)
        elif isinstance(each, dict):
            for kind, names in each.items():
                for name in _texts(names, widest):
                    yield Named(kind, _root(name) if kind == "AWS" else name)


def _root(name: str) -> str:
    """An account's number means its root."""
    return f"arn:aws:iam::{name}:root" if name.isdigit() and len(name) == 12 else name


def _conditions(value: Any) -> Iterator[Condition]:
    if isinstance(value, Either) or not isinstance(value, dict):
        yield Condition("unreadable", "a condition that only a deployment decides", ())
        return
    for operator, tests in value.items():
        if not isinstance(tests, dict):
            yield Condition("unreadable", operator, ())
            continue
        for key, values in tests.items():
            yield Condition(operator, key, tuple(_text(each) for each, _ in options(values)))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
