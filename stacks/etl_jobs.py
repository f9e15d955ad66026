"""Further Glue jobs on curated flights: features, training rows, segments, duplicates, other formats, fewer files.

Provisions  Glue jobs, started by hand or by the schedules that are set: feature_table, prepare, convert_format,
            kmeans_segment, match_duplicates, compact; the streaming job streaming_window, which is not started; the
            tables of features, segments, duplicates and hourly counts. docs/etl.md says what each is for.
Inputs      a KMS key, the raw, curated and features buckets, the catalogue database, the stream of flights.
Outputs     `features_table`, `segments_table`, `duplicates_table`, `hourly_table`, and the name of each job.
Costs       nothing idle; a run of two G.1X workers is $0.015 a minute; the streaming job, once started, $21 a day.
Copy        this file, components/{base,findings,glue_job,layout,parquet_table,permissions,role}.py,
            contracts, schemas and glue_jobs.
"""

from collections.abc import Mapping
from typing import Any

from aws_cdk import Aws, CfnOutput
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct
from pydantic import Field

from components.base import Deployment, Layer, Options
from components.glue_job import GlueJob, GlueStreamingJob, JobEncryption, start_every
from components.parquet_table import DayPartitionedTable, ParquetTable
from components.permissions import allow, list_objects, read_objects, read_stream, replace_objects
from components.role import ServiceRole
from schemas import flights

FLIGHTS, REFERENCE, STATE = "flights/", "reference/", "_state/"
TRAINING, CONVERTED = "training/", "converted/"  # of the features bucket
SEGMENTS, MATCHES, HOURLY = "segments/", "matches/", "hourly/"  # of the curated bucket
AIRPORTS = "airports/"  # of reference and of matches
CHECKPOINT = "_checkpoints/hourly/"
AVRO_AND_XML = "fastavro==1.13.1,defusedxml==0.7.1"


class JdbcTarget(Options):
    """A Glue JDBC connection whose database is reached without a VPC."""

    connection: str = Field(pattern=r"^[\w.-]+$", description="name of the Glue connection")
    secret_arn: str = Field(
        pattern=r"^arn:aws[a-z-]*:secretsmanager:",
        description="ARN of the secret that it names, encrypted with AWS's own key",
    )


class EtlJobsOptions(Options):
    workers: int = Field(2, ge=2, le=100, description="G.1X workers of each job")
    timeout_minutes: int = Field(60, ge=5, le=480, description="minutes after which a run is stopped")
    window_days: int = Field(7, ge=1, le=60, description="days of past flights that a flight's features are made of")
    features_hours: int | None = Field(
        None, ge=1, le=168, description="hours between runs of feature_table; None: none"
    )
    compact_hours: int | None = Field(None, ge=1, le=168, description="hours between runs of compact; None: none")
    idle_hours: int = Field(24, ge=1, le=720, description="hours without a write after which a day is compacted")
    jdbc: JdbcTarget | None = Field(None, description="the database that segments and matches may go to; None: none")


