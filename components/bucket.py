"""A private, encrypted, TLS-only bucket for one zone of the lake."""

from collections.abc import Mapping, Sequence

from aws_cdk import Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from components.base import Deployment
from components.bucket_policy import deny_other_encryption
from components.findings import explain
from components.lifecycle import Rule, lifecycle
from components.log_group import LogGroup

_UNFINISHED_UPLOADS = Rule(name="unfinished-uploads", abort_uploads_days=7)


class ZoneBucket(s3.Bucket):
    """One zone of the lake: KMS with a bucket key, TLS only, no public access, unfinished uploads removed.

    Objects that name another key or algorithm are refused. Without `key` the bucket is encrypted by S3 itself
    (SSE-S3): the one form that log delivery accepts. `tiers` are Intelligent-Tiering's optional ones, by name,
    with the days without access after which objects of that class go there. Raises LifecycleError for a rule of
    `lifecycle_rules` that S3 would refuse.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        *,
        key: kms.IKey | None = None,
        access_logs: s3.IBucket | None = None,
        lifecycle_rules: Sequence[Rule] = (),
        versioned: bool = False,
        publish_events: bool = False,
        tiers: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key,
            bucket_key_enabled=bool(key),
            blocked_encryption_types=[s3.BlockedEncryptionType.SSE_C],
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=versioned,
            server_access_logs_bucket=access_logs,
            server_access_logs_prefix=f"{construct_id.lower()}/" if access_logs else None,
            lifecycle_rules=lifecycle(construct_id, [_UNFINISHED_UPLOADS, *lifecycle_rules]),
            removal_policy=deployment.removal_policy,
            auto_delete_objects=not deployment.retain,
        )
        self._set_properties(publish_events, tiers)
        explain(
            self, "S3BucketReplicationEnabled", "a copy in a second region costs as much again: for the account to say"
        )
        if not versioned:
            explain(
                self,
                "S3BucketVersioningEnabled|CKV_AWS_21",
                "its objects are written once, each under a name of its own",
            )
        if key:
            deny_other_encryption(self, key)
        else:
            explain(self, "S3DefaultEncryptionKMS", "the delivery of access logs takes SSE-S3 alone")
        if not access_logs:
            explain(self, "CKV_AWS_18", "it is where access logs go: its own would log themselves")

    @property
    def resource(self) -> s3.CfnBucket:
        """The resource itself, for properties that the library's Bucket has not."""
        bucket = self.node.default_child
        assert isinstance(bucket, s3.CfnBucket)  # noqa: S101  the L2's child always is
        return bucket

    def export_analysis(self, logs: s3.IBucket, prefix: str) -> None:
        """Report every day to `logs`, as CSV under `prefix`, which objects of Standard would do in Standard-IA."""
        bucket = s3.CfnBucket
        self.resource.analytics_configurations = [
            bucket.AnalyticsConfigurationProperty(
                id="storage-class",
                storage_class_analysis=bucket.StorageClassAnalysisProperty(
                    data_export=bucket.DataExportProperty(
                        output_schema_version="V_1",
                        destination=bucket.DestinationProperty(
                            bucket_arn=logs.bucket_arn,
                            bucket_account_id=Stack.of(self).account,
                            format="CSV",
                            prefix=prefix,
                        ),
                    )
                ),
            )
        ]

    def _set_properties(self, publish_events: bool, tiers: Mapping[str, int] | None) -> None:
        bucket = s3.CfnBucket
        if publish_events:
            # The property itself: Bucket's `event_bridge_enabled` would bring a custom resource for the same effect.
            self.resource.notification_configuration = bucket.NotificationConfigurationProperty(
                event_bridge_configuration=bucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
            )
        if tiers:
            self.resource.intelligent_tiering_configurations = [
                bucket.IntelligentTieringConfigurationProperty(
                    id="unread",
                    status="Enabled",
                    tierings=[bucket.TieringProperty(access_tier=tier, days=days) for tier, days in tiers.items()],
                )
            ]


def own_auto_delete_logs(stack: Stack, deployment: Deployment, key: kms.IKey) -> None:
    """Give CDK's function that empties buckets a log group of the stack: its own would outlive the stack."""
    log_group = LogGroup(stack, "EmptierLogs", deployment, key=key)
    auto_delete = stack.node.find_child("Custom::S3AutoDeleteObjectsCustomResourceProvider")
    handler = auto_delete.node.find_child("Handler")
    handler.add_property_override("LoggingConfig", {"LogGroup": log_group.log_group_name})
    explain(
        auto_delete, "CKV_AWS_11[567]", "the CDK's own; CloudFormation calls it, waits for it and hears of its failure"
    )
