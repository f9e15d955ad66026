"""Catalogue and ETL: new raw flights are cleaned, joined with weather, planes and airports, and catalogued.

Provisions  a Glue job and the workflow whose event trigger starts it when objects arrive under raw; the EventBridge
            rule that feeds the trigger; a schedule that sweeps for what no event told of; an encrypted topic for
            people, told of runs that fail; the curated table; an Athena workgroup with a first question saved in it.
Inputs      a KMS key, the raw, curated and athena-results buckets, the catalogue database.
Outputs     `table`, `job`, `workgroup`, `alerts`.
Costs       a Glue run of two G.1X workers is about $0.015 a minute, and so is a sweep that finds nothing; Athena $5 a
            TB scanned; the alarm $0.10 a month.
Copy        this file, components/{alerts,base,dead_letters,findings,glue_job,layout,parquet_table,permissions,
            role}.py, contracts, schemas and glue_jobs.
"""

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_athena as athena
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct
from pydantic import Field, ValidationInfo, field_validator

from components.alerts import Alerts, Email
from components.base import Deployment, Layer, Options
from components.dead_letters import DeadLetters, waiting_in
from components.findings import explain
from components.glue_job import GlueJob, JobEncryption, start_every
from components.parquet_table import DayPartitionedTable
from components.permissions import before, read_objects, replace_objects
from components.role import ServiceRole
from schemas import flights

PREFIX = "flights/"
WEATHER_PREFIX = "weather/"
REFERENCE_PREFIX = "reference/"
STATE_PREFIX = "_state/"


class CatalogEtlOptions(Options):
    workers: int = Field(2, ge=2, le=100, description="G.1X workers of the Glue job")
    timeout_minutes: int = Field(30, ge=5, le=480, description="minutes after which a run is stopped")
    max_seconds: int = Field(
        600,
        ge=60,
        validate_default=True,
        description="seconds after which a run looks for no more, at most half its timeout",
    )
    sweep_hours: int = Field(6, ge=1, le=168, description="hours between runs that no event asks for")
    batch_objects: int = Field(100, ge=1, le=100, description="new raw objects that start a run at once")
    batch_seconds: int = Field(60, ge=1, le=900, description="seconds after the first new raw object that start one")
    alert_email: Email | None = Field(None, description="who is told of a run that failed")

    @field_validator("max_seconds")
    @classmethod
    def _ends_before_it_is_stopped(cls, seconds: int, others: ValidationInfo) -> int:
        """The last pass begins within max_seconds and needs time of its own."""
        if seconds > (most := others.data.get("timeout_minutes", 480) * 30):
            raise ValueError(f"Input should be at most {most}, half of timeout_minutes")
        return seconds


