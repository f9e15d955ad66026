"""Lifecycle rules of buckets: S3's storage classes with their terms, and a check of what S3 would refuse or charge for.

Constraints: https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html
Terms: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html#sc-compare
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from aws_cdk import Duration
from aws_cdk import aws_s3 as s3
from pydantic import Field

from components.base import Options


class StorageClass(StrEnum):
    """Classes that a lifecycle can move an object to, from the warmest: it never moves one back."""

    STANDARD_IA = "STANDARD_IA"
    INTELLIGENT_TIERING = "INTELLIGENT_TIERING"
    ONEZONE_IA = "ONEZONE_IA"
    GLACIER_IR = "GLACIER_IR"
    GLACIER = "GLACIER"  # Flexible Retrieval
    DEEP_ARCHIVE = "DEEP_ARCHIVE"


@dataclass(frozen=True)
class Terms:
    """What a class asks: days before an object may enter, days it is charged at least, the colder classes it leads to.

    `refuses` says whether S3 refuses a rule that leaves the class earlier; else it charges for the rest of the days.
    """

    earliest: int
    minimum_days: int
    leads_to: frozenset[StorageClass]
    refuses: bool = False


_ARCHIVES = frozenset({StorageClass.GLACIER, StorageClass.DEEP_ARCHIVE})
_COLDER = _ARCHIVES | {StorageClass.GLACIER_IR}
TERMS: Mapping[StorageClass, Terms] = {
    StorageClass.STANDARD_IA: Terms(
        30, 30, _COLDER | {StorageClass.INTELLIGENT_TIERING, StorageClass.ONEZONE_IA}, refuses=True
    ),
    StorageClass.INTELLIGENT_TIERING: Terms(0, 0, _COLDER | {StorageClass.ONEZONE_IA}),
    StorageClass.ONEZONE_IA: Terms(30, 30, _ARCHIVES, refuses=True),
    StorageClass.GLACIER_IR: Terms(0, 90, _ARCHIVES),
    StorageClass.GLACIER: Terms(0, 90, frozenset({StorageClass.DEEP_ARCHIVE})),
    StorageClass.DEEP_ARCHIVE: Terms(0, 180, frozenset()),
}
Days = dict[StorageClass, int]
_LATEST_TIER = 730


class LifecycleError(ValueError):
    """A bucket has a rule that S3 would refuse; the message names both and says why."""


class Rule(Options):
    """One lifecycle rule, for the objects under `prefix` that have all of `tags`; days count from their creation."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,255}$", description="says what the rule is for; unique in its bucket")
    prefix: str = Field("", description='objects whose key starts so, such as "flights/"; empty: all')
    tags: dict[str, str] = Field({}, description="objects that have all of these tags; empty: all")
    transitions: Days = Field({}, description="storage class -> days after which objects move to it")
    expire_days: int | None = Field(None, ge=1, description="days after which objects are deleted")
    noncurrent_transitions: Days = Field({}, description="as transitions, in days since a version was replaced")
    noncurrent_expire_days: int | None = Field(None, ge=1, description="days that replaced versions are kept")
    drop_delete_markers: bool = Field(False, description="remove delete markers that hide no version any more")
    abort_uploads_days: int | None = Field(None, ge=1, description="days after which unfinished uploads are removed")


def recoverable(at_once_days: int, days: int) -> Rule:
    """What is deleted or replaced comes back at once for `at_once_days`, then within 48 hours until `days`."""
    return Rule(
        name="recoverable",
        noncurrent_transitions={StorageClass.DEEP_ARCHIVE: at_once_days},
        noncurrent_expire_days=days,
        drop_delete_markers=True,
    )


def lifecycle(bucket: str, rules: Sequence[Rule]) -> list[s3.LifecycleRule]:
    """The rules as the library takes them. Raises LifecycleError, which names `bucket`, for those S3 would refuse."""
    wrong = [f"  rule {rule.name!r}: {problem}" for rule in rules for problem in problems(rule)]
    names = [rule.name for rule in rules]
    wrong += [f"  rule {name!r}: there is another of this name" for name in sorted({*names}) if names.count(name) > 1]
    if wrong:
        raise LifecycleError("\n".join([f"The lifecycle of bucket {bucket} can't be:", *wrong]))
    return [_rule(rule) for rule in rules]


