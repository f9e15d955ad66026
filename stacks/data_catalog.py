"""Data catalog: what is known about the data: found schemas, schema versions, layouts, and whether the rules hold.

Provisions  crawlers over raw and quarantine, which log changed schemas and apply none; one that registers partitions of
            the stacks' tables; the nightly workflow that runs them and the jobs in order; hourly weather by date first
            and by station first, with the job that writes both; a schema registry; rules of data quality with their
            schedule; notices of what fails. If asked for: a crawler of a relational database, DataBrew's tools, a role
            for Redshift Spectrum.
Inputs      a KMS key, the raw, quarantine and curated buckets, the catalogue database, the tables of curated flights
            and raw weather, the name of the job that curates flights, a topic for people.
Outputs     `by_date`, `by_station`, `workflow`.
Costs       the alarm $0.10 a month; nothing else without schedules. A crawl is billed for ten minutes at least, $0.07 a
            DPU; the job and an evaluation of two workers about $0.015 a minute. The registry is free.
Copy        this file, components/{alerts,base,crawler,data_preparation,data_quality,dead_letters,findings,glue_job,
            layout,parquet_table,permissions,role}.py, contracts, schemas and glue_jobs.
"""

from typing import Any, cast

from aws_cdk import CfnOutput
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct
from pydantic import Field

from components.alerts import alarm
from components.base import Deployment, Layer, Options
from components.crawler import Crawler, DatabaseCrawler, FolderCrawler, PartitionCrawler
from components.data_preparation import DataPreparation
from components.data_quality import DataQuality
from components.dead_letters import DeadLetters, waiting_in
from components.glue_job import GlueJob, JobEncryption
from components.layout import DATE, Layout
from components.parquet_table import CataloguedTable, ProjectedTable, read_tables
from components.permissions import decrypt, put_objects, read_objects
from components.role import ServiceRole
from schemas import avro, weather
from schemas.quality import rules

PREPARED = "prepared/flights/"
EVENTS = ("flights", "weather")  # with a schema in the registry
# Hourly weather is asked for by day across stations, and by station over the years.
BY_DATE = Layout("weather_by_date/", (*DATE, "station"))
BY_STATION = Layout("weather_by_station/", ("station", *DATE))
_CRON = r"^cron\(([^ ]+ ){5}[^ ]+\)$"


class RelationalDatabase(Options):
    connection: str = Field(min_length=1, description="name of a Glue connection that is there already")
    path: str = Field(min_length=1, description="what to crawl, such as database/schema/%")
    secret_arn: str | None = Field(None, pattern=r"^arn:", description="ARN of the secret that the connection names")
    schedule: str | None = Field(None, pattern=_CRON, description="when to crawl it, in UTC; None: on demand alone")


class DataCatalogOptions(Options):
    nightly: str | None = Field(
        "cron(0 3 * * ? *)", pattern=_CRON, description="when the nightly workflow runs, in UTC; None: on demand alone"
    )
    quality: str | None = Field(
        "cron(0 5 * * ? *)", pattern=_CRON, description="when rules are evaluated, in UTC; None: on demand alone"
    )
    stations: tuple[str, ...] = Field(
        ("EWR", "JFK", "LGA"), min_length=1, description="weather stations, the partitions of the tables by station"
    )
    arrived_hours: int = Field(168, ge=24, description="hours back in which an arrival makes a day of weather new")
    workers: int = Field(2, ge=2, le=100, description="G.1X workers of the Glue job that lays weather out")
    timeout_minutes: int = Field(30, ge=5, le=480, description="minutes after which that job is stopped")
    relational_database: RelationalDatabase | None = Field(None, description="a database to crawl too")
    data_brew: bool = Field(False, description="tools for people to clean flights by hand; each use is charged")
    redshift_spectrum: bool = Field(False, description="a role with which Redshift reads curated flights")


