"""Monitoring: captured requests are compared with the training data; drift raises an alarm, and the alarm retrains.

Provisions  a SageMaker pipeline with the drift job, started by a schedule; an encrypted topic for people, and alarms on
            drift, a silent monitor, the endpoint's errors and latency, and a retraining or roll-out that fails; the
            retrain rule, which starts the training pipeline when the drift alarm goes off.
Inputs      a KMS key, the ML image, the captured and models buckets, the training pipeline; the names of the endpoint,
            of the function that rolls models out and of the queue of roll-outs that failed.
Outputs     `pipeline`, `alarm`, `alerts`.
Costs       $0.10 a month for each of seven alarms, $0.30 for each metric of the monitor (one a feature and four);
            a daily job of about 3 minutes, $0.01.
Copy        this file, components/{alerts,base,dead_letters,endpoint,findings,log_group,permissions,role,
            sagemaker_role,sagemaker_pipeline}.py, pipelines and ml.
"""

from aws_cdk import Aws, CfnOutput, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_events as events
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct
from pydantic import Field

from components.alerts import LESS_THAN, Alerts, Email
from components.base import Deployment, Layer, Options
from components.dead_letters import DeadLetters, waiting_in
from components.endpoint import VARIANT
from components.findings import explain
from components.permissions import allow, allow_any_of, before, put_metrics, read_objects, write_objects
from components.role import ServiceRole
from components.sagemaker_pipeline import Pipeline, job_network
from components.sagemaker_role import ContainerRole
from pipelines import monitor

REPORTS_PREFIX = "monitoring/"


class MonitoringOptions(Options):
    schedule: str = Field(
        "cron(0 6 * * ? *)", pattern=r"^(cron|rate)\(.+\)$", description="when the drift job runs (UTC)"
    )
    # A week: PutMetricAlarm's limit of periods of an hour times their number,
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    silent_hours: int = Field(
        26, ge=2, le=168, description="hours without a report that raise an alarm: more than between two runs"
    )
    drifted_features: int = Field(1, ge=1, le=50, description="drifted features that raise the alarm")
    retrain: bool = Field(True, description="start the training pipeline when the alarm goes off")
    approve_retrained: bool = Field(False, description="deploy a retrained model that passes the gate unseen")
    slow_milliseconds: int = Field(
        500, ge=1, le=60_000, description="the model's 99th percentile for 15 minutes that raises an alarm"
    )
    alert_email: Email | None = Field(None, description="who is told of an alarm")
    instance_type: str = Field("ml.m7i.large", pattern=r"^ml\.", description="instance of the drift job")
    volume_gb: int = Field(10, ge=1, le=1000, description="disk of the drift job")
    max_minutes: int = Field(60, ge=5, le=1440, description="minutes after which the drift job is stopped")


