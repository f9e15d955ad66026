"""Rules for Amazon S3 and DynamoDB."""

from itertools import pairwise
from typing import Any

from checks.finding import Severity
from checks.rules.policy import everyone, public, statements
from checks.rules.resource import Resource, at, intrinsic, items, number, own_key, texts, true
from checks.rules.rule import rule

_LIFECYCLE = (
    "https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html"
    "#lifecycle-general-considerations-transition-sc"
)
_INFREQUENT = ("STANDARD_IA", "ONEZONE_IA")
# From warm to cold: an object only ever moves to the right.
_WATERFALL = (
    "STANDARD_IA",
    "INTELLIGENT_TIERING",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
)
_ARCHIVE_DAYS = {"ARCHIVE_ACCESS": 90, "DEEP_ARCHIVE_ACCESS": 180}


@rule(
    "s3-public-policy",
    "AWS::S3::BucketPolicy",
    severity=Severity.HIGH,
    why="Whoever knows the bucket's name reads or writes it. TLS or a header in the condition confines nobody.",
    fix="Name the principals, or add a condition on an organization, account, VPC endpoint or address.",
    source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html",
)
def s3_public_policy(policy: Resource) -> str | None:
    """A bucket policy allows nothing to everyone."""
    return public(policy["PolicyDocument"])


@rule(
    "s3-sse-c-required",
    "AWS::S3::BucketPolicy",
    why="Keys of the caller's own (SSE-C) are switched off for new buckets: with a policy that demands them every put "
    "is denied, and what was written with them is lost with its key.",
    fix="Take the statement out, and encrypt by the bucket's default with a KMS key.",
    source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html",
)
def s3_sse_c_required(policy: Resource) -> str | None:
    """A bucket policy does not demand keys of the caller's own."""
    for statement in statements(policy["PolicyDocument"], "Deny"):
        null = at(statement, "Condition.Null")
        if isinstance(null, dict) and everyone(statement):
            for key, value in null.items():
                if key.lower() == "s3:x-amz-server-side-encryption-customer-algorithm" and "true" in _lower(value):
                    return "whoever puts an object without a key of their own is denied"
    return None


@rule(
    "s3-lifecycle-refused",
    "AWS::S3::Bucket",
    severity=Severity.HIGH,
    why="S3 refuses the whole configuration, so the deployment fails.",
    fix="Infrequent access not before day 30, the next class 30 days after it, each class colder than the one before, "
    "expiration after the last transition.",
    source=_LIFECYCLE,
)
def s3_lifecycle_refused(bucket: Resource) -> str | None:
    """Every lifecycle rule is one that S3 accepts. Days given by an intrinsic can't be shown to be."""
    for each in items(bucket["LifecycleConfiguration.Rules"]):
        current = items(each.get("Transitions")) + items(each.get("Transition"))
        noncurrent = items(each.get("NoncurrentVersionTransitions")) + items(each.get("NoncurrentVersionTransition"))
        until = at(each, "NoncurrentVersionExpiration.NoncurrentDays") or each.get("NoncurrentVersionExpirationInDays")
        wrong = _refused(current, each.get("ExpirationInDays")) or _refused(noncurrent, until)
        if wrong:
            return f"rule {each.get('Id') or each.get('Prefix') or 'without id'}: {wrong}"
    return None


def _refused(transitions: list[dict[str, Any]], expiration: Any) -> str | None:
    """Why S3 refuses the transitions of one rule, or their expiration."""
    if any(map(intrinsic, [expiration, *(each.get("TransitionInDays") for each in transitions)])):
        return "a number of days is known only when it is deployed"
    days = sorted(
        (after, _WATERFALL.index(name), name)
        for each in transitions
        if (after := number(each.get("TransitionInDays"))) is not None
        and (name := str(each.get("StorageClass"))) in _WATERFALL
    )
    for after, _, name in days:
        if name in _INFREQUENT and after < 30:
            return f"{name} after {after:g} days, which is less than 30"
    for (before, warmer, first), (after, colder, second) in pairwise(days):
        if colder <= warmer:
            return f"{second} comes after {first}, but objects move only to a colder class"
        if first in _INFREQUENT and after - before < 30:
            return f"{second} comes {after - before:g} days after {first}, which is less than 30"
    ends = number(expiration)
    if ends is not None and days and ends <= days[-1][0]:
        return f"expiration after {ends:g} days is not later than {days[-1][2]} after {days[-1][0]:g}"
    return None


@rule(
    "s3-intelligent-tiering-refused",
    "AWS::S3::Bucket",
    severity=Severity.HIGH,
    why="S3 refuses the configuration, so the deployment fails.",
    fix="Archive access from 90 to 730 days, deep archive access from 180 to 730.",
    source="https://docs.aws.amazon.com/AmazonS3/latest/API/API_Tiering.html",
)
def s3_intelligent_tiering_refused(bucket: Resource) -> str | None:
    """Intelligent-Tiering archives objects only after the days that S3 demands."""
    for configuration in items(bucket["IntelligentTieringConfigurations"]):
        for tiering in items(configuration.get("Tierings")):
            days, tier = number(tiering.get("Days")), str(tiering.get("AccessTier"))
            least = _ARCHIVE_DAYS.get(tier, 0)
            if days is None or not least <= days <= 730:
                return f"{tier} after {texts(tiering.get('Days'))} days: {least} to 730 are allowed"
    return None


@rule(
    "dynamodb-recovery",
    "AWS::DynamoDB::Table",
    "AWS::DynamoDB::GlobalTable",
    why="A wrong write or delete is final: only point-in-time recovery brings back the table of a minute before.",
    fix="Switch PointInTimeRecoveryEnabled on, for a global table in each replica.",
)
def dynamodb_recovery(table: Resource) -> str | None:
    """A table can be brought back to any minute of the last days."""
    path = "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled"
    if all(true(at(each, path)) for each in _replicas(table)):
        return None
    return "point-in-time recovery is not switched on"


@rule(
    "dynamodb-key",
    "AWS::DynamoDB::Table",
    "AWS::DynamoDB::GlobalTable",
    why="A key that AWS owns can neither be audited nor withdrawn, so the table's policy alone keeps readers out.",
    fix="Set SSESpecification with SSEEnabled and a KMSMasterKeyId of yours, for a global table in each replica.",
)
def dynamodb_key(table: Resource) -> str | None:
    """A table is encrypted with a key of its owner."""
    enabled = true(table["SSESpecification.SSEEnabled"])
    if enabled and all(own_key(at(each, "SSESpecification.KMSMasterKeyId")) for each in _replicas(table)):
        return None
    return "the key is AWS's own"


def _replicas(table: Resource) -> list[Any]:
    """Where the settings of a table are: in itself, or in each replica of a global one."""
    if table.type == "AWS::DynamoDB::Table":
        return [table.properties]
    return items(table["Replicas"]) or [table.properties]


def _lower(value: Any) -> list[str]:
    return [each.lower() for each in texts(value)]
