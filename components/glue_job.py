"""A Glue job on Spark: its script, what the script imports, workers, encryption, and what every job's role needs."""

from collections.abc import Mapping
from typing import Any

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from components.base import ROOT
from components.permissions import allow, allow_any_of, before, put_metrics, read_objects, use_key
from components.role import ServiceRole


class JobEncryption(glue.SecurityConfiguration):
    """Encrypts what Glue itself writes for jobs: objects, logs and bookmarks."""

    def __init__(self, scope: Construct, construct_id: str, *, key: kms.IKey) -> None:
        super().__init__(
            scope,
            construct_id,
            removal_policy=RemovalPolicy.DESTROY,  # it holds nothing, and has a name
            s3_encryption=glue.S3Encryption.kms(key),
            cloud_watch_encryption=glue.CloudWatchEncryption.kms(key),
            job_bookmarks_encryption=glue.JobBookmarksEncryption.client_side_kms(key),
        )


class GlueJob(glue.PySparkEtlJob):
    """glue_jobs/<script>.py on Glue 5.1, one run at a time; a run asked for meanwhile waits.

    The caller gives `role` what the script itself reads and writes. `arguments` are by name, without dashes.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        script: str,
        description: str,
        role: ServiceRole,
        key: kms.IKey,
        encryption: glue.ISecurityConfiguration,
        workers: int,
        timeout_minutes: int,
        arguments: Mapping[str, str],
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description=description,
            timeout=Duration.minutes(timeout_minutes),
            job_run_queuing_enabled=True,
            **_spark(scope, construct_id, script, role, key, encryption, workers, arguments),
        )
        before(role, self)


def _spark(
    scope: Construct,
    construct_id: str,
    script: str,
    role: ServiceRole,
    key: kms.IKey,
    encryption: glue.ISecurityConfiguration,
    workers: int,
    arguments: Mapping[str, str],
) -> dict[str, Any]:
    """What a job of any kind is made of. Its role may read the script, use the key, and write metrics and logs."""
    asset = s3_assets.Asset(scope, f"{construct_id}Script", path=str(ROOT / "glue_jobs" / f"{script}.py"))
    read_objects(role, asset.bucket, "")
    use_key(role, key)
    allow(role, ["kms:Encrypt"], key.key_arn)  # docs.aws.amazon.com/glue/latest/dg/set-up-encryption.html
    put_metrics(role, "Glue")
    allow_any_of(
        role,
        "Glue names the log groups of its jobs itself",
        ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:AssociateKmsKey"],
        f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:/aws-glue/*",
        finding=r".*:log-group:/aws-glue/\*",
    )
    return {
        "role": role.without_policy_updates(),
        "script": glue.Code.from_bucket(asset.bucket, asset.s3_object_key),
        "glue_version": glue.GlueVersion.V5_1,
        "worker_configuration": glue.WorkerConfiguration(worker_type=glue.WorkerType.G_1X, number_of_workers=workers),
        "max_concurrent_runs": 1,
        "security_configuration": encryption,
        "default_arguments": {f"--{name}": value for name, value in arguments.items()},
    }
