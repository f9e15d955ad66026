"""Real time: flights checked as they come; delays per airport and minute, scored; and people told of the anomalies.

    flights stream -> Flink -> departures stream: checked flights, for stacks/stream_scoring.py
                            -> delays stream: one-minute windows and their anomaly scores, also for delay_delivery.py
                                  -> Lambda -> topic for people and queues, figures in CloudWatch

Provisions  a Managed Flink application and the build of its package; the two streams that it writes; a Lambda function
            that reads the delays, with a queue for what it can't; an encrypted topic and an alarm.
Inputs      a KMS key, the flights stream, a bucket for the package, the raw bucket with the airports' names.
Outputs     `delays`, `departures`, `application`, `alerts`.
Costs       each stream's shard $0.36 a day; the alarm $0.10 a month. CloudFormation does not start the application:
            `make flink-start` does, and then it costs $0.11 an hour for each KPU and for one more, $5 a day with one;
            `make flink-stop` ends that. While it runs, CloudWatch's figures cost $0.90 a month and airport.
Copy        this file, components/{alerts,aws_build,base,dead_letters,findings,flink_package,function,log_group,
            permissions,role,stream,stream_consumer}.py, flink_jobs/delays, lambda/custom_resources and
            lambda/delays_postprocess.
"""

import math
from typing import Annotated, Literal

from aws_cdk import ArnFormat, Aws, CfnOutput, Duration
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kinesisanalyticsv2 as flink
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct
from pydantic import Field

from components.alerts import Alerts
from components.base import Deployment, Layer, Options
from components.dead_letters import DeadLetters
from components.findings import explain
from components.flink_package import CONNECTOR, ENTRY, MODULES, FlinkPackage
from components.function import Function
from components.log_group import LogGroup
from components.permissions import allow, allow_any_of, read_objects, read_stream, use_key
from components.role import ServiceRole
from components.stream import DataStream
from components.stream_consumer import StreamConsumer

