"""Policy documents as rules read them: statements, principals, and whether a condition confines anyone."""

import re
from collections.abc import Iterator
from typing import Any

from checks.rules.resource import Resource, at, items, parsed, texts

# Keys that tie a request to somebody or somewhere; others (TLS, a date, a header) leave it open to everyone.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
CONFINING = {
    "aws:principalarn",
    "aws:principalaccount",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:sourcearn",
    "aws:sourceaccount",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:sourceip",
    "aws:userid",
    "kms:calleraccount",
    "s3:dataaccesspointarn",
    "s3:dataaccesspointaccount",
    "sts:externalid",
}
# IfExists holds also for a request without the key, Not... for everyone but those it names, Null for no value at all.
_HOLDING = re.compile(
    r"(ForAnyValue:)?(String(Equals|Like|EqualsIgnoreCase)|Arn(Equals|Like)|IpAddress)", re.IGNORECASE
)
# Values that hold for everyone: wildcards, what S3 takes for the whole internet (wider than /8, than /32 in IPv6), an
# ARN in any account. https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
_ANYONE = re.compile(r"[*?]*|[\d.]+/[0-7]|[\da-fA-F:]*::?/([12]?\d|3[01])|arn:[*?].*|arn(:[^:]*){3}:[*?]+:.*")
_ACCOUNT = re.compile(r"\d{12}|\$\{AccountId\}|arn:[^:]*:iam::[^:]*:(root|\*)")


def statements(document: Any, effect: str = "Allow") -> list[dict[str, Any]]:
    """The statements of a policy with `effect`; one whose effect isn't known allows. An unreadable policy has none."""
    found = items(at(parsed(document), "Statement"))
    return [each for each in found if (each.get("Effect") == "Deny") == (effect == "Deny")]


def confined(statement: dict[str, Any]) -> bool:
    """Whether a condition ties whoever asks to an account, a network or a resource."""
    conditions = at(statement, "Condition")
    if not isinstance(conditions, dict):
        return False
    return any(
        key.lower() in CONFINING and values and not any(map(_ANYONE.fullmatch, texts(values)))
        for operator, keys in conditions.items()
        if _HOLDING.fullmatch(operator) and isinstance(keys, dict)
        for key, values in keys.items()
    )


def everyone(statement: dict[str, Any]) -> bool:
    """Whether the statement speaks to everyone; one that says who is not meant speaks to all others."""
    principal = at(statement, "Principal")
    named = at(principal, "AWS") if isinstance(principal, dict) else principal
    return "*" in texts(named) or "NotPrincipal" in statement


def public(document: Any) -> str | None:
    """What is wrong with a policy of a resource that lets everyone in; None when it lets nobody in unconfined."""
    if document and parsed(document) is None:
        return "nobody can read the policy before it is deployed"
    for statement in statements(document):
        if everyone(statement) and not confined(statement):
            name = statement.get("Sid") or "a statement without Sid"
            return f"{name} allows {', '.join(texts(at(statement, 'Action'))) or 'actions'} to everyone"
    return None


def identity_policies(resource: Resource) -> Iterator[Any]:
    """The policy documents that a role, user, group, policy or permission set carries."""
    yield resource["PolicyDocument"]
    yield resource["InlinePolicy"]
    for policy in items(resource["Policies"]):
        yield at(policy, "PolicyDocument")


def matches(pattern: str, action: str) -> bool:
    """Whether an action pattern of a policy (`iam:Pass*`) covers `action`."""
    regex = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return bool(re.fullmatch(regex, action, re.IGNORECASE))


def whole_account(principal: Any) -> Iterator[str]:
    """The principals of a statement that are an account as a whole, rather than a role in it."""
    for name in texts(at(principal, "AWS")):
        if _ACCOUNT.fullmatch(name):
            yield name
