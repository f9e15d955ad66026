"""Flight state: a second consumer of the flights stream keeps what is known of every flight in a table, as it comes.

Provisions  a DynamoDB table with one item a flight, encrypted, recoverable to any second, old items removed; a Lambda
            function that reads the stream and writes it; alarms, and an encrypted topic that they publish to.
Inputs      a KMS key, the flights stream, the quarantine bucket for what could not be processed.
Outputs     `table`, `function`.
Costs       idle $0.30 a month for three alarms. In use $1.25 a million events (two write units each, in transactions),
            $1.50 a month for the function's five metrics, $0.45 a month for a gigabyte stored with its recovery
            (2 million flights), and Lambda by use.
Copy        this file, components/{alerts,base,dead_letters,expiring_table,findings,function,log_group,permissions,
            role,stream_consumer}.py, contracts, lambda/flight_state and build/vendored/flight_state.
"""

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from constructs import Construct
from pydantic import Field

from components.alerts import Alerts, Email
from components.base import Deployment, Layer, Options
from components.expiring_table import ExpiringTable
from components.function import Function
from components.permissions import allow
from components.stream_consumer import StreamConsumer

METRIC_NAMESPACE = "Millrace/FlightState"


class FlightStateOptions(Options):
    keep_days: int = Field(30, ge=1, le=3650, description="days that a flight's state is kept after its last event")
    batch_size: int = Field(500, ge=1, le=10_000, description="records that the function is given at most at once")
    window_seconds: int = Field(5, ge=1, le=300, description="seconds that a batch waits for more records")
    parallel_batches: int = Field(1, ge=1, le=10, description="batches of a shard at once, each of its own aircraft")
    # A table that throttles needs minutes; one bad record, which is alone by then, holds its shard as long.
    retry_attempts: int = Field(20, ge=0, le=10_000, description="how often a failed batch is tried again")
    max_age_hours: int = Field(
        20, ge=1, le=168, description="age of records that are given up; less than streaming.flights.retention_hours"
    )
    late_seconds: int = Field(300, ge=1, description="how far behind the stream the table may be before people hear")
    alert_email: Email | None = Field(None, description="who is told when it is stuck")


class FlightState(Layer):
    """Flights stream -> function -> table, and what it can't process into quarantine."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: FlightStateOptions,
        *,
        key: kms.IKey,
        stream: kinesis.IStream,
        quarantine: s3.IBucket,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: the state of every flight, as events come")
        self.table = ExpiringTable(self, "Flights", deployment, key=key, item_key="event_id")
        self.function = Function(
            self,
            "Update",
            deployment,
            folder="flight_state",
            shared=["contracts"],
            key=key,
            failures_reach="the quarantine bucket, by its event source mapping",
            description="Writes what flight events say of their flights, unless something newer is known",
            timeout=Duration.minutes(1),
            memory_mb=512,
            environment={
                "TABLE_NAME": self.table.table_name,
                "KEEP_DAYS": str(options.keep_days),
                "POWERTOOLS_SERVICE_NAME": construct_id,
                "POWERTOOLS_METRICS_NAMESPACE": METRIC_NAMESPACE,
            },
        )
        allow(self.function.permissions, ["dynamodb:PutItem"], self.table.table_arn)
        mapping = StreamConsumer(
            self,
            "Events",
            self.function,
            stream=stream,
            key=key,
            failures=quarantine,
            start=lambda_.StartingPosition.TRIM_HORIZON,  # what came before the mapping was ready counts too
            batch_size=options.batch_size,
            window=Duration.seconds(options.window_seconds),
            parallel_batches=options.parallel_batches,
            retry_attempts=options.retry_attempts,
            max_age=Duration.hours(options.max_age_hours),
        )
        self._watch(options, key, mapping)
        CfnOutput(self, "FlightStateTableName", value=self.table.table_name)

    def _watch(self, options: FlightStateOptions, key: kms.IKey, mapping: StreamConsumer) -> None:
        alerts = Alerts(self, "Alerts", key=key, email=options.alert_email)
        alerts.alarm(
            "Late",
            self.function.metric("IteratorAge", statistic="Maximum", period=Duration.minutes(5)),
            "The table is behind the stream: the function fails, is throttled, or needs more parallel batches",
            threshold=options.late_seconds * 1000,  # the metric is in milliseconds
        )
        alerts.alarm(
            "Errors",
            self.function.metric_errors(period=Duration.minutes(5)),
            "Batches fail whole, and go on failing when they are tried again: the function's log says why",
            periods=3,
        )
        alerts.alarm(
            "DeadLetters",
            mapping.metric_dead_letters(),
            "Records were given up: they are under aws/lambda/ in the quarantine bucket, to be sent again",
        )
