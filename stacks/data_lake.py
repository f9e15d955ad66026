"""Data lake: one private, encrypted bucket per zone, and the catalogue database over them.

Provisions  buckets raw, quarantine, curated, features, models, captured, athena results and their access logs, each
            with its lifecycle (docs/data-lake.md); a Glue database.
Inputs      a KMS key; with `endpoint_only` also the VPC that objects are reached from.
Outputs     `raw`, `quarantine`, `curated`, `features`, `models`, `captured`, `athena_results`, `database`.
Costs       nothing idle; storage by the gigabyte ($0.023 a month in Standard); storage-class analysis $0.10 a month
            for a million objects.
Copy        this file and components/{base,bucket,bucket_policy,findings,lifecycle,log_group}.py.
"""

from typing import Any, Literal

from aws_cdk import Aws, CfnOutput, CrossStackReferences, ReferenceStrength
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct
from pydantic import Field

from components.base import Deployment, Layer, Options
from components.bucket import ZoneBucket, own_auto_delete_logs
from components.bucket_policy import accept_analyses, allow_reading, deny_from_outside
from components.lifecycle import Rule, StorageClass, archive_tiers, recoverable

Zone = Literal["raw", "quarantine", "curated", "features", "models", "captured"]
ANALYSES_PREFIX = "storage-class-analysis/"
# The layers whose jobs and functions AWS runs in networks of its own.
WORKING_LAYERS = (
    *("data-lake", "streaming", "flight-state", "real-time", "delay-delivery"),
    *("catalog-etl", "data-catalog", "etl-jobs", "training", "serving", "monitoring"),
)


class ZoneRule(Rule):
    """A lifecycle rule of one zone, besides those that it has anyway."""

    zone: Zone = Field(description="the zone that has the rule")


class DataLakeOptions(Options):
    infrequent_days: int = Field(60, ge=1, description="days after which raw and curated move to Standard-IA")
    archive_days: int = Field(180, ge=1, description="days after which raw is archived and curated rarely read")
    archived_prefixes: tuple[str, ...] = Field(
        ("flights/", "weather/", "source/"),
        description="prefixes of raw that are archived; reference data, read by every job, is not",
    )
    undelete_days: int = Field(30, ge=1, description="days in which what was deleted is back at once")
    recover_days: int = Field(365, ge=1, description="days in which what was deleted is back within 48 hours")
    feature_archive_days: int = Field(90, ge=1, description="days unread after which features are in the archive tier")
    feature_deep_archive_days: int = Field(180, ge=1, description="days unread after which they are in the deep one")
    quarantine_days: int = Field(365, ge=1, description="days that refused events are kept")
    captured_days: int = Field(180, ge=1, description="days that captured requests and answers are kept")
    athena_results_days: int = Field(7, ge=1, le=365, description="days that query results are kept")
    access_log_days: int = Field(365, ge=1, description="days that access logs are kept")
    rules: tuple[ZoneRule, ...] = Field((), description="lifecycle rules besides, each with its zone")
    existing_buckets: dict[Zone, str] = Field(
        {}, description="zone -> name of a bucket there is already; its owner keeps its policy and lifecycle"
    )
    trusted_accounts: tuple[str, ...] = Field((), description="accounts (12 digits) that may read curated")
    endpoint_only: bool = Field(
        False, description="refuse people's work on objects from outside the network and its S3 endpoint"
    )


