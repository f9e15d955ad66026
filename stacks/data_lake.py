"""Data lake: one private, encrypted bucket per zone, and the catalogue database over them.

Provisions  buckets raw, curated, quarantine, models, captured, athena results and their access logs; a Glue database.
Inputs      a KMS key.
Outputs     `raw`, `curated`, `quarantine`, `models`, `captured`, `athena_results`, `database`.
Costs       nothing idle; storage by the gigabyte ($0.023 a month in Standard).
Copy        this file and components/{base,bucket,findings,log_group}.py.
"""

from typing import Any

from aws_cdk import CfnOutput, CrossStackReferences, Duration, ReferenceStrength
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct
from pydantic import Field

from components.base import Deployment, Layer, Options
from components.bucket import ZoneBucket
from components.findings import explain
from components.log_group import LogGroup


class DataLakeOptions(Options):
    athena_results_days: int = Field(7, ge=1, le=365, description="days that query results are kept")
    access_log_days: int = Field(365, ge=1, description="days that access logs are kept")


class DataLake(Layer):
    """The zones of the lake and the database that catalogues them."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: DataLakeOptions,
        *,
        key: kms.IKey,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: the lake's buckets and catalogue database")
        expires = s3.LifecycleRule
        self.access_logs = ZoneBucket(
            self,
            "AccessLogs",
            deployment,
            lifecycle_rules=[expires(expiration=Duration.days(options.access_log_days))],
        )

        def zone(name: str, **options: Any) -> ZoneBucket:
            return ZoneBucket(self, name, deployment, key=key, access_logs=self.access_logs, **options)

        self.raw = zone("Raw", publish_events=True)
        self.quarantine = zone("Quarantine")
        self.curated = zone("Curated")
        self.models = zone("Models", versioned=True)
        self.captured = zone("Captured")
        self.athena_results = zone(
            "AthenaResults", lifecycle_rules=[expires(expiration=Duration.days(options.athena_results_days))]
        )
        self.database = glue.Database(
            self,
            "Database",
            database_name=deployment.prefix.replace("-", "_"),
            removal_policy=deployment.removal_policy,
        )

        if not deployment.retain:
            self._keep_the_emptier_log(key)
        for construct_name in ("Raw", "Quarantine", "Curated", "Models", "Captured", "AthenaResults"):
            bucket = self.node.find_child(construct_name)
            CrossStackReferences.of(bucket).produce(ReferenceStrength.STRONG)
            CfnOutput(self, f"{construct_name}BucketName", value=bucket.bucket_name)
        CfnOutput(self, "DatabaseName", value=self.database.database_name)

    def _keep_the_emptier_log(self, key: kms.IKey) -> None:
        """Give CDK's function that empties buckets a log group of the stack: its own would outlive the stack."""
        log_group = LogGroup(self, "EmptierLogs", self.deployment, key=key)
        emptier = self.node.find_child("Custom::S3AutoDeleteObjectsCustomResourceProvider")
        handler = emptier.node.find_child("Handler")
        handler.add_property_override("LoggingConfig", {"LogGroup": log_group.log_group_name})
        explain(
            emptier, "CKV_AWS_11[567]", "the CDK's own; CloudFormation calls it, waits for it and hears of its failure"
        )