RUNTIME = "FLINK-2_2"
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
    start_at: Literal["LATEST", "TRIM_HORIZON"] = Field("LATEST", description="where a job without a snapshot starts")
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
    alert_email: str | None = Field(None, pattern=r"^[^@\s]+@[^@\s]+$", description="who is told of an anomaly")
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
        package = FlinkPackage(
            self,
            "Package",
            deployment,
            folder="flink_jobs/delays",
            key=key,
            bucket=packages,
            prefix=PACKAGES_PREFIX,
            connector_sha256=options.connector_sha256,
        )
        self.application = self._application(options, key, stream, packages, package)
        self.alerts = Alerts(self, "DelayAlerts", key=key, email=options.alert_email)
        for number, queue in enumerate(options.alert_queues):
            self._subscribe(f"AlertQueue{number}", queue)
        self._postprocess(key, raw)
        CfnOutput(self, "FlinkApplicationName", value=self.application.ref)
        CfnOutput(self, "DeparturesStreamName", value=self.departures.stream_name)
        CfnOutput(self, "DelaysStreamName", value=self.delays.stream_name)
        CfnOutput(self, "DelayAlertTopicArn", value=self.alerts.topic_arn)

    def _application(
        self,
        options: RealTimeOptions,
        key: kms.IKey,
        source: kinesis.IStream,
        packages: s3.IBucket,
        package: FlinkPackage,
    ) -> flink.CfnApplication:
        log_group = LogGroup(self, "JobLogs", self.deployment, key=key)
        log_stream = logs.LogStream(self, "JobLog", log_group=log_group, removal_policy=self.deployment.removal_policy)
        role = self._role(key, source, packages, log_group)
        part = flink.CfnApplication
        code = part.S3ContentLocationProperty(bucket_arn=packages.bucket_arn, file_key=package.key_in_bucket)
        application = flink.CfnApplication(
            self,
            "Application",
            application_description=f"Flights checked, delays scored; bills {options.kpus} KPUs while it runs",
            runtime_environment=RUNTIME,
            service_execution_role=role.role_arn,
            application_configuration=part.ApplicationConfigurationProperty(
                application_code_configuration=part.ApplicationCodeConfigurationProperty(
                    code_content=part.CodeContentProperty(s3_content_location=code), code_content_type="ZIPFILE"
                ),
                application_snapshot_configuration=part.ApplicationSnapshotConfigurationProperty(
                    snapshots_enabled=True
                ),
                environment_properties=part.EnvironmentPropertiesProperty(
                    property_groups=[
                        part.PropertyGroupProperty(property_group_id=group, property_map=entries)
                        for group, entries in self._properties(options, source).items()
                    ]
                ),
                flink_application_configuration=_flink_settings(options),
            ),
        )
        application.node.add_dependency(role, package)
        flink.CfnApplicationCloudWatchLoggingOption(
            self,
            "JobLogging",
            application_name=application.ref,
            cloud_watch_logging_option=flink.CfnApplicationCloudWatchLoggingOption.CloudWatchLoggingOptionProperty(
                log_stream_arn=self.format_arn(
                    service="logs",
                    resource="log-group",
                    resource_name=f"{log_group.log_group_name}:log-stream:{log_stream.log_stream_name}",
                    arn_format=ArnFormat.COLON_RESOURCE_NAME,
                )
            ),
        )
        return application

    def _properties(self, options: RealTimeOptions, source: kinesis.IStream) -> dict[str, dict[str, str]]:
        """The property groups: where the package's parts are, the options of the job's tables, and its own."""
        kinesis = {"connector": "kinesis", "aws.region": Aws.REGION}
        # Five reads a second of a shard are for all of its readers, and the connector takes four of an empty one.
        # https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
        pause = {"source.reader.empty-records-fetch-interval": "1 s"}
        reads = {"source.init.position": options.start_at, "format": "raw", **pause}
        return {
            "kinesis.analytics.flink.run.options": {"python": ENTRY, "jarfile": CONNECTOR, "pyFiles": MODULES},
            "source": {**kinesis, "stream.arn": source.stream_arn, **reads},
            "departures": {**kinesis, "stream.arn": self.departures.stream_arn, "format": "json"},
            "metrics": {**kinesis, "stream.arn": self.delays.stream_arn, "format": "json"},
            # Counted in CloudWatch by reason; the transform of the streaming stack keeps them in quarantine.
            "rejected": {"connector": "blackhole"},
            "job": options.job,
        }

    def _role(self, key: kms.IKey, source: kinesis.IStream, packages: s3.IBucket, log_group: LogGroup) -> ServiceRole:
        """What the connector asks of Kinesis, and the service of S3 and CloudWatch Logs.

        https://docs.aws.amazon.com/managed-flink/latest/java/get-started-exercise.html
        """
        role = ServiceRole(self, "JobRole", "kinesisanalytics")
        read_stream(role, source, "kinesis:DescribeStreamSummary")
        allow(
            role,
            ["kinesis:DescribeStream", "kinesis:DescribeStreamSummary", "kinesis:PutRecords"],
            self.departures.stream_arn,
            self.delays.stream_arn,
        )
        read_objects(role, packages, PACKAGES_PREFIX)
        use_key(role, key)
        allow(role, ["logs:DescribeLogStreams", "logs:PutLogEvents"], log_group.log_group_arn)
        allow_any_of(
            role,
            "the service looks its group up among the account's",
            ["logs:DescribeLogGroups"],
            self.format_arn(
                service="logs", resource="log-group", resource_name="*", arn_format=ArnFormat.COLON_RESOURCE_NAME
            ),
            finding=r".*:log-group:\*",
        )
        return role

    def _subscribe(self, construct_id: str, queue_arn: str) -> None:
        subscription = sns.Subscription(
            self, construct_id, topic=self.alerts, protocol=sns.SubscriptionProtocol.SQS, endpoint=queue_arn
        )
        # https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
        explain(
            subscription, "SNSRedrivePolicy", "SNS tries for 23 days to reach a queue, longer than one keeps anything"
        )

    def _postprocess(self, key: kms.IKey, raw: s3.IBucket) -> None:
        postprocess = Function(
            self,
            "Postprocess",
            self.deployment,
            folder="delays_postprocess",
            key=key,
            failures_reach="a queue, by its event source mapping",
            description="Publishes the anomalies among the delays, and figures of every airport",
            environment={
                "TOPIC_ARN": self.alerts.topic_arn,
                "REFERENCE_BUCKET": raw.bucket_name,
                "AIRPORTS_PREFIX": AIRPORTS_PREFIX,
                "DEPLOYMENT": self.deployment.prefix,
            },
        )
        read_objects(postprocess.permissions, raw, AIRPORTS_PREFIX)
        allow(postprocess.permissions, ["sns:Publish"], self.alerts.topic_arn)
        mapping = StreamConsumer(
            self,
            "DelaysRead",
            postprocess,
            stream=self.delays,
            key=key,
            failures=DeadLetters(self, "UnreadDelays", self.deployment, key=key),
            batch_size=100,
            window=Duration.seconds(5),
            retry_attempts=3,
            max_age=Duration.hours(1),
        )
        self.alerts.alarm(
            "DelaysGivenUp",
            mapping.metric_dead_letters(),
            "Delays that nobody heard of: the queue UnreadDelays says where in the stream they are, the log why",
        )


def _flink_settings(options: RealTimeOptions) -> flink.CfnApplication.FlinkApplicationConfigurationProperty:
    part = flink.CfnApplication
    return part.FlinkApplicationConfigurationProperty(
        checkpoint_configuration=part.CheckpointConfigurationProperty(
            configuration_type="CUSTOM",
            checkpointing_enabled=True,
            checkpoint_interval=60_000,
            min_pause_between_checkpoints=5_000,
        ),
        monitoring_configuration=part.MonitoringConfigurationProperty(
            configuration_type="CUSTOM", log_level="INFO", metrics_level="TASK"
        ),
        parallelism_configuration=part.ParallelismConfigurationProperty(
            configuration_type="CUSTOM",
            parallelism=options.parallelism,
            parallelism_per_kpu=options.parallelism_per_kpu,
            auto_scaling_enabled=options.auto_scaling,
        ),
    )
