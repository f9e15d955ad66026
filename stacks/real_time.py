"""Real time: flights checked as they come; delays per airport and minute, scored; and people told of the anomalies.

    flights stream -> Flink -> departures stream: checked flights, for stacks/stream_scoring.py
                            -> delays stream: one-minute windows and their anomaly scores, also for delay_delivery.py
                                  -> Lambda -> topic for people and queues, figures in CloudWatch

Provisions  a Managed Flink application and the build of its package; a consumer of the flights for it, if it reads
            beside others; the two streams that it writes; a Lambda function that reads the delays, with a queue for
            what it can't and a DynamoDB table of what people were told; an encrypted topic and an alarm.
Inputs      a KMS key, the flights stream, a bucket for the package, the raw bucket with the airports' names.
Outputs     `delays`, `departures`, `application`, `alerts`.
Costs       each stream's shard $0.36 a day; the alarm $0.10 a month. CloudFormation does not start the application:
            `make flink-start` does, and then it costs $0.11 an hour for each KPU and for one more, $5 a day with one;
            `make flink-stop` ends that. While it runs, CloudWatch's figures cost $0.90 a month and airport. The table
            costs $1.25 a million anomalies. Fan-out: $0.05 a GB of an on-demand flights stream instead of $0.04; of a
            provisioned one $0.013 a GB and, whether the job runs or not, $0.36 a day and shard.
Copy        this file, components/{alerts,aws_build,base,dead_letters,expiring_table,findings,flink_application,
            flink_package,function,log_group,permissions,role,stream,stream_consumer}.py, flink_jobs/delays, contracts,
            lambda/custom_resources, lambda/delays_postprocess and build/vendored/delays_postprocess.
"""

import math
from typing import Annotated, Literal

from aws_cdk import Aws, CfnOutput, Duration
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct
from pydantic import AwareDatetime, Field

from components.alerts import Alerts, Email
from components.base import Deployment, Layer, Options
from components.dead_letters import DeadLetters
from components.expiring_table import ExpiringTable
from components.findings import explain
from components.flink_application import FlinkApplication
from components.flink_package import FlinkPackage
from components.function import Function
from components.permissions import allow, read_objects
from components.role import ServiceRole
from components.stream import DataStream
from components.stream_consumer import StreamConsumer

METRIC_NAMESPACE = "Millrace/Delays"
PACKAGES_PREFIX = "packages/flink/"
AIRPORTS_PREFIX = "reference/airports/"  # in the raw bucket, where the producer puts the tables of reference


class RealTimeOptions(Options):
    mode: Literal["provisioned", "on-demand"] = Field("provisioned", description="how the two streams are billed")
    shards: int = Field(1, ge=1, le=200, description="shards of a provisioned delays stream")
    departures_shards: int = Field(
        1,
        ge=1,
        le=200,
        description="shards of a provisioned departures stream: it has every flight, so as the flights'",
    )
    parallelism: int = Field(1, ge=1, le=256, description="tasks of the Flink job that run at once")
    parallelism_per_kpu: int = Field(1, ge=1, le=8, description="of them, how many share a KPU (1 vCPU, 4 GB)")
    auto_scaling: bool = Field(True, description="let the service raise the parallelism when processors are busy")
    reader: Literal["polling", "fan-out"] = Field(
        "polling",
        description="how the job reads the flights: in turns with a shard's other readers, or with 2 MB/s of its own",
    )
    start_at: Literal["LATEST", "TRIM_HORIZON"] | AwareDatetime = Field(
        "LATEST", description="where a job without a snapshot starts: also at a time as 2026-11-28T15:45:00Z"
    )
    lateness_seconds: int = Field(
        60,
        ge=0,
        le=2_592_000,
        description="seconds of flights' time a window waits for the late; a replay through several shards needs days",
    )
    idle_seconds: int = Field(60, ge=1, le=3600, description="seconds after which a shard at rest is not waited for")
    warm_up_windows: int = Field(128, ge=32, le=1000, description="minutes with departures before an airport's scores")
    memory_windows: int = Field(512, ge=256, le=4096, description="minutes that a restarted job learns from again")
    anomaly_score: float = Field(1.5, gt=0, description="score from which people are told; about 1 is usual")
    seed: int = Field(2013, ge=0, description="of the random cuts")
    alert_email: Email | None = Field(None, description="who is told of an anomaly")
    told_days: int = Field(
        1,
        ge=1,
        le=365,
        description="days in which people are told once of an airport's minute; the stream has it for one",
    )
    alert_queues: tuple[Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:sqs:[a-z0-9-]+:\d{12}:[\w-]{1,80}$")], ...] = (
        Field(
            (), description="ARNs of queues that get anomalies as JSON; policy and key of each must let the topic send"
        )
    )
    connector_sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="digest the Kinesis connector must have; the build's log shows it"
    )

    @property
    def kpus(self) -> int:
        """KPUs billed while the job runs: one orchestrates (https://aws.amazon.com/managed-service-apache-flink/pricing)."""
        return math.ceil(self.parallelism / self.parallelism_per_kpu) + 1

    @property
    def start(self) -> dict[str, str]:
        """`start_at` as the source's connector reads it."""
        if isinstance(self.start_at, str):
            return {"source.init.position": self.start_at}
        at = self.start_at.isoformat(timespec="milliseconds")
        return {"source.init.position": "AT_TIMESTAMP", "source.init.timestamp": at}

    @property
    def job(self) -> dict[str, str]:
        """The job's own properties, as flink_jobs/delays/main.py reads them."""
        return {
            "lateness.seconds": str(self.lateness_seconds),
            "idle.seconds": str(self.idle_seconds),
            "forest.seed": str(self.seed),
            "forest.warm_up": str(self.warm_up_windows),
            "forest.memory": str(self.memory_windows),
            "anomaly.threshold": str(self.anomaly_score),
        }