def archive_tiers(bucket: str, archive_days: int, deep_archive_days: int) -> dict[str, int]:
    """Intelligent-Tiering's optional tiers by name, with the days without access after which objects go there.

    Raises LifecycleError for days that S3 would refuse.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Tiering.html
    """
    tiers = {"ARCHIVE_ACCESS": archive_days, "DEEP_ARCHIVE_ACCESS": deep_archive_days}
    for (name, days), earliest in zip(tiers.items(), (90, 180), strict=True):
        if not earliest <= days <= _LATEST_TIER:
            raise LifecycleError(
                f"Intelligent-Tiering of bucket {bucket} can't be: "
                f"{name} at day {days}: S3 takes {earliest} to {_LATEST_TIER}"
            )
    if deep_archive_days <= archive_days:
        raise LifecycleError(
            f"Intelligent-Tiering of bucket {bucket} can't be: DEEP_ARCHIVE_ACCESS at day {deep_archive_days} "
            f"has to come after ARCHIVE_ACCESS at day {archive_days}"
        )
    return tiers


def problems(rule: Rule) -> Iterator[str]:
    """What S3 would refuse in a rule, or charge for in vain."""
    yield from _transition_problems("", rule.transitions, rule.expire_days)
    yield from _transition_problems("noncurrent ", rule.noncurrent_transitions, rule.noncurrent_expire_days)
    if rule.tags and (rule.abort_uploads_days or rule.drop_delete_markers):
        yield "uploads and delete markers have no tags: give it a prefix, or put them into a rule of their own"
    if rule.drop_delete_markers and rule.expire_days:
        yield "a rule with expire_days can't have drop_delete_markers: put them into a rule of their own"
    if len(rule.tags) > 10:
        yield f"an object has up to 10 tags, not {len(rule.tags)}"
    does = rule.model_dump(exclude={"name", "prefix", "tags"}, exclude_defaults=True)
    if not does:
        yield "it does nothing: give it transitions, a number of days or drop_delete_markers"


def _transition_problems(kind: str, transitions: Days, expires: int | None) -> Iterator[str]:
    """Problems of the steps from class to class until objects expire; `kind` precedes the name of a setting."""
    steps = sorted(transitions.items(), key=lambda step: step[1])
    for name, days in steps:
        if days < TERMS[name].earliest:
            yield f"{kind}{name} at day {days}: S3 takes day {TERMS[name].earliest} or later"
    for (name, days), (following, then) in pairwise(steps):
        if following not in TERMS[name].leads_to:
            yield f"{kind}{following} at day {then} comes after {name} at day {days}: S3 knows no such move"
        yield from _minimum_problem(kind, name, days, f"{following} at day {then}", then)
    if expires and steps:
        name, days = steps[-1]
        if expires <= days:
            yield f"{kind}{name} at day {days}, but objects are gone at day {expires}: it has to be earlier"
        else:
            yield from _minimum_problem(kind, name, days, f"the end at day {expires}", expires)


def _minimum_problem(kind: str, name: StorageClass, days: int, what: str, then: int) -> Iterator[str]:
    """What is wrong if objects leave a class before its minimum number of days."""
    terms = TERMS[name]
    if then - days < terms.minimum_days:
        why = "S3 refuses less" if terms.refuses else "S3 charges for the rest of them"
        yield f"{kind}{name} at day {days}, then {what}: it is kept for {terms.minimum_days} days or more; {why}"


def _rule(rule: Rule) -> s3.LifecycleRule:
    return s3.LifecycleRule(
        id=rule.name,
        prefix=rule.prefix or None,
        tag_filters=rule.tags or None,
        transitions=[
            s3.Transition(storage_class=s3.StorageClass(name), transition_after=Duration.days(days))
            for name, days in rule.transitions.items()
        ]
        or None,
        expiration=_days(rule.expire_days),
        noncurrent_version_transitions=[
            s3.NoncurrentVersionTransition(storage_class=s3.StorageClass(name), transition_after=Duration.days(days))
            for name, days in rule.noncurrent_transitions.items()
        ]
        or None,
        noncurrent_version_expiration=_days(rule.noncurrent_expire_days),
        expired_object_delete_marker=rule.drop_delete_markers or None,
        abort_incomplete_multipart_upload_after=_days(rule.abort_uploads_days),
    )


def _days(days: int | None) -> Duration | None:
    return Duration.days(days) if days else None