class EtlJobs(Layer):
    """Curated flights -> features, training rows, segments, matches, other formats; the stream -> hourly counts."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: EtlJobsOptions,
        *,
        key: kms.IKey,
        raw: s3.IBucket,
        curated: s3.IBucket,
        features: s3.IBucket,
        database: glue.IDatabase,
        stream: kinesis.IStream,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: further Glue jobs on curated flights")
        self.options, self.key = options, key
        self.encryption = JobEncryption(self, "Encryption", key=key)
        self._tables(database, curated, features)
        feature_table = self._feature_table(curated, features)
        self._prepare(raw, curated, features)
        self._convert_format(raw, curated, features)
        self._segment(curated)
        self._match(raw, curated)
        compact = self._compact(curated)
        self._count_by_hour(curated, stream)
        for construct_id, hours, job in (
            ("FeaturesSchedule", options.features_hours, feature_table),
            ("CompactionSchedule", options.compact_hours, compact),
        ):
            if hours is not None:
                start_every(
                    self,
                    construct_id,
                    hours=hours,
                    job=job,
                    description=f"Starts {job.node.id}",
                    if_missed="the next run does what this one would have",
                )

    def _tables(self, database: glue.IDatabase, curated: s3.IBucket, features: s3.IBucket) -> None:
        self.features_table = DayPartitionedTable(
            self,
            "FeaturesTable",
            database=database,
            bucket=features,
            prefix=FLIGHTS,
            table_name="flight_features",
            columns=flights.FEATURE_COLUMNS,
            description="What was known of each flight's aircraft, route and hour before it was to depart",
        )
        self.hourly_table = DayPartitionedTable(
            self,
            "HourlyTable",
            database=database,
            bucket=curated,
            prefix=HOURLY,
            table_name="flights_by_hour",
            columns=flights.HOURLY_COLUMNS,
            description="Flights by origin and what became of them, counted by the hour from the stream",
        )
        self.segments_table = ParquetTable(
            self,
            "SegmentsTable",
            database=database,
            bucket=curated,
            prefix=SEGMENTS,
            table_name="flight_segments",
            columns=flights.SEGMENT_COLUMNS,
            description="Airports, aircraft or carriers in segments of like delays",
        )
        self.duplicates_table = ParquetTable(
            self,
            "DuplicatesTable",
            database=database,
            bucket=curated,
            prefix=f"{MATCHES}{AIRPORTS}",
            table_name="airport_duplicates",
            columns=flights.MATCH_COLUMNS,
            description="Airports that are in the reference table twice, under names written differently",
        )

    def _feature_table(self, curated: s3.IBucket, features: s3.IBucket) -> GlueJob:
        role = ServiceRole(self, "FeatureTableRole", "glue")
        read_objects(role, curated, FLIGHTS)
        replace_objects(role, features, FLIGHTS, STATE)
        days = self.options.window_days
        return self._job(
            "feature_table",
            role,
            "What was known of each flight's aircraft, route and hour before it was to depart, by day",
            ["days", "paths", "watermark"],
            {
                "curated_path": curated.s3_url_for_object(FLIGHTS),
                "features_path": features.s3_url_for_object(FLIGHTS),
                # Another window is another table: every day is computed again. So is another formula: count it up.
                "state_path": features.s3_url_for_object(f"{STATE}feature_table_2_{days}_days.json"),
                "window_days": str(days),
            },
        )

    def _prepare(self, raw: s3.IBucket, curated: s3.IBucket, features: s3.IBucket) -> GlueJob:
        role = ServiceRole(self, "PrepareRole", "glue")
        read_objects(role, raw, REFERENCE)
        read_objects(role, curated, FLIGHTS)
        replace_objects(role, features, TRAINING)
        return self._job(
            "prepare",
            role,
            "Curated flights become rows to train with, by the steps of a flow",
            ["paths"],
            {
                "source_path": curated.s3_url_for_object(FLIGHTS),
                "target_path": features.s3_url_for_object(TRAINING),
                "format": "csv",
                "flow": self.to_json_string(training_flow(raw.s3_url_for_object(f"{REFERENCE}{AIRPORTS}"))),
            },
        )

    def _convert_format(self, raw: s3.IBucket, curated: s3.IBucket, features: s3.IBucket) -> GlueJob:
        role = ServiceRole(self, "ConvertFormatRole", "glue")
        read_objects(role, raw, FLIGHTS, REFERENCE)
        read_objects(role, curated, FLIGHTS)
        replace_objects(role, features, CONVERTED)
        return self._job(
            "convert_format",
            role,
            "A flat table in CSV, JSON, Avro, Parquet, ORC or XML becomes any other of them",
            ["codecs", "paths"],
            {
                "source_path": curated.s3_url_for_object(FLIGHTS),
                "source_format": "parquet",
                "target_path": features.s3_url_for_object(f"{CONVERTED}flights/"),
                "target_format": "csv",
                "additional-python-modules": AVRO_AND_XML,
            },
        )

    def _segment(self, curated: s3.IBucket) -> GlueJob:
        role = ServiceRole(self, "KmeansSegmentRole", "glue")
        read_objects(role, curated, FLIGHTS)
        replace_objects(role, curated, SEGMENTS)
        return self._job(
            "kmeans_segment",
            role,
            "Airports, aircraft or carriers in segments of like delays",
            self._sinks(role, self.segments_table),
            {
                "curated_path": curated.s3_url_for_object(FLIGHTS),
                "target": _catalogued(self.segments_table),
                "subject": "dest",
                "segments": "0",
                "least_flights": "100",
                "seed": "2013",
            },
        )

    def _match(self, raw: s3.IBucket, curated: s3.IBucket) -> GlueJob:
        role = ServiceRole(self, "MatchDuplicatesRole", "glue")
        read_objects(role, raw, REFERENCE)
        replace_objects(role, curated, MATCHES)
        return self._job(
            "match_duplicates",
            role,
            "Rows of a reference table that mean the same under names written differently",
            self._sinks(role, self.duplicates_table),
            {
                "source_path": raw.s3_url_for_object(f"{REFERENCE}{AIRPORTS}"),
                "target": _catalogued(self.duplicates_table),
                "id": "faa",
                "name": "name",
                "threshold": "0.85",
            },
        )

    def _compact(self, curated: s3.IBucket) -> GlueJob:
        role = ServiceRole(self, "CompactRole", "glue")
        replace_objects(role, curated, HOURLY)
        list_objects(role, curated, f"{CHECKPOINT}commits/")
        return self._job(
            "compact",
            role,
            "The small Parquet files of each day become one, where nobody has written for some hours",
            ["days", "paths"],
            {
                "path": curated.s3_url_for_object(HOURLY),
                "checkpoint_path": curated.s3_url_for_object(CHECKPOINT),
                "idle_hours": str(self.options.idle_hours),
            },
        )

    def _count_by_hour(self, curated: s3.IBucket, stream: kinesis.IStream) -> None:
        role = ServiceRole(self, "StreamingWindowRole", "glue")
        replace_objects(role, curated, HOURLY, CHECKPOINT)
        read_stream(role, stream)
        job = GlueStreamingJob(
            self,
            "StreamingWindow",
            script="streaming_window",
            description="Flights by origin and what became of them, counted by the hour as they arrive",
            role=role,
            key=self.key,
            encryption=self.encryption,
            workers=self.options.workers,
            timeout_minutes=7 * 24 * 60 - 1,  # a streaming job's must be less than seven days
            arguments={
                "stream_arn": stream.stream_arn,
                "target_path": curated.s3_url_for_object(HOURLY),
                "checkpoint_path": curated.s3_url_for_object(CHECKPOINT),
                "late_hours": "2",
                "batch_seconds": "60",
            },
        )
        CfnOutput(self, "StreamingWindowJobName", value=job.job_name)

    def _job(
        self, script: str, role: ServiceRole, description: str, imports: list[str], arguments: Mapping[str, str]
    ) -> GlueJob:
        name = script.title().replace("_", "")
        job = GlueJob(
            self,
            name,
            script=script,
            description=description,
            role=role,
            key=self.key,
            encryption=self.encryption,
            workers=self.options.workers,
            timeout_minutes=self.options.timeout_minutes,
            imports=imports,
            arguments=arguments,
        )
        CfnOutput(self, f"{name}JobName", value=job.job_name)
        return job

    def _sinks(self, role: ServiceRole, table: ParquetTable) -> list[str]:
        """Let a job find its table of the catalogue, and a database if there is one; returns the modules for it."""
        catalogue = f"arn:{Aws.PARTITION}:glue:{Aws.REGION}:{Aws.ACCOUNT_ID}"
        allow(role, ["glue:GetTable"], f"{catalogue}:catalog", table.database.database_arn, table.table_arn)
        if jdbc := self.options.jdbc:
            allow(role, ["glue:GetConnection"], f"{catalogue}:catalog", f"{catalogue}:connection/{jdbc.connection}")
            allow(role, ["secretsmanager:GetSecretValue"], jdbc.secret_arn)
        return ["sinks", "jdbc"] if jdbc else ["sinks"]


def _catalogued(table: ParquetTable) -> str:
    """A table as a target of glue_jobs/sinks.py."""
    return f"catalog://{table.database.database_name}/{table.table_name}"


def training_flow(airports: str) -> list[dict[str, Any]]:
    """The steps of glue_jobs/prepare.py from curated flights to the rows of a classifier of late arrivals.

    `airports` is the folder of the reference table. Nothing that is known only after departure stays.
    """
    after_departure = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]
    return [
        {"filter": "arr_delay IS NOT NULL"},
        {"map": {"late": "int(arr_delay > 15)", "weekday": "dayofweek(to_date(left(time_hour, 10)))"}},
        {"join": {"path": airports, "on": {"dest": "faa"}, "columns": {"name": "dest_name"}}},
        {"one_hot": {"origin": ["EWR", "JFK", "LGA"]}},
        {"drop_fields": after_departure},
        {"drop_null_fields": ["event_id", "late"]},
    ]
