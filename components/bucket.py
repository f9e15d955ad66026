"""A private, encrypted, TLS-only bucket for one zone of the lake."""

from aws_cdk import Duration
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from components.base import Deployment
from components.findings import explain


class ZoneBucket(s3.Bucket):
    """One zone of the lake: KMS with a bucket key, TLS only, no public access, unfinished uploads removed.

    Without `key` the bucket is encrypted by S3 itself (SSE-S3): the one form that log delivery accepts.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        *,
        key: kms.IKey | None = None,
        access_logs: s3.IBucket | None = None,
        lifecycle_rules: list[s3.LifecycleRule] | None = None,
        versioned: bool = False,
        publish_events: bool = False,
    ) -> None:
        unfinished = s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(7))
        super().__init__(
            scope,
            construct_id,
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key,
            bucket_key_enabled=bool(key),
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=versioned,
            server_access_logs_bucket=access_logs,
            server_access_logs_prefix=f"{construct_id.lower()}/" if access_logs else None,
            lifecycle_rules=[unfinished, *(lifecycle_rules or [])],
            removal_policy=deployment.removal_policy,
            auto_delete_objects=not deployment.retain,
        )
        explain(
            self, "S3BucketReplicationEnabled", "a copy in a second region costs as much again: for the account to say"
        )
        if not versioned:
            explain(
                self,
                "S3BucketVersioningEnabled|CKV_AWS_21",
                "its objects are written once, each under a name of its own",
            )
        if not key:
            explain(self, "S3DefaultEncryptionKMS", "the delivery of access logs takes SSE-S3 alone")
        if not access_logs:
            explain(self, "CKV_AWS_18", "it is where access logs go: its own would log themselves")
        if publish_events:
            # The property itself: Bucket's `event_bridge_enabled` would bring a custom resource for the same effect.
            bucket = self.node.default_child
            assert isinstance(bucket, s3.CfnBucket)  # noqa: S101  the L2's child always is
            bucket.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
                event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
            )
