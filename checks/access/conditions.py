"""Decides what a template can decide of a statement's conditions: those on who asks, and those the caller chooses.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

import re
from collections.abc import Mapping

from checks.access.patterns import covers, is_known
from checks.access.policies import Condition, Statement

# What a caller sets in the request, or waits for. Whoever wants to meets it in an Allow, and avoids it in a Deny.
_CHOSEN = re.compile(
    r"aws:SecureTransport|s3:TlsVersion|s3:signatureversion|s3:authType|s3:x-amz-.*|s3:delimiter|s3:max-keys|"
    r"aws:CurrentTime|aws:EpochTime|aws:UserAgent|aws:Referer",
    re.IGNORECASE,
)
_OMITTABLE = re.compile(r"s3:prefix|s3:versionid", re.IGNORECASE)  # ...IfExists is met by leaving the parameter out
_OPERATOR = re.compile(
    r"(?P<form>String|Arn|Bool)(?P<not>Not)?(?P<test>Equals|Like|EqualsIgnoreCase|)(?P<if>IfExists)?"
)


def undecided(statement: Statement, known: Mapping[str, str]) -> frozenset[str] | None:
    """The condition keys left open, given the `known` ones (lower case); None when the statement can't apply."""
    left = set(statement.unread)
    for condition in statement.conditions:
        match _decide(condition, statement.allows, known):
            case False:
                return None
            case None:
                left.add(condition.key)
    return frozenset(left)


def _decide(condition: Condition, allows: bool, known: Mapping[str, str]) -> bool | None:
    if _CHOSEN.fullmatch(condition.key):
        return allows
    found = _OPERATOR.fullmatch(condition.operator)
    if found and found["if"] and _OMITTABLE.fullmatch(condition.key):
        return allows
    value = known.get(condition.key.lower())
    if value is None or not found:
        return None
    if not is_known(value) or not all(map(is_known, condition.values)):
        return None if value not in condition.values else not found["not"]
    if found["test"] == "EqualsIgnoreCase" or found["form"] == "Bool":
        holds = value.lower() in map(str.lower, condition.values)
    elif found["test"] == "Like" or found["form"] == "Arn":
        holds = any(covers(each, value) for each in condition.values)
    else:
        holds = value in condition.values
    return holds != bool(found["not"])
