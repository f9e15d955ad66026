"""Stream scoring: each checked flight gets the model's probability of a late arrival, in a table, as it comes.

    departures stream -> Lambda -> endpoint
                               \\-> table of scores

Provisions  a Lambda function that reads the stream and asks the endpoint in batches, with a queue for what it can't
            score; a DynamoDB table with one item a flight; an encrypted topic and alarms.
Inputs      a KMS key, a stream of departures as flink_jobs/delays writes them, the endpoint's name.
Outputs     `table`, `function`.
Costs       idle $0.20 a month for two alarms. In use $0.63 a million flights for the table, the endpoint's time (about
            0.1 s a hundred flights) and Lambda's.
Copy        this file, components/{alerts,base,dead_letters,expiring_table,findings,function,log_group,permissions,
            role,stream_consumer}.py, lambda/stream_scorer and build/vendored/stream_scorer.
"""

from aws_cdk import Aws, CfnOutput, Duration
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from constructs import Construct
from pydantic import Field

from components.alerts import Alerts, Email
from components.base import Deployment, Layer, Options
from components.dead_letters import DeadLetters
from components.expiring_table import ExpiringTable
from components.function import Function
from components.permissions import allow
from components.stream_consumer import StreamConsumer

TIMEOUT = Duration.minutes(3)  # the function may wait for the endpoint twice, 70 seconds each


class StreamScoringOptions(Options):
    keep_days: int = Field(7, ge=1, le=3650, description="days that a flight's score is kept")
    batch_size: int = Field(100, ge=1, le=500, description="flights that the endpoint is asked about at once")
    window_seconds: int = Field(1, ge=1, le=300, description="seconds that a batch waits for more flights")
    retry_attempts: int = Field(10, ge=0, le=10_000, description="how often a batch that failed is tried again")
    max_age_minutes: int = Field(
        60, ge=1, le=1200, description="age of flights that are given up; the stream has them for 1,440 minutes"
    )
    late_seconds: int = Field(300, ge=1, description="how far behind the stream scores may be before people hear")
    alert_email: Email | None = Field(None, description="who is told when it is stuck")


class StreamScoring(Layer):
    """Departures stream -> endpoint -> scores."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: StreamScoringOptions,
        *,
        key: kms.IKey,
        stream: kinesis.IStream,
        endpoint_name: str,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: flights scored as they come")
        self.table = ExpiringTable(self, "Scores", deployment, key=key, item_key="event_id")
        self.function = Function(
            self,
            "Score",
            deployment,
            folder="stream_scorer",
            key=key,
            failures_reach="a queue, by its event source mapping",
            description="Asks the endpoint about each flight and keeps what it answers",
            timeout=TIMEOUT,
            environment={
                "ENDPOINT_NAME": endpoint_name,
                "TABLE_NAME": self.table.table_name,
                "KEEP_DAYS": str(options.keep_days),
                "POWERTOOLS_SERVICE_NAME": construct_id,
            },
        )
        allow(self.function.permissions, ["dynamodb:BatchWriteItem"], self.table.table_arn)
        allow(
            self.function.permissions,
            ["sagemaker:InvokeEndpoint"],
            f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}:endpoint/{endpoint_name}",
        )
        mapping = StreamConsumer(
            self,
            "Departures",
            self.function,
            stream=stream,
            key=key,
            failures=DeadLetters(self, "Unscored", deployment, key=key),
            batch_size=options.batch_size,
            window=Duration.seconds(options.window_seconds),
            retry_attempts=options.retry_attempts,
            max_age=Duration.minutes(options.max_age_minutes),
        )
        self._watch(options, key, mapping)
        CfnOutput(self, "ScoresTableName", value=self.table.table_name)

    def _watch(self, options: StreamScoringOptions, key: kms.IKey, mapping: StreamConsumer) -> None:
        alerts = Alerts(self, "Alerts", key=key, email=options.alert_email)
        alerts.alarm(
            "Late",
            self.function.metric("IteratorAge", statistic="Maximum", period=Duration.minutes(5)),
            "Scores are behind the stream: the endpoint fails or is throttled, the function's log says which",
            threshold=options.late_seconds * 1000,  # the metric is in milliseconds
        )
        alerts.alarm(
            "GivenUp",
            mapping.metric_dead_letters(),
            "Flights without a score: the queue Unscored says where in the stream they are, the log why",
        )
