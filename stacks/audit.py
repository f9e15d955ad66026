"""Audit: who did what in the account, and who touched which object of the lake, kept where it can't be changed unseen.

Provisions  a CloudTrail trail of all regions with log-file validation; its encrypted bucket, and that bucket's access
            logs; a log group in which the trail can be searched.
Inputs      a KMS key, the buckets whose objects are watched.
Outputs     `trail_arn`, `bucket`.
Costs       an account's first trail has its management events free, each further trail $2 per 100,000; object events
            $0.10 per 100,000; the log group $0.50 a GB, which an event of about 1.5 KB brings to another $0.08 per
            100,000. A job that reads 1,000 objects a minute all day costs $1.50 a day when reads are watched.
Copy        this file and components/{base,bucket,bucket_policy,findings,lifecycle,log_group,permissions,role}.py.
"""

from collections.abc import Sequence
from typing import Literal

from aws_cdk import Aws, CfnOutput
from aws_cdk import aws_cloudtrail as cloudtrail
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct
from pydantic import Field

from components.base import Deployment, Layer, Options
from components.bucket import ZoneBucket, own_auto_delete_logs
from components.findings import explain
from components.lifecycle import Rule
from components.log_group import LogGroup
from components.permissions import allow
from components.role import ServiceRole

_Selector = cloudtrail.CfnTrail.AdvancedEventSelectorProperty
_Field = cloudtrail.CfnTrail.AdvancedFieldSelectorProperty
_SERVICE = "cloudtrail.amazonaws.com"


class AuditOptions(Options):
    object_events: Literal["none", "writes", "all"] = Field("writes", description="events of the lake's objects")
    days: int = Field(365, ge=90, le=3650, description="days that the trail is kept")
    searchable: bool = Field(True, description="write events to CloudWatch Logs too, to search them there")


class Audit(Layer):
    """The account's events and those of the lake's objects -> trail -> bucket and log group."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: AuditOptions,
        *,
        key: kms.IKey,
        buckets: Sequence[s3.IBucket],
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: the audit trail")
        name = f"{deployment.prefix}-audit"  # forced: the key and the bucket name the trail before it exists
        self.trail_arn = f"arn:{Aws.PARTITION}:cloudtrail:{Aws.REGION}:{Aws.ACCOUNT_ID}:trail/{name}"
        self._let_the_trail_use(key)
        self.bucket = self._bucket(options, key)
        if not deployment.retain:
            own_auto_delete_logs(self, deployment, key)
        log_group = LogGroup(self, "Events", deployment, key=key) if options.searchable else None
        role = self._writer_of(log_group) if log_group else None
        trail = cloudtrail.CfnTrail(
            self,
            "Trail",
            trail_name=name,
            is_logging=True,
            is_multi_region_trail=True,
            include_global_service_events=True,
            enable_log_file_validation=True,
            kms_key_id=key.key_arn,
            s3_bucket_name=self.bucket.bucket_name,
            cloud_watch_logs_log_group_arn=log_group.log_group_arn if log_group else None,
            cloud_watch_logs_role_arn=role.role_arn if role else None,
            advanced_event_selectors=_selectors(options, buckets),
        )
        trail.node.add_dependency(self.bucket, *[role] if role else [])  # and so on their policies
        if not log_group:
            explain(trail, "CloudTrailCloudWatchLogsEnabled", "the settings say so: events are searched in the bucket")
        CfnOutput(self, "TrailArn", value=self.trail_arn)
        CfnOutput(self, "TrailBucketName", value=self.bucket.bucket_name)

    def _let_the_trail_use(self, key: kms.IKey) -> None:
        """https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-kms-key-policy-for-cloudtrail.html"""
        trails = f"arn:{Aws.PARTITION}:cloudtrail:*:{Aws.ACCOUNT_ID}:trail/*"
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="EncryptTheTrail",
                principals=[iam.ServicePrincipal(_SERVICE)],
                actions=["kms:GenerateDataKey*", "kms:DescribeKey"],
                resources=["*"],  # in a key policy: this key
                conditions={
                    "StringEquals": {"aws:SourceArn": self.trail_arn},
                    "StringLikeIfExists": {"kms:EncryptionContext:aws:cloudtrail:arn": trails},
                },
            )
        )

    def _bucket(self, options: AuditOptions, key: kms.IKey) -> ZoneBucket:
        expires = [Rule(name="expires", expire_days=options.days)]
        bucket = ZoneBucket(
            self,
            "Trails",
            self.deployment,
            key=key,
            access_logs=ZoneBucket(self, "AccessLogs", self.deployment, lifecycle_rules=expires),
            lifecycle_rules=expires,
        )
        # https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-s3-bucket-policy-for-cloudtrail.html
        this_trail = {"aws:SourceArn": self.trail_arn}
        for sid, action, resource, conditions in (
            ("ReadAcl", "s3:GetBucketAcl", bucket.bucket_arn, this_trail),
            (
                "WriteEvents",
                "s3:PutObject",
                bucket.arn_for_objects(f"AWSLogs/{Aws.ACCOUNT_ID}/*"),
                this_trail | {"s3:x-amz-acl": "bucket-owner-full-control"},
            ),
        ):
            bucket.add_to_resource_policy(
                iam.PolicyStatement(
                    sid=sid,
                    principals=[iam.ServicePrincipal(_SERVICE)],
                    actions=[action],
                    resources=[resource],
                    conditions={"StringEquals": conditions},
                )
            )
        return bucket

    def _writer_of(self, log_group: logs.LogGroup) -> ServiceRole:
        role = ServiceRole(self, "EventsRole", "cloudtrail")
        allow(role, ["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn)
        return role


def _selectors(
    options: AuditOptions, buckets: Sequence[s3.IBucket]
) -> list[cloudtrail.CfnTrail.AdvancedEventSelectorProperty]:
    """Management events always; what happens to objects as `object_events` says."""
    management = [_Field(field="eventCategory", equal_to=["Management"])]
    selectors = [_Selector(name="Management events", field_selectors=management)]
    if options.object_events != "none":
        objects = [
            _Field(field="eventCategory", equal_to=["Data"]),
            _Field(field="resources.type", equal_to=["AWS::S3::Object"]),
            _Field(field="resources.ARN", starts_with=[bucket.arn_for_objects("") for bucket in buckets]),
        ]
        if options.object_events == "writes":
            objects.append(_Field(field="readOnly", equal_to=["false"]))
        selectors.append(_Selector(name="Objects of the lake", field_selectors=objects))
    return selectors
