"""Lifecycle rules: what S3 would refuse, or charge for in vain, is refused here, with the bucket and the rule named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.lifecycle import (
    TERMS,
    LifecycleError,
    Rule,
    StorageClass,
    archive_tiers,
    lifecycle,
    problems,
    recoverable,
)


@pytest.mark.requirement("st-class-compare", "st-standard-use", "st-scenario2-transitions")
@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"transitions": {"STANDARD_IA": 29}}, "STANDARD_IA at day 29: S3 takes day 30 or later"),
        ({"transitions": {"ONEZONE_IA": 0}}, "ONEZONE_IA at day 0: S3 takes day 30 or later"),
        ({"noncurrent_transitions": {"STANDARD_IA": 7}}, "noncurrent STANDARD_IA at day 7: S3 takes day 30"),
        ({"transitions": {"STANDARD_IA": 60, "GLACIER": 89}}, "kept for 30 days or more; S3 refuses less"),
        ({"transitions": {"STANDARD_IA": 60}, "expire_days": 60}, "but objects are gone at day 60"),
        ({"transitions": {"STANDARD_IA": 60}, "expire_days": 80}, "then the end at day 80: it is kept for 30 days"),
        ({"transitions": {"GLACIER_IR": 30}, "expire_days": 119}, "kept for 90 days or more; S3 charges for the rest"),
        ({"transitions": {"GLACIER": 1, "DEEP_ARCHIVE": 90}}, "GLACIER at day 1, then DEEP_ARCHIVE at day 90"),
        ({"transitions": {"DEEP_ARCHIVE": 0}, "expire_days": 179}, "kept for 180 days or more"),
        ({"noncurrent_transitions": {"DEEP_ARCHIVE": 30}, "noncurrent_expire_days": 200}, "kept for 180 days"),
        ({"transitions": {"GLACIER": 30, "STANDARD_IA": 180}}, "STANDARD_IA at day 180 comes after GLACIER at day 30"),
        ({"transitions": {"ONEZONE_IA": 30, "GLACIER_IR": 90}}, "GLACIER_IR at day 90 comes after ONEZONE_IA"),
        ({"tags": {"a": "b"}, "abort_uploads_days": 7}, "uploads and delete markers have no tags"),
        ({"tags": {"a": "b"}, "expire_days": 7, "drop_delete_markers": True}, "uploads and delete markers have no"),
        ({"expire_days": 7, "drop_delete_markers": True}, "put them into a rule of their own"),
        ({}, "it does nothing"),
        ({"prefix": "logs/"}, "it does nothing"),
    ],
)
def test_a_rule_that_s3_refuses_or_charges_for_is_refused(rule: dict[str, Any], problem: str) -> None:
    with pytest.raises(LifecycleError) as refused:
        lifecycle("Raw", [Rule(name="theirs", **rule)])
    assert "The lifecycle of bucket Raw can't be:\n  rule 'theirs': " in str(refused.value)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    "rule",
    [
        {"transitions": {"STANDARD_IA": 30, "GLACIER_IR": 60, "GLACIER": 150, "DEEP_ARCHIVE": 240}, "expire_days": 420},
        {"transitions": {"INTELLIGENT_TIERING": 0, "ONEZONE_IA": 30, "DEEP_ARCHIVE": 60}},
        {"noncurrent_transitions": {"STANDARD_IA": 30, "DEEP_ARCHIVE": 60}, "noncurrent_expire_days": 365},
        {"expire_days": 1},
        {"drop_delete_markers": True},
    ],
)
def test_a_rule_that_s3_takes_is_taken(rule: dict[str, Any]) -> None:
    assert not list(problems(Rule(name="theirs", **rule)))
    assert len(lifecycle("Raw", [Rule(name="theirs", **rule)])) == 1


@pytest.mark.requirement("st-object-tags-10")
def test_a_rule_of_more_tags_than_an_object_can_have_is_refused() -> None:
    tags = {f"tag{number}": "x" for number in range(11)}
    assert list(problems(Rule(name="theirs", tags=tags, expire_days=1))) == ["an object has up to 10 tags, not 11"]
    assert not list(problems(Rule(name="theirs", tags=dict(list(tags.items())[:10]), expire_days=1)))


def test_every_wrong_rule_is_told_at_once_and_names_are_unique() -> None:
    rules = [Rule(name="empty"), Rule(name="twice", expire_days=1), Rule(name="twice", expire_days=2)]
    with pytest.raises(LifecycleError) as refused:
        lifecycle("Raw", rules)
    assert len(str(refused.value).splitlines()) == 3
    assert "rule 'empty': it does nothing" in str(refused.value)
    assert "rule 'twice': there is another of this name" in str(refused.value)


@given(st.dictionaries(st.sampled_from(StorageClass), st.integers(0, 1000)), st.none() | st.integers(1, 2000))
def test_no_object_of_a_taken_rule_leaves_a_class_before_its_minimum(
    transitions: dict[StorageClass, int], expires: int | None
) -> None:
    rule = Rule(name="any", transitions=transitions, expire_days=expires)
    if list(problems(rule)):
        return
    way = sorted(transitions.items(), key=lambda step: step[1])
    ends = [days for _, days in way[1:]] + [expires or 10**6]
    assert all(end - days >= TERMS[name].minimum_days for (name, days), end in zip(way, ends, strict=bool(way)))
    assert all(days >= 30 for name, days in way if name.endswith("_IA"))


@pytest.mark.requirement("st-scenario2-transitions", "st-glacier-deep")
def test_what_was_deleted_is_back_at_once_and_later_within_two_days() -> None:
    rule = recoverable(30, 365)
    assert rule.noncurrent_transitions == {StorageClass.DEEP_ARCHIVE: 30}
    assert rule.noncurrent_expire_days == 365
    assert not list(problems(rule))
    assert list(problems(recoverable(200, 365))), "165 days in Deep Archive, which charges for 180"


@pytest.mark.requirement("st-intelligent-tiering")
@pytest.mark.parametrize(
    ("archive", "deep", "problem"),
    [
        (89, 180, "ARCHIVE_ACCESS at day 89: S3 takes 90 to 730"),
        (90, 179, "DEEP_ARCHIVE_ACCESS at day 179: S3 takes 180 to 730"),
        (90, 731, "DEEP_ARCHIVE_ACCESS at day 731"),
        (200, 200, "DEEP_ARCHIVE_ACCESS at day 200 has to come after ARCHIVE_ACCESS"),
    ],
)
def test_archive_tiers_that_s3_refuses_are_refused(archive: int, deep: int, problem: str) -> None:
    with pytest.raises(LifecycleError, match=f"bucket Features can't be: {problem}"):
        archive_tiers("Features", archive, deep)
