"""Monitoring: captured requests are compared with the training data; drift raises an alarm, and the alarm retrains.

Provisions  a SageMaker pipeline with the drift job, started by a schedule; the drift alarm; an encrypted topic for
            people; the retrain rule, which starts the training pipeline when the alarm goes off.
Inputs      a KMS key, the ML image, the captured and models buckets, the endpoint's name, the training pipeline.
Outputs     `pipeline`, `alarm`, `topic`.
Costs       the alarm and its metrics $0.40 a month each; a daily job of about 3 minutes, $0.01.
Copy        this file, components/{base,dead_letters,findings,permissions,role,sagemaker_role,sagemaker_pipeline}.py,
            pipelines and ml.
"""

from aws_cdk import Aws, CfnOutput, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct
from pydantic import Field

from components.base import Deployment, Layer, Options
from components.dead_letters import DeadLetters
from components.permissions import allow, allow_any_of, before, put_metrics, read_objects, replace_objects
from components.role import ServiceRole
from components.sagemaker_pipeline import Pipeline, job_network
from components.sagemaker_role import ContainerRole
from pipelines import monitor

REPORTS_PREFIX = "monitoring/"


class MonitoringOptions(Options):
    schedule: str = Field(
        "cron(0 6 * * ? *)", pattern=r"^(cron|rate)\(.+\)$", description="when the drift job runs (UTC)"
    )
    drifted_features: int = Field(1, ge=1, le=50, description="drifted features that raise the alarm")
    retrain: bool = Field(True, description="start the training pipeline when the alarm goes off")
    approve_retrained: bool = Field(False, description="deploy a retrained model that passes the gate unseen")
    alert_email: str | None = Field(None, pattern=r"^[^@\s]+@[^@\s]+$", description="who is told of an alarm")
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
                    vpc_config=job_network(self, vpc),
                )
            ),
        )
        self._run_on(options.schedule)
        self.topic = self._topic(options, key)
        self.alarm = self._alarm(options)
        if options.retrain:
            self._retrain(options, key, training_pipeline_arn)
        CfnOutput(self, "MonitorPipelineName", value=self.pipeline.name)
        CfnOutput(self, "DriftAlarmName", value=self.alarm.alarm_name)
        CfnOutput(self, "AlertTopicArn", value=self.topic.topic_arn)

    def _job_role(
        self, repository: ecr.IRepository, key: kms.IKey, captured: s3.IBucket, models: s3.IBucket, in_vpc: bool
    ) -> ContainerRole:
        role = ContainerRole(
            self, "JobRole", repository=repository, key=key, log_groups=["/aws/sagemaker/ProcessingJobs"], in_vpc=in_vpc
        )
        read_objects(role, captured, f"{self.endpoint_name}/")
        read_objects(role, models, "pipelines/")  # the baselines of the serving model
        replace_objects(role, models, REPORTS_PREFIX)
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

    def _run_on(self, schedule: str) -> None:
        role = ServiceRole(self, "ScheduleRole", "scheduler")
        allow(role, ["sagemaker:StartPipelineExecution"], self.pipeline.arn)
        scheduler.CfnSchedule(
            self,
            "Schedule",
            description="Looks for drift in what was captured since the last run",
            schedule_expression=schedule,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(arn=self.pipeline.arn, role_arn=role.role_arn),
        ).node.add_dependency(role, self.pipeline)

    def _topic(self, options: MonitoringOptions, key: kms.IKey) -> sns.Topic:
        topic = sns.Topic(self, "Alerts", display_name="Millrace alerts", master_key=key, enforce_ssl=True)
        # A policy of its own, which enforcing TLS makes, replaces the one that lets the account's alarms publish.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsPublish",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        if options.alert_email:
            topic.add_subscription(subscriptions.EmailSubscription(options.alert_email))
        return topic

    def _alarm(self, options: MonitoringOptions) -> cloudwatch.Alarm:
        violations = cloudwatch.Metric(
            namespace=monitor.METRIC_NAMESPACE,
            metric_name=monitor.VIOLATIONS_METRIC,
            dimensions_map={"Endpoint": self.endpoint_name},
            statistic="Maximum",
            period=Duration.minutes(1),
        )
        alarm = violations.create_alarm(
            self,
            "Drift",
            alarm_description="Requests no longer look like the data the serving model was trained on",
            threshold=options.drifted_features,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))
        return alarm

    def _retrain(self, options: MonitoringOptions, key: kms.IKey, training_pipeline_arn: str) -> None:
        role = ServiceRole(self, "RetrainRole", "events")
        allow(role, ["sagemaker:StartPipelineExecution"], training_pipeline_arn)
        undelivered = DeadLetters(self, "UndeliveredAlarms", self.deployment, key=key)
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
