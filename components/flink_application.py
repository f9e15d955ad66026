"""A Flink job on Managed Service for Apache Flink: its package, properties, checkpoints, capacity and log."""

from collections.abc import Mapping

from aws_cdk import ArnFormat
from aws_cdk import aws_kinesisanalyticsv2 as flink
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from components.base import Deployment
from components.flink_package import FlinkPackage
from components.log_group import LogGroup
from components.permissions import allow, allow_any_of, before, read_objects, use_key
from components.role import ServiceRole

RUNTIME = "FLINK-2_2"


class FlinkApplication(flink.CfnApplication):
    """Runs `package` once somebody starts it, which CloudFormation does not; `properties` are the job's groups of them.

    The caller gives `role` what the job itself reads and writes. A running job that is updated goes on from a snapshot
    taken for that, and where it can't, the service goes back to what ran before:
    https://docs.aws.amazon.com/managed-flink/latest/java/how-system-rollbacks.html
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        *,
        package: FlinkPackage,
        role: ServiceRole,
        key: kms.IKey,
        description: str,
        properties: Mapping[str, Mapping[str, str]],
        parallelism: int,
        parallelism_per_kpu: int,
        auto_scaling: bool,
    ) -> None:
        read_objects(role, package.bucket, package.prefix)
        use_key(role, key)
        part = flink.CfnApplication
        code = part.S3ContentLocationProperty(bucket_arn=package.bucket.bucket_arn, file_key=package.key_in_bucket)
        groups = {"kinesis.analytics.flink.run.options": package.run_options, **properties}
        super().__init__(
            scope,
            construct_id,
            application_description=description,
            runtime_environment=RUNTIME,
            service_execution_role=role.role_arn,
            application_configuration=part.ApplicationConfigurationProperty(
                application_code_configuration=part.ApplicationCodeConfigurationProperty(
                    code_content=part.CodeContentProperty(s3_content_location=code), code_content_type="ZIPFILE"
                ),
                environment_properties=part.EnvironmentPropertiesProperty(
                    property_groups=[
                        part.PropertyGroupProperty(property_group_id=group, property_map=dict(entries))
                        for group, entries in groups.items()
                    ]
                ),
                flink_application_configuration=_configuration(parallelism, parallelism_per_kpu, auto_scaling),
                application_snapshot_configuration=part.ApplicationSnapshotConfigurationProperty(
                    snapshots_enabled=True
                ),
                application_system_rollback_configuration=part.ApplicationSystemRollbackConfigurationProperty(
                    rollback_enabled=True
                ),
            ),
        )
        self._log_to(scope, construct_id, deployment, role, key)
        before(role, self)
        self.node.add_dependency(package)

    def _log_to(
        self, scope: Construct, construct_id: str, deployment: Deployment, role: ServiceRole, key: kms.IKey
    ) -> None:
        """A log of its own, which the service looks up with the role's permissions.

        https://docs.aws.amazon.com/managed-flink/latest/java/cloudwatch-logs.html
        """
        group = LogGroup(scope, f"{construct_id}Logs", deployment, key=key)
        stream = logs.LogStream(
            scope, f"{construct_id}LogStream", log_group=group, removal_policy=deployment.removal_policy
        )
        allow(role, ["logs:DescribeLogStreams", "logs:PutLogEvents"], group.log_group_arn)
        allow_any_of(
            role,
            "the service looks its group up among the account's",
            ["logs:DescribeLogGroups"],
            self._log_arn("*"),
            finding=r".*:log-group:\*",
        )
        option = flink.CfnApplicationCloudWatchLoggingOption
        option(
            scope,
            f"{construct_id}Logging",
            application_name=self.ref,
            cloud_watch_logging_option=option.CloudWatchLoggingOptionProperty(
                log_stream_arn=self._log_arn(f"{group.log_group_name}:log-stream:{stream.log_stream_name}")
            ),
        )

    def _log_arn(self, name: str) -> str:
        return self.stack.format_arn(
            service="logs", resource="log-group", resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
        )


def _configuration(
    parallelism: int, per_kpu: int, auto_scaling: bool
) -> flink.CfnApplication.FlinkApplicationConfigurationProperty:
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
            parallelism=parallelism,
            parallelism_per_kpu=per_kpu,
            auto_scaling_enabled=auto_scaling,
        ),
    )
