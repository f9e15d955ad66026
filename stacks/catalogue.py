"""Catalogue: what is known about the data: found schemas, schema versions, layouts, and whether the rules hold.

Provisions  crawlers over raw and quarantine, which log changed schemas and apply none; one that registers partitions of
            the stacks' tables; the nightly workflow that runs them and the jobs in order; hourly weather by date first
            and by station first, with the job that writes both; a schema registry; rules of data quality with their
            schedule; notices of what fails. If asked for: a crawler of a relational database, DataBrew's tools, a role
            for Redshift Spectrum.
Inputs      a KMS key, the raw, quarantine and curated buckets, the catalogue database, the tables of curated flights
            and raw weather, the name of the job that curates flights, a topic for people.
Outputs     `by_date`, `by_station`, `workflow`.
Costs       nothing without schedules. A crawl is billed for ten minutes at least, $0.07 a DPU; the job about $0.02 a
            minute; an evaluation of two workers about $0.02 a minute. The registry is free.
Copy        this file, components/{base,crawler,data_preparation,data_quality,dead_letters,findings,glue_job,
            parquet_table,permissions,role}.py, schemas and glue_jobs.
"""

from aws_cdk import CfnOutput
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct
from pydantic import Field

from components.base import Deployment, Layer, Options
from components.crawler import Crawler, DatabaseCrawler, FolderCrawler, PartitionCrawler
from components.data_preparation import DataPreparation
from components.data_quality import CataloguedTable, DataQuality
from components.dead_letters import DeadLetters
from components.glue_job import GlueJob, JobEncryption
from components.parquet_table import ProjectedTable
from components.permissions import allow, decrypt, read_objects, replace_objects
from components.role import ServiceRole
from schemas import avro, weather
from schemas.layout import BY_DATE, BY_STATION
from schemas.quality import rules

FLIGHTS, WEATHER = "flights/", "weather/"
REFERENCE, SOURCE = "reference/", "source/"
PREPARED = "prepared/flights/"
EVENTS = ("flights", "weather")  # with a schema in the registry
_CRON = r"^cron\(([^ ]+ ){5}[^ ]+\)$"


class RelationalDatabase(Options):
    connection: str = Field(min_length=1, description="name of a Glue connection that is there already")
    path: str = Field(min_length=1, description="what to crawl, such as database/schema/%")
    secret_arn: str | None = Field(None, pattern=r"^arn:", description="ARN of the secret that the connection names")


class CatalogueOptions(Options):
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
    relational_database: RelationalDatabase | None = Field(None, description="a database to crawl too, on demand")
    data_brew: bool = Field(False, description="tools for people to clean flights by hand; each use is charged")
    redshift_spectrum: bool = Field(False, description="a role with which Redshift reads curated flights")


class Catalogue(Layer):
    """Crawlers -> nightly workflow -> layouts; schema versions; rules and who is told when they are broken."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: CatalogueOptions,
        *,
        key: kms.IKey,
        raw: s3.IBucket,
        quarantine: s3.IBucket,
        curated: s3.IBucket,
        database: glue.IDatabase,
        flights_table: glue.ITable,
        weather_table: glue.ITable,
        curate_job: str,
        alerts: sns.ITopic,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: schemas, layouts and rules of the lake's tables")
        self.key, self.database, self.encryption = key, database, JobEncryption(self, "Encryption", key=key)
        flights = CataloguedTable(flights_table, curated, FLIGHTS)
        observed = CataloguedTable(weather_table, raw, WEATHER)

        found = self._crawlers(raw, quarantine)
        partitions = PartitionCrawler(
            self,
            "TablePartitions",
            description="Registers the partitions of flights and weather for what does not project them",
            tables=[flights, observed],
            **self._common(),
        )
        if (relational := options.relational_database) is not None:
            found["Relational"] = DatabaseCrawler(
                self,
                "Relational",
                description="Tables of a relational database",
                prefix="relational_",
                connection=relational.connection,
                path=relational.path,
                secret_arn=relational.secret_arn,
                **self._common(),
            )
        self.by_date, self.by_station = self._layouts(options, curated)
        layouts_job = self._layouts_job(options, raw, curated)
        self.workflow = self._nightly(options, found, partitions, curate_job, layouts_job)
        self._registry()
        rulesets = [
            self._quality(options, "flights", flights, {"weather": observed}),
            self._quality(options, "weather", observed, {}),
        ]
        self._tell_of_failures(alerts, [*found.values(), partitions], layouts_job, rulesets)