class DataLake(Layer):
    """The zones of the lake, in the order that data flows, and the database that catalogues them."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: DataLakeOptions,
        *,
        key: kms.IKey,
        vpc: ec2.IVpc | None = None,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: the lake's buckets and catalogue database")
        self.options = options
        self.key = key
        self.access_logs = ZoneBucket(
            self, "AccessLogs", deployment, lifecycle_rules=[_expire("logs", options.access_log_days)]
        )
        undo = recoverable(options.undelete_days, options.recover_days)
        self.raw = self._zone(
            "Raw",
            versioned=True,
            publish_events=True,
            lifecycle_rules=[
                *(self._cool(prefix, StorageClass.GLACIER) for prefix in options.archived_prefixes),
                _expire("undelivered", options.quarantine_days, prefix="errors/"),
                _expire("marks", options.quarantine_days, prefix="redriven/"),
                undo,
            ],
        )
        self.quarantine = self._zone("Quarantine", lifecycle_rules=[_expire("refused-events", options.quarantine_days)])
        self.curated = self._zone(
            # Athena and training read all of it, and neither reads what is in an archive.
            "Curated",
            versioned=True,
            lifecycle_rules=[
                self._cool("", StorageClass.GLACIER_IR),
                _expire("undelivered", options.quarantine_days, prefix="errors/"),
                _expire("loaded", options.athena_results_days, prefix="staging/"),
                undo,
            ],
        )
        self.features = self._zone(
            "Features",
            versioned=True,
            lifecycle_rules=[_by_access(), undo],
            tiers=archive_tiers("Features", options.feature_archive_days, options.feature_deep_archive_days),
        )
        # Without the optional tiers: an endpoint that scales out has to load its model at once.
        self.models = self._zone("Models", versioned=True, lifecycle_rules=[_by_access(), undo])
        self.captured = self._zone("Captured", lifecycle_rules=[_expire("captured", options.captured_days)])
        self.athena_results = self._zone(
            "AthenaResults", lifecycle_rules=[_expire("results", options.athena_results_days)]
        )
        self.database = glue.Database(
            self,
            "Database",
            database_name=deployment.prefix.replace("-", "_"),
            removal_policy=deployment.removal_policy,
        )
        self._analyze("Raw", "Curated")
        self._share(vpc)
        if not deployment.retain:
            own_auto_delete_logs(self, deployment, key)
        self._publish_names()

    def _zone(self, name: str, *, lifecycle_rules: list[Rule], **properties: Any) -> s3.IBucket:
        """A bucket of the stack's own, or the one there is already."""
        existing = {zone.title(): bucket for zone, bucket in self.options.existing_buckets.items()}
        if name in existing:
            return s3.Bucket.from_bucket_name(self, name, existing[name])
        asked = [rule for rule in self.options.rules if rule.zone == name.lower()]
        bucket = ZoneBucket(
            self,
            name,
            self.deployment,
            key=self.key,
            access_logs=self.access_logs,
            lifecycle_rules=[*lifecycle_rules, *asked],
            **properties,
        )
        # An import that goes stale here would cost data, not a redeploy.
        CrossStackReferences.of(bucket).produce(ReferenceStrength.STRONG)
        return bucket

    def _cool(self, prefix: str, archive: StorageClass) -> Rule:
        """Standard -> Standard-IA -> an archive, by age."""
        days = {StorageClass.STANDARD_IA: self.options.infrequent_days, archive: self.options.archive_days}
        return Rule(name=f"cool-{prefix.strip('/').replace('/', '-') or 'all'}", prefix=prefix, transitions=days)

    def _own(self) -> list[ZoneBucket]:
        return [bucket for bucket in self.node.children if isinstance(bucket, ZoneBucket)]

    def _analyze(self, *names: str) -> None:
        """Daily storage-class analysis, which knows Standard and Standard-IA, into the log bucket."""
        analyzed = [bucket for bucket in self._own() if bucket.node.id in names]
        for bucket in analyzed:
            bucket.export_analysis(self.access_logs, f"{ANALYSES_PREFIX}{bucket.node.id.lower()}")
        if analyzed:
            accept_analyses(self.access_logs, ANALYSES_PREFIX, analyzed)

    def _share(self, vpc: ec2.IVpc | None) -> None:
        """Who gets at objects besides the account's own roles, and from where."""
        accounts = self.options.trusted_accounts
        if accounts and isinstance(self.curated, ZoneBucket):
            allow_reading(self.curated, self.key, accounts)
        if not self.options.endpoint_only:
            return
        if not vpc:
            raise ValueError("endpoint_only needs the VPC that objects are reached from: give DataLake its `vpc`")
        # CloudFormation names roles after the stack, and cuts the names of stacks that are long.
        stacks = sorted({f"{self.deployment.prefix}-{layer}"[:24] for layer in WORKING_LAYERS})
        excepted = [f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/{stack}*" for stack in stacks]
        excepted += [f"arn:{Aws.PARTITION}:iam::{account}:*" for account in accounts]
        for bucket in self._own():
            deny_from_outside(bucket, vpc.vpc_id, excepted)

    def _publish_names(self) -> None:
        buckets = {
            "Raw": self.raw,
            "Quarantine": self.quarantine,
            "Curated": self.curated,
            "Features": self.features,
            "Models": self.models,
            "Captured": self.captured,
            "AthenaResults": self.athena_results,
        }
        for name, bucket in buckets.items():
            CfnOutput(self, f"{name}BucketName", value=bucket.bucket_name)
        CfnOutput(self, "DatabaseName", value=self.database.database_name)


def _expire(name: str, days: int, prefix: str = "") -> Rule:
    return Rule(name=name, prefix=prefix, expire_days=days)


def _by_access() -> Rule:
    """Into Intelligent-Tiering at once: its tiers follow what is read, and reading costs nothing."""
    return Rule(name="by-access", transitions={StorageClass.INTELLIGENT_TIERING: 0})