class Monitoring(Layer):
    """Captured requests -> drift -> alarm -> people and retraining."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: MonitoringOptions,
        *,
        key: kms.IKey,
        vpc: ec2.IVpc | None,
        repository: ecr.IRepository,
        image_uri: str,
        captured: s3.IBucket,
        models: s3.IBucket,
        endpoint_name: str,
        deploy_function_name: str,
        failed_roll_outs_name: str,
        training_pipeline_arn: str,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: drift, its alarm and retraining")
        self.endpoint_name = endpoint_name
        role = self._job_role(repository, key, captured, models, in_vpc=vpc is not None)
        name = f"{deployment.prefix}-monitor"
        self.pipeline = Pipeline(
            self,
            "Pipeline",
            name=name,
            description="Drift of captured requests against the serving model's training data",
            container_role=role,
            definition=monitor.definition(
                monitor.MonitorPipeline(
                    image_uri=image_uri,
                    role_arn=role.role_arn,
                    kms_key_id=key.key_arn,
                    endpoint_name=endpoint_name,
                    captured_uri=captured.s3_url_for_object(f"{endpoint_name}/"),
                    output_uri=models.s3_url_for_object(f"{REPORTS_PREFIX}{name}"),
                    instance_type=options.instance_type,
                    volume_gb=options.volume_gb,
                    max_runtime_seconds=options.max_minutes * 60,
                    vpc_config=job_network(self, vpc) if vpc else None,
                )
            ),
        )
        if vpc is None:
            explain(
                self.pipeline,
                "sagemaker-job-network",
                "the job sends its metric; a VPC's endpoints cost $7 a month each",
            )
        self._run_on(options.schedule)
        self.alerts = Alerts(self, "Alerts", key=key, email=options.alert_email)
        self.alarm = self._watch_drift(options)
        self._watch_endpoint(options)
        self._watch_roll_outs(deploy_function_name, failed_roll_outs_name)
        if options.retrain:
            self._retrain(options, key, training_pipeline_arn)
        CfnOutput(self, "MonitorPipelineName", value=self.pipeline.name)
        CfnOutput(self, "DriftAlarmName", value=self.alarm.alarm_name)
        CfnOutput(self, "AlertTopicArn", value=self.alerts.topic_arn)

    def _job_role(
        self, repository: ecr.IRepository, key: kms.IKey, captured: s3.IBucket, models: s3.IBucket, in_vpc: bool
    ) -> ContainerRole:
        role = ContainerRole(
            self, "JobRole", repository=repository, key=key, log_groups=["/aws/sagemaker/ProcessingJobs"], in_vpc=in_vpc
        )
        read_objects(role, captured, f"{self.endpoint_name}/")
        read_objects(role, models, "pipelines/")  # the baselines of the serving model
        write_objects(role, models, REPORTS_PREFIX)
        put_metrics(role, monitor.METRIC_NAMESPACE)
        here = f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}"
        allow(role, ["sagemaker:DescribeEndpoint"], f"{here}:endpoint/{self.endpoint_name}")
        allow_any_of(
            role,
            "CloudFormation names configuration and model anew at each roll-out, and SageMaker numbers the packages",
            ["sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel", "sagemaker:DescribeModelPackage"],
            f"{here}:endpoint-config/*",
            f"{here}:model/*",
            f"{here}:model-package/{self.endpoint_name}/*",
            finding=r".*:(endpoint-config|model|model-package/.*)/\*",
        )
        return role

    def _run_on(self, expression: str) -> None:
        role = ServiceRole(self, "ScheduleRole", "scheduler")
        allow(role, ["sagemaker:StartPipelineExecution"], self.pipeline.arn)
        schedule = scheduler.CfnSchedule(
            self,
            "Schedule",
            description="Looks for drift in what was captured since the last run",
            schedule_expression=expression,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(arn=self.pipeline.arn, role_arn=role.role_arn),
        )
        schedule.node.add_dependency(role, self.pipeline)
        explain(
            schedule, "event-dead-letter", "the next run looks at what this one would have; an alarm tells of silence"
        )

    def _watch_drift(self, options: MonitoringOptions) -> cloudwatch.Alarm:
        """The drift alarm, and one on a monitor that no longer reports; returns the first."""

        def reported(metric_name: str, statistic: str, period: Duration) -> cloudwatch.Metric:
            return cloudwatch.Metric(
                namespace=monitor.METRIC_NAMESPACE,
                metric_name=metric_name,
                dimensions_map={"Endpoint": self.endpoint_name},
                statistic=statistic,
                period=period,
            )

        self.alerts.alarm(
            "MonitorSilent",
            reported(monitor.ROWS_METRIC, "SampleCount", Duration.hours(1)),
            "The drift monitor has not reported: its last verdict may be out of date",
            comparison=LESS_THAN,
            periods=options.silent_hours,
            missing=cloudwatch.TreatMissingData.BREACHING,  # on until the first report, too
        )
        return self.alerts.alarm(
            "Drift",
            reported(monitor.VIOLATIONS_METRIC, "Maximum", Duration.minutes(1)),
            "Requests no longer look like the data the serving model was trained on",
            threshold=options.drifted_features,
            # The last report holds until the next: drift that lasts is one alarm and one retraining, not one a day.
            missing=cloudwatch.TreatMissingData.IGNORE,
        )

    def _watch_endpoint(self, options: MonitoringOptions) -> None:
        """https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html"""

        def invocation(metric_name: str, statistic: str) -> cloudwatch.Metric:
            return cloudwatch.Metric(
                namespace="AWS/SageMaker",
                metric_name=metric_name,
                dimensions_map={"EndpointName": self.endpoint_name, "VariantName": VARIANT},
                statistic=statistic,
                period=Duration.minutes(5),
            )

        self.alerts.alarm("EndpointFails", invocation("Invocation5XXErrors", "Sum"), "The endpoint answers with errors")
        self.alerts.alarm(
            "EndpointSlow",
            invocation("ModelLatency", "p99"),
            "The model takes long to answer",
            threshold=options.slow_milliseconds * 1000,  # the metric is in microseconds
            periods=3,
        )

    def _watch_roll_outs(self, deploy_function_name: str, failed_roll_outs_name: str) -> None:
        self.alerts.alarm(
            "RollOutErrors",
            cloudwatch.Metric(
                namespace="AWS/Lambda",
                metric_name="Errors",
                dimensions_map={"FunctionName": deploy_function_name},
                statistic="Sum",
                period=Duration.minutes(5),
            ),
            "An approved model could not be put into the serving stack; it is tried again",
        )
        self.alerts.alarm(
            "RollOutFailed",
            waiting_in(failed_roll_outs_name),
            "An approved model is not in service, or was rolled back: the queue's messages say which and why",
        )

    def _retrain(self, options: MonitoringOptions, key: kms.IKey, training_pipeline_arn: str) -> None:
        role = ServiceRole(self, "RetrainRole", "events")
        allow(role, ["sagemaker:StartPipelineExecution"], training_pipeline_arn)
        undelivered = DeadLetters(self, "UndeliveredAlarms", self.deployment, key=key)
        self.alerts.alarm(
            "RetrainingFailed",
            waiting_in(undelivered.queue_name),
            "Drift was found, but no retraining could be started",
        )
        status = "Approved" if options.approve_retrained else "PendingManualApproval"
        rule = events.Rule(
            self,
            "Retrain",
            description="The drift alarm starts the training pipeline on the newest data",
            event_pattern=events.EventPattern(
                source=["aws.cloudwatch"],
                detail_type=["CloudWatch Alarm State Change"],
                resources=[self.alarm.alarm_arn],
                detail={"state": {"value": ["ALARM"]}},
            ),
        )
        before(role, rule)
        cfn_rule = rule.node.default_child
        cfn_rule.targets = [
            events.CfnRule.TargetProperty(
                id="TrainingPipeline",
                arn=training_pipeline_arn,
                role_arn=role.role_arn,
                dead_letter_config=undelivered.of(rule),
                sage_maker_pipeline_parameters=events.CfnRule.SageMakerPipelineParametersProperty(
                    pipeline_parameter_list=[
                        events.CfnRule.SageMakerPipelineParameterProperty(name="ModelApprovalStatus", value=status)
                    ]
                ),
            )
        ]