class CatalogEtl(Layer):
    """Raw zone -> Glue job -> curated, catalogued Parquet -> Athena."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: CatalogEtlOptions,
        *,
        key: kms.IKey,
        raw: s3.IBucket,
        curated: s3.IBucket,
        athena_results: s3.IBucket,
        database: glue.IDatabase,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: raw flights to curated, catalogued Parquet")
        self.job = job = self._job(options, key, raw, curated)
        workflow = self._workflow(options, job)
        undelivered = DeadLetters(self, "UndeliveredEvents", deployment, key=key)
        self._start_on_new_objects(raw, workflow, undelivered)
        start_every(
            self,
            "Sweep",
            hours=options.sweep_hours,
            job=job,
            description="Curates flights whose event was lost, and what a run that was out of time has left",
            if_missed="the next sweep finds what this one would have",
        )
        self.alerts = self._tell_of_failures(options, key, job, undelivered)
        self.table = DayPartitionedTable(
            self,
            "CuratedFlights",
            database=database,
            bucket=curated,
            prefix=PREFIX,
            table_name="flights",
            columns=flights.CURATED_COLUMNS,
            description="One row per flight, with weather, plane and destination",
        )
        self.workgroup = self._workgroup(key, athena_results, database)
        CfnOutput(self, "WorkGroupName", value=self.workgroup.ref)
        CfnOutput(self, "GlueWorkflowName", value=workflow.workflow_name)
        CfnOutput(self, "GlueJobName", value=job.job_name)
        CfnOutput(self, "CuratedTableName", value=self.table.table_name)
        CfnOutput(self, "GlueAlertTopicArn", value=self.alerts.topic_arn)

    def _job(self, options: CatalogEtlOptions, key: kms.IKey, raw: s3.IBucket, curated: s3.IBucket) -> GlueJob:
        role = ServiceRole(self, "JobRole", "glue")
        read_objects(role, raw, PREFIX, WEATHER_PREFIX, REFERENCE_PREFIX)
        replace_objects(role, curated, PREFIX, STATE_PREFIX)
        return GlueJob(
            self,
            "CurateFlights",
            script="curate_flights",
            imports=["days", "paths", "watermark"],
            description="Raw flights, deduplicated and joined with weather, planes and airports, to curated",
            role=role,
            key=key,
            encryption=JobEncryption(self, "Encryption", key=key),
            workers=options.workers,
            timeout_minutes=options.timeout_minutes,
            arguments={
                "raw_path": raw.s3_url_for_object(PREFIX),
                "weather_path": raw.s3_url_for_object(WEATHER_PREFIX),
                "reference_path": raw.s3_url_for_object(REFERENCE_PREFIX),
                "curated_path": curated.s3_url_for_object(PREFIX),
                "state_path": curated.s3_url_for_object(f"{STATE_PREFIX}flights.json"),
                "max_seconds": str(options.max_seconds),
            },
        )

    def _workflow(self, options: CatalogEtlOptions, job: GlueJob) -> glue.Workflow:
        workflow = glue.Workflow(self, "Workflow", description="Curates flights whenever raw events have arrived")
        workflow.add_event_trigger(
            "OnNewRawObjects",
            event_batching_condition=glue.EventBatchingCondition(
                batch_size=options.batch_objects, batch_window=Duration.seconds(options.batch_seconds)
            ),
            actions=[glue.Action.job(job)],
        )
        return workflow

    def _start_on_new_objects(self, raw: s3.IBucket, workflow: glue.Workflow, undelivered: DeadLetters) -> None:
        role = ServiceRole(self, "NotifyRole", "events")
        role.add_to_policy(iam.PolicyStatement(actions=["glue:notifyEvent"], resources=[workflow.workflow_arn]))
        rule = events.Rule(
            self,
            "RawObjectCreated",
            description="Tells the workflow of each new object of raw flights or weather",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [raw.bucket_name]},
                    "object": {"key": [{"prefix": PREFIX}, {"prefix": WEATHER_PREFIX}]},
                },
            ),
        )
        before(role, rule)
        cfn_rule = rule.node.default_child  # the library has no target for a Glue workflow
        cfn_rule.targets = [
            events.CfnRule.TargetProperty(
                id="Workflow",
                arn=workflow.workflow_arn,
                role_arn=role.role_arn,
                dead_letter_config=undelivered.of(rule),
            )
        ]

    def _tell_of_failures(
        self, options: CatalogEtlOptions, key: kms.IKey, job: GlueJob, undelivered: DeadLetters
    ) -> Alerts:
        alerts = Alerts(self, "Alerts", key=key, email=options.alert_email)
        alerts.alarm(
            "EventsUndelivered",
            waiting_in(undelivered.queue_name),
            "New objects started no run, or nobody was told of one that failed: the queue's messages say which",
        )
        events.Rule(
            self,
            "JobFailed",
            description="Tells people of a run of the Glue job that did not succeed",
            event_pattern=events.EventPattern(
                source=["aws.glue"],
                detail_type=["Glue Job State Change"],
                detail={"jobName": [job.job_name], "state": ["FAILED", "TIMEOUT", "STOPPED"]},
            ),
            # By the topic's policy: with a role, delivery to an encrypted topic may fail.
            # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
            targets=[targets.SnsTopic(alerts, dead_letter_queue=undelivered)],
        )
        explain(alerts, "access-confused-deputy", "EventBridge takes no condition in a topic's policy")
        return alerts

    def _workgroup(self, key: kms.IKey, athena_results: s3.IBucket, database: glue.IDatabase) -> athena.CfnWorkGroup:
        workgroup = athena.CfnWorkGroup(
            self,
            "WorkGroup",
            name=f"{self.deployment.prefix}-flights",
            recursive_delete_option=not self.deployment.retain,
            work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
                enforce_work_group_configuration=True,
                publish_cloud_watch_metrics_enabled=True,
                bytes_scanned_cutoff_per_query=10 * 1024**3,
                result_configuration=athena.CfnWorkGroup.ResultConfigurationProperty(
                    output_location=athena_results.s3_url_for_object("results/"),
                    encryption_configuration=athena.CfnWorkGroup.EncryptionConfigurationProperty(
                        encryption_option="SSE_KMS", kms_key=key.key_arn
                    ),
                ),
            ),
        )
        per_month = athena.CfnNamedQuery(
            self,
            "FlightsPerMonth",
            name="Flights per month",
            database=database.database_name,
            work_group=workgroup.ref,
            query_string=f"SELECT year, month, count(*) AS flights FROM {self.table.table_name} "  # noqa: S608
            "WHERE year = 2013 GROUP BY year, month ORDER BY year, month",
        )
        per_month.node.add_dependency(workgroup)
        return workgroup
