"""IAM's wildcards, held against every text of a small alphabet."""

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.access.patterns import covers, matches_action, narrower, overlaps, unknown, worst

TEXTS = ["".join(text) for length in range(5) for text in product("ab", repeat=length)]
PATTERNS = st.text("ab*?", max_size=4)


def _matched(pattern: str) -> set[str]:
    parts = {"*": ".*", "?": "."}
    expression = "".join(parts.get(each, each) for each in pattern)
    return {text for text in TEXTS if re.fullmatch(expression, text)}


@given(PATTERNS, PATTERNS)
def test_what_overlaps_shares_a_text(one: str, other: str) -> None:
    """Two patterns of at most four characters that share a text share one of at most eight."""
    shared = bool(_matched(one) & _matched(other))
    assert overlaps(one, other) == overlaps(other, one)
    assert overlaps(one, other) or not shared
    if not overlaps(one, other):
        assert not shared
    elif len(one.replace("*", "")) + len(other.replace("*", "")) <= 4:
        assert shared


@given(PATTERNS, PATTERNS)
def test_what_covers_matches_all_of_the_other(one: str, other: str) -> None:
    if covers(one, other):
        assert _matched(one) >= _matched(other)
        assert not _matched(other) or overlaps(one, other)


@given(PATTERNS, PATTERNS)
def test_the_narrower_one_never_leaves_out_what_both_match(one: str, other: str) -> None:
    both = narrower(one, other)
    assert _matched(both) >= _matched(one) & _matched(other) if both is not None else not overlaps(one, other)


@pytest.mark.parametrize(
    ("pattern", "action", "matches"),
    [
        ("s3:GetObject", "S3:getobject", True),
        ("s3:Get*", "s3:GetObjectVersion", True),
        ("*", "s3:GetObject", True),
        ("*:*", "s3:GetObject", True),
        ("s3:GetObjec?", "s3:GetObject", True),
        ("s3:GetObject?", "s3:GetObject", False),
        ("s3:Put*", "s3:GetObject", False),
    ],
)
def test_actions_ignore_case(pattern: str, action: str, matches: bool) -> None:
    assert matches_action(pattern, action) is matches


def test_arns_do_not_ignore_case() -> None:
    assert not covers("arn:aws:s3:::Lake/*", "arn:aws:s3:::lake/raw")


def test_what_is_unknown_may_be_anything_but_protects_only_itself() -> None:
    name = f"arn:aws:s3:::{unknown('lake.Name')}"
    assert worst(name) == "arn:aws:s3:::*"
    assert covers(name, name)
    assert not covers(name, "arn:aws:s3:::other")
    assert worst("arn:aws:s3:::home/${aws:username}/*") == "arn:aws:s3:::home/*/*"