class RealTime(Layer):
    """Flights stream -> Flink -> departures stream, and delays stream -> people."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: RealTimeOptions,
        *,
        key: kms.IKey,
        stream: kinesis.IStream,
        packages: s3.IBucket,
        raw: s3.IBucket,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: delays scored in real time, and alerts")
        self.departures, self.delays = (
            DataStream(self, name, deployment, key=key, mode=options.mode, shards=shards)
            for name, shards in (("Departures", options.departures_shards), ("Delays", options.shards))
        )
        self.application = self._job(options, key, stream, packages)
        self.alerts = Alerts(self, "DelayAlerts", key=key, email=options.alert_email)
        for number, queue in enumerate(options.alert_queues):
            self._subscribe(f"AlertQueue{number}", queue)
        self._postprocess(options, key, raw)
        CfnOutput(self, "FlinkApplicationName", value=self.application.ref)
        CfnOutput(self, "DeparturesStreamName", value=self.departures.stream_name)
        CfnOutput(self, "DelaysStreamName", value=self.delays.stream_name)
        CfnOutput(self, "DelayAlertTopicArn", value=self.alerts.topic_arn)

    def _job(
        self, options: RealTimeOptions, key: kms.IKey, flights: kinesis.IStream, packages: s3.IBucket
    ) -> FlinkApplication:
        package = FlinkPackage(
            self,
            "Package",
            self.deployment,
            folder="flink_jobs/delays",
            shared=["contracts"],
            key=key,
            bucket=packages,
            prefix=PACKAGES_PREFIX,
            connector_sha256=options.connector_sha256,
        )
        role = ServiceRole(self, "JobRole", "kinesisanalytics")
        properties = {
            "source": self._source(options, role, flights),
            "departures": _sink(role, self.departures),
            "metrics": _sink(role, self.delays),
            # Counted in CloudWatch by reason; the transform of the streaming stack keeps them in quarantine.
            "rejected": {"connector": "blackhole"},
            "job": options.job,
        }
        return FlinkApplication(
            self,
            "Application",
            self.deployment,
            package=package,
            role=role,
            key=key,
            description=f"Flights checked, delays scored; bills {options.kpus} KPUs while it runs",
            properties=properties,
            parallelism=options.parallelism,
            parallelism_per_kpu=options.parallelism_per_kpu,
            auto_scaling=options.auto_scaling,
        )

    def _source(self, options: RealTimeOptions, role: ServiceRole, stream: kinesis.IStream) -> dict[str, str]:
        """The options of a table that reads `stream`; the role may do what its connector calls then.

        https://nightlies.apache.org/flink/flink-docs-release-2.2/docs/connectors/datastream/kinesis
        """
        allow(role, ["kinesis:DescribeStreamSummary", "kinesis:ListShards"], stream.stream_arn)
        table = {**_table(stream), "format": "raw", **options.start}
        if options.reader == "polling":
            allow(role, ["kinesis:GetRecords", "kinesis:GetShardIterator"], stream.stream_arn)
            # Five reads a second of a shard are for all of its readers, and the connector takes four of an empty one.
            # https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
            return {**table, "source.reader.empty-records-fetch-interval": "1 s"}
        # The stack's, since a job with its own would have to be allowed to delete it, and leave it behind in a crash.
        name = f"{self.deployment.prefix}-delays"
        consumer = kinesis.StreamConsumer(self, "FlightsReader", stream=stream, stream_consumer_name=name)
        # The connector looks it up by its name, for which IAM asks about an ARN without the time of its registration:
        # https://github.com/aws/aws-cdk/issues/22184
        by_name = f"{stream.stream_arn}/consumer/{name}"
        allow(role, ["kinesis:DescribeStreamConsumer"], by_name, consumer.stream_consumer_arn)
        allow(role, ["kinesis:SubscribeToShard"], consumer.stream_consumer_arn)
        consumer_options = {"source.efo.consumer.name": name, "source.efo.lifecycle": "SELF_MANAGED"}
        return {**table, "source.reader.type": "EFO", **consumer_options}

    def _subscribe(self, construct_id: str, queue_arn: str) -> None:
        subscription = sns.Subscription(
            self, construct_id, topic=self.alerts, protocol=sns.SubscriptionProtocol.SQS, endpoint=queue_arn
        )
        # https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
        explain(
            subscription, "SNSRedrivePolicy", "SNS tries for 23 days to reach a queue, longer than one keeps anything"
        )

    def _postprocess(self, options: RealTimeOptions, key: kms.IKey, raw: s3.IBucket) -> None:
        told = ExpiringTable(self, "Told", self.deployment, key=key, item_key="id")
        postprocess = Function(
            self,
            "Postprocess",
            self.deployment,
            folder="delays_postprocess",
            key=key,
            failures_reach="a queue, by its event source mapping",
            description="Publishes the anomalies among the delays, and figures of every airport",
            timeout=Duration.minutes(1),
            environment={
                "TOPIC_ARN": self.alerts.topic_arn,
                "TOLD_TABLE_NAME": told.table_name,
                "TOLD_DAYS": str(options.told_days),
                "REFERENCE_BUCKET": raw.bucket_name,
                "AIRPORTS_PREFIX": AIRPORTS_PREFIX,
                "DEPLOYMENT": self.deployment.prefix,
                "POWERTOOLS_SERVICE_NAME": self.node.id,
                "POWERTOOLS_METRICS_NAMESPACE": METRIC_NAMESPACE,
            },
        )
        read_objects(postprocess.permissions, raw, AIRPORTS_PREFIX)
        allow(postprocess.permissions, ["sns:Publish"], self.alerts.topic_arn)
        writes = ["dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
        allow(postprocess.permissions, writes, told.table_arn)
        mapping = StreamConsumer(
            self,
            "DelaysRead",
            postprocess,
            stream=self.delays,
            key=key,
            failures=DeadLetters(self, "UnreadDelays", self.deployment, key=key),
            batch_size=100,
            window=Duration.seconds(5),
            retry_attempts=10,
            max_age=Duration.hours(1),
        )
        self.alerts.alarm(
            "DelaysGivenUp",
            mapping.metric_dead_letters(),
            "Delays that nobody heard of: the queue UnreadDelays says where in the stream they are, the log why",
        )


def _sink(role: ServiceRole, stream: kinesis.IStream) -> dict[str, str]:
    """The options of a table that writes lines of JSON to `stream`, which the role may."""
    allow(role, ["kinesis:PutRecords"], stream.stream_arn)
    return {**_table(stream), "format": "json"}


def _table(stream: kinesis.IStream) -> dict[str, str]:
    return {"connector": "kinesis", "aws.region": Aws.REGION, "stream.arn": stream.stream_arn}
