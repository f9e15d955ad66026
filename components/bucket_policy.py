"""Statements of bucket policies: what is denied to all, and who else may read or deliver.

S3 evaluates a bucket's policy before its default encryption: a request without encryption headers has none of the
conditions' keys, and gets the bucket's own key once it has passed. Hence `Null`, for a Deny also holds where its
`StringNotEquals` has nothing to compare. https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
"""

from collections.abc import Sequence

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

_ALGORITHM = "s3:x-amz-server-side-encryption"
_KEY = "s3:x-amz-server-side-encryption-aws-kms-key-id"


def deny_other_encryption(bucket: s3.Bucket, key: kms.IKey) -> None:
    """Refuse objects that ask for another algorithm or key than `key`, which is the bucket's default."""
    _deny_put(
        bucket,
        "OtherAlgorithm",
        {"StringNotEquals": {_ALGORITHM: "aws:kms"}, "Null": {_ALGORITHM: "false"}},
    )
    _deny_put(bucket, "OtherKey", {"StringNotEquals": {_KEY: key.key_arn}, "Null": {_KEY: "false"}})
    # aws:kms with no key named is not the bucket's default but AWS's own key:
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
    _deny_put(bucket, "UnnamedKey", {"StringEquals": {_ALGORITHM: "aws:kms"}, "Null": {_KEY: "true"}})


def deny_from_outside(bucket: s3.Bucket, vpc_id: str, roles: Sequence[str]) -> None:
    """Refuse work on objects unless it comes through `vpc_id`.

    Excepted are AWS's services, on their own behalf (log delivery) or a caller's (Athena), and principals whose ARN is
    like one of `roles`: those of jobs and functions that AWS runs in networks of its own. The bucket itself can be
    changed from anywhere, or a wrong policy could not be mended.
    """
    bucket.add_to_resource_policy(
        iam.PolicyStatement(
            sid="ObjectsFromOutside",
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=["s3:*Object*", "s3:ListBucket*", "s3:AbortMultipartUpload"],
            resources=[bucket.bucket_arn, bucket.arn_for_objects("*")],
            conditions={
                "StringNotEquals": {"aws:SourceVpc": vpc_id},
                "BoolIfExists": {"aws:ViaAWSService": "false", "aws:PrincipalIsAWSService": "false"},
                "ArnNotLike": {"aws:PrincipalArn": list(roles)},
            },
        )
    )


def allow_reading(bucket: s3.Bucket, key: kms.IKey, accounts: Sequence[str]) -> None:
    """Let other accounts read the bucket's objects; each says itself which of its roles may."""
    principals = [iam.AccountPrincipal(account) for account in accounts]
    bucket.add_to_resource_policy(
        iam.PolicyStatement(
            sid="TrustedAccountsRead",
            principals=principals,
            actions=["s3:GetObject", "s3:GetBucketLocation", "s3:ListBucket"],
            resources=[bucket.bucket_arn, bucket.arn_for_objects("*")],
        )
    )
    key.add_to_resource_policy(
        iam.PolicyStatement(
            sid="TrustedAccountsReadThroughS3",
            principals=principals,
            actions=["kms:Decrypt"],
            resources=["*"],  # in a key policy: this key
            conditions={"StringEquals": {"kms:ViaService": f"s3.{Aws.REGION}.amazonaws.com"}},
        )
    )


def accept_analyses(logs: s3.Bucket, prefix: str, of: Sequence[s3.Bucket]) -> None:
    """Let S3 deliver its storage-class analyses of some buckets under `prefix` of `logs`.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-bucket-policies.html#example-bucket-policies-s3-inventory-1
    """
    logs.add_to_resource_policy(
        iam.PolicyStatement(
            sid="StorageClassAnalyses",
            principals=[iam.ServicePrincipal("s3.amazonaws.com")],
            actions=["s3:PutObject"],
            resources=[logs.arn_for_objects(f"{prefix}*")],
            conditions={
                "ArnLike": {"aws:SourceArn": [bucket.bucket_arn for bucket in of]},
                "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID, "s3:x-amz-acl": "bucket-owner-full-control"},
            },
        )
    )


def _deny_put(bucket: s3.Bucket, sid: str, conditions: dict[str, dict[str, str]]) -> None:
    bucket.add_to_resource_policy(
        iam.PolicyStatement(
            sid=sid,
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=["s3:PutObject"],
            resources=[bucket.arn_for_objects("*")],
            conditions=conditions,
        )
    )