class DataCatalog(Layer):
    """Crawlers -> nightly workflow -> layouts; schema versions; rules, and who is told when they are broken."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: DataCatalogOptions,
        *,
        key: kms.IKey,
        raw: s3.IBucket,
        quarantine: s3.IBucket,
        curated: s3.IBucket,
        database: glue.IDatabase,
        flights_table: glue.ITable,
        weather_table: glue.ITable,
        curate_job: glue.IJob,
        alerts: sns.ITopic,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: schemas, layouts and rules of the lake's tables")
        encryption = JobEncryption(self, "Encryption", key=key)
        shared = {"key": key, "database": database, "encryption": encryption}
        flights = CataloguedTable(flights_table, curated, "flights/")
        observed = CataloguedTable(weather_table, raw, "weather/")

        crawlers = self._crawlers(options, raw, quarantine, [flights, observed], shared)
        self.by_date, self.by_station = self._layouts(options, curated, database)
        layouts_job = self._layouts_job(options, key, encryption, raw, curated)
        self.workflow = self._nightly(options.nightly, crawlers, curate_job, layouts_job)
        self._registry()
        rulesets = [
            self._quality(options.quality, "flights", flights, {"weather": observed}, database, key),
            self._quality(options.quality, "weather", observed, {}, database, key),
        ]
        self._tell_of_failures(key, alerts, list(crawlers.values()), layouts_job, rulesets)
        if options.data_brew:
            DataPreparation(
                self,
                "Preparation",
                name=f"{deployment.prefix}-flights",
                source=flights,
                output=PREPARED,
                database=database,
                key=key,
            )
        if options.redshift_spectrum:
            self._spectrum(flights, database, key)
        CfnOutput(self, "NightlyWorkflowName", value=self.workflow.workflow_name)
        CfnOutput(self, "LayoutsJobName", value=layouts_job.job_name)
        CfnOutput(self, "ReferenceCrawlerName", value=crawlers["Reference"].ref)
        CfnOutput(self, "WeatherByDateTableName", value=self.by_date.table_name)
        CfnOutput(self, "WeatherByStationTableName", value=self.by_station.table_name)

    def _crawlers(
        self,
        options: DataCatalogOptions,
        raw: s3.IBucket,
        quarantine: s3.IBucket,
        tables: list[CataloguedTable],
        shared: dict[str, Any],
    ) -> dict[str, Crawler]:
        """By construct id. Tables that the stacks declare are no target but of the one that may not change them."""
        crawlers: dict[str, Crawler] = {
            # Files are replaced in place: a crawl of new folders alone would not look at them again.
            "Reference": FolderCrawler(
                self,
                "Reference",
                description="Tables of the reference files, as CSV",
                bucket=raw,
                folders=[f"reference/{table}/" for table in ("airports", "planes")],
                prefix="reference_",
                **shared,
            ),
            "Source": FolderCrawler(
                self,
                "Source",
                description="Events as they came from the streams, before any check",
                bucket=raw,
                folders=[f"source/{event}/" for event in EVENTS],
                prefix="source_",
                new_folders_only=True,
                **shared,
            ),
            "Refused": FolderCrawler(
                self,
                "Refused",
                description="Refused events with their reasons",
                bucket=quarantine,
                folders=[f"{event}/" for event in EVENTS],
                prefix="refused_",
                new_folders_only=True,
                **shared,
            ),
            "Partitions": PartitionCrawler(
                self,
                "Partitions",
                description="Partitions of flights and weather, for what does not project them",
                tables=tables,
                **shared,
            ),
        }
        if given := options.relational_database:
            crawlers["Relational"] = DatabaseCrawler(
                self,
                "Relational",
                description="Tables of a relational database",
                connection=given.connection,
                path=given.path,
                secret_arn=given.secret_arn,
                schedule=given.schedule,
                prefix="relational_",
                **shared,
            )
        return crawlers

    def _layouts(
        self, options: DataCatalogOptions, curated: s3.IBucket, database: glue.IDatabase
    ) -> tuple[ProjectedTable, ProjectedTable]:
        by_date, by_station = (
            ProjectedTable(
                self,
                construct_id,
                database=database,
                bucket=curated,
                layout=layout,
                values={"station": options.stations},
                table_name=layout.prefix.rstrip("/"),
                columns=weather.STATION_COLUMNS,
                description=f"Hourly weather, {order} first",
            )
            for construct_id, layout, order in (
                ("WeatherByDate", BY_DATE, "date"),
                ("WeatherByStation", BY_STATION, "station"),
            )
        )
        return by_date, by_station

    def _layouts_job(
        self,
        options: DataCatalogOptions,
        key: kms.IKey,
        encryption: glue.ISecurityConfiguration,
        raw: s3.IBucket,
        curated: s3.IBucket,
    ) -> GlueJob:
        role = ServiceRole(self, "LayoutsRole", "glue")
        read_objects(role, raw, "weather/")
        put_objects(role, curated, BY_DATE.prefix, BY_STATION.prefix)
        return GlueJob(
            self,
            "WeatherLayouts",
            script="weather_layouts",
            imports=["days", "paths"],
            description="Hourly weather of each station and day, by date first and by station first",
            role=role,
            key=key,
            encryption=encryption,
            workers=options.workers,
            timeout_minutes=options.timeout_minutes,
            arguments={
                "raw_path": raw.s3_url_for_object("weather/"),
                "by_date_path": curated.s3_url_for_object(BY_DATE.pattern),
                "by_station_path": curated.s3_url_for_object(BY_STATION.pattern),
                "stations": ",".join(options.stations),
                "arrived_hours": str(options.arrived_hours),
            },
        )

    def _nightly(
        self, cron: str | None, crawlers: dict[str, Crawler], curate_job: glue.IJob, layouts_job: GlueJob
    ) -> glue.Workflow:
        """What was found first, then what is made of it; partitions last, when they are all there."""
        workflow = glue.Workflow(self, "Nightly", description="Crawls, curates, lays out and registers, in this order")
        first = [glue.Action.crawler(crawlers[name]) for name in ("Reference", "Source", "Refused")]
        if cron:
            schedule = glue.TriggerSchedule.expression(cron)
            workflow.add_scheduled_trigger("Start", schedule=schedule, start_on_creation=True, actions=first)
        else:
            workflow.add_on_demand_trigger("Start", actions=first)
        succeeded = glue.Condition.crawler(crawlers["Reference"], glue.CrawlerState.SUCCEEDED)
        self._then(workflow, "Curate", succeeded, glue.Action.job(curate_job))
        made = glue.Condition.job(curate_job, glue.JobState.SUCCEEDED)
        self._then(workflow, "LayOut", made, glue.Action.job(layouts_job))
        laid_out = glue.Condition.job(layouts_job, glue.JobState.SUCCEEDED)
        self._then(workflow, "Register", laid_out, glue.Action.crawler(crawlers["Partitions"]))
        return workflow

    def _then(self, workflow: glue.Workflow, name: str, condition: glue.Condition, action: glue.Action) -> None:
        predicate = glue.Predicate(conditions=[condition], logical=glue.PredicateLogical.AND)
        made = workflow.add_conditional_trigger(name, predicate=predicate, start_on_creation=True, actions=[action])
        trigger = cast(glue.CfnTrigger, made)
        trigger.add_property_deletion_override("EventBatchingCondition")  # it is of event triggers alone

    def _registry(self) -> None:
        """Each version of each event's schema; the registry refuses one that can't read what the one before wrote."""
        registry = glue.CfnRegistry(
            self, "Registry", name=self.deployment.prefix, description="Schemas of the events on the streams"
        )
        for event in EVENTS:
            first, *later = avro.versions(event)
            schema = glue.CfnSchema(
                self,
                f"{event.title()}Schema",
                name=event,
                registry=glue.CfnSchema.RegistryProperty(name=registry.name),
                data_format="AVRO",
                compatibility="BACKWARD",
                schema_definition=first,
            )
            schema.node.add_dependency(registry)
            before = schema
            for number, definition in enumerate(later, start=2):
                version = glue.CfnSchemaVersion(
                    self,
                    f"{event.title()}Schema{number}",
                    schema=glue.CfnSchemaVersion.SchemaProperty(registry_name=registry.name, schema_name=event),
                    schema_definition=definition,
                )
                version.node.add_dependency(before)
                before = version

    def _quality(
        self,
        cron: str | None,
        name: str,
        primary: CataloguedTable,
        others: dict[str, CataloguedTable],
        database: glue.IDatabase,
        key: kms.IKey,
    ) -> DataQuality:
        return DataQuality(
            self,
            f"{name.title()}Quality",
            name=f"{self.deployment.prefix}-{name}",
            rules=rules(name),
            primary=primary,
            others=others,
            description=f"What holds of {name} unless a source or a job is broken",
            database=database,
            key=key,
            schedule=cron,
        )

    def _tell_of_failures(
        self,
        key: kms.IKey,
        alerts: sns.ITopic,
        crawlers: list[Crawler],
        layouts_job: GlueJob,
        rulesets: list[DataQuality],
    ) -> None:
        undelivered = DeadLetters(self, "UndeliveredEvents", self.deployment, key=key)
        alarm(
            self,
            "EventsUndelivered",
            waiting_in(undelivered.queue_name),
            "Nobody was told of what failed or is broken: the queue's messages say what",
            alerts,
        )
        told: dict[str, tuple[str, str, str, dict[str, Any]]] = {
            "CrawlFailed": (
                "Tells people of a crawl that failed",
                "aws.glue",
                "Glue Crawler State Change",
                {"crawlerName": [crawler.ref for crawler in crawlers], "state": ["Failed"]},
            ),
            "LayoutsFailed": (
                "Tells people of a run of the layouts' job that did not succeed",
                "aws.glue",
                "Glue Job State Change",
                {"jobName": [layouts_job.job_name], "state": ["FAILED", "TIMEOUT", "STOPPED"]},
            ),
            "RulesBroken": (
                "Tells people of rules of data quality that a table breaks",
                "aws.glue-dataquality",
                "Data Quality Evaluation Results Available",
                {
                    "rulesetNames": [each.ruleset.ref for each in rulesets],
                    # AWS's example of a broken rule has the one, of a threshold the other; either is enough.
                    "$or": [{"state": [{"anything-but": "SUCCEEDED"}]}, {"score": [{"numeric": ["<", 1]}]}],
                },
            ),
        }
        for construct_id, (description, source, kind, detail) in told.items():
            events.Rule(
                self,
                construct_id,
                description=description,
                event_pattern=events.EventPattern(source=[source], detail_type=[kind], detail=detail),
                targets=[targets.SnsTopic(alerts, dead_letter_queue=undelivered)],
            )

    def _spectrum(self, flights: CataloguedTable, database: glue.IDatabase, key: kms.IKey) -> None:
        """What Redshift's CREATE EXTERNAL SCHEMA names: docs/data-catalog.md."""
        role = ServiceRole(self, "SpectrumRole", "redshift")
        read_tables(role, database, flights)
        decrypt(role, key)
        CfnOutput(self, "SpectrumRoleArn", value=role.role_arn)
