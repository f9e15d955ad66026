"""IAM's wildcards: `*` is any text, `?` any one character. Actions ignore case, ARNs do not.

Text in ⟨⟩ is what a template can't say: a parameter, an attribute. It is itself in a Deny, and anything in an Allow.
"""

import re
from functools import cache

_UNKNOWN = re.compile(r"⟨[^⟩]*⟩|\$\{[^}]*\}")  # and IAM's own variables, such as ${aws:username}
_WILD = frozenset("*?")


def unknown(name: str) -> str:
    """The text that stands for a value only a deployment knows."""
    return f"⟨{name}⟩"


def is_known(text: str) -> bool:
    """Whether the template says all of it."""
    return not _UNKNOWN.search(text)


@cache
def worst(pattern: str) -> str:
    """The pattern with whatever is unknown as wide as it may be."""
    return _UNKNOWN.sub("*", pattern)


def is_wild(pattern: str) -> bool:
    """Whether the pattern has a wildcard."""
    return not _WILD.isdisjoint(pattern)


def matches_action(pattern: str, action: str) -> bool:
    """Whether an action of a policy is, or covers, `action`."""
    return covers(pattern.lower(), action.lower())


@cache
def covers(pattern: str, other: str) -> bool:
    """Whether all that `other`, itself a pattern or plain text, matches is matched by `pattern` too."""
    return bool(_compiled(pattern).fullmatch(other))


@cache
def overlaps(one: str, other: str) -> bool:
    """Whether some text matches both patterns."""
    if not is_wild(one):
        return covers(other, one)
    if not is_wild(other):
        return covers(one, other)
    return _starts_and_ends_agree(one, other) and _overlap(re.sub(r"\*+", "*", one), re.sub(r"\*+", "*", other))


def narrower(one: str, other: str) -> str | None:
    """The pattern for what both match; `one` where they cross, which is the worst case; None for nothing."""
    if covers(other, one):
        return one
    if covers(one, other):
        return other
    return one if overlaps(one, other) else None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """As a regular expression in which `?` does not match the `*` of another pattern."""
    parts = {"*": ".*", "?": r"[^*]"}
    return re.compile("".join(parts.get(each) or re.escape(each) for each in pattern), re.DOTALL)


def _starts_and_ends_agree(one: str, other: str) -> bool:
    """A quick no for most pairs: the text before the first wildcards, and after the last ones, must agree."""
    starts = [re.split(r"[*?]", each, maxsplit=1)[0] for each in (one, other)]
    ends = [re.split(r"[*?]", each)[-1] for each in (one, other)]
    short, long = sorted(starts, key=len)
    short_end, long_end = sorted(ends, key=len)
    return long.startswith(short) and long_end.endswith(short_end)


def _overlap(one: str, other: str) -> bool:
    """Dynamic programme: row[j] says whether some text matches the first i of `one` and the first j of `other`."""
    row = [True]
    for right in other:
        row.append(row[-1] and right == "*")
    for left in one:
        above, row = row, [row[0] and left == "*"]
        for column, right in enumerate(other):
            if "*" in (left, right):
                row.append(above[column + 1] or row[column])
            else:
                row.append(above[column] and (left == right or "?" in (left, right)))
    return row[-1]
