"""A Glue job on Spark: its script, what that imports, workers, encryption, what every role needs, and a schedule."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, Unpack

from aws_cdk import Aws, Duration, IgnoreMode, RemovalPolicy, Stack
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from components.base import ROOT
from components.findings import explain
from components.permissions import allow, before, put_metrics, read_objects, use_key, write_glue_logs
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


class SparkJob(TypedDict):
    """What a job of either kind is given.

    `script` is a file of glue_jobs without its ending, `imports` are the modules beside it that it imports, `arguments`
    are by name, without dashes. The caller gives `role` what the script itself reads and writes.
    """

    script: str
    description: str
    role: ServiceRole
    key: kms.IKey
    encryption: glue.ISecurityConfiguration
    workers: int
    timeout_minutes: int
    arguments: Mapping[str, str]
    imports: NotRequired[Sequence[str]]


class GlueJob(glue.PySparkEtlJob):
    """glue_jobs/<script>.py on Glue 5.1, one run at a time; a run asked for meanwhile waits."""

    def __init__(self, scope: Construct, construct_id: str, **job: Unpack[SparkJob]) -> None:
        super().__init__(scope, construct_id, job_run_queuing_enabled=True, **_spark(scope, construct_id, job))
        before(job["role"], self)


class GlueStreamingJob(glue.PySparkStreamingJob):
    """As GlueJob, for a script that reads a stream until it is stopped, or until its timeout, less than seven days.

    Its checkpoint says where the next run goes on: docs.aws.amazon.com/glue/latest/dg/add-job-streaming.html
    """

    def __init__(self, scope: Construct, construct_id: str, **job: Unpack[SparkJob]) -> None:
        super().__init__(scope, construct_id, **_spark(scope, construct_id, job))
        before(job["role"], self)


def start_every(
    scope: Construct, construct_id: str, *, hours: int, job: glue.IJob, description: str, if_missed: str
) -> None:
    """Start a job every so many hours; `if_missed` says why nobody has to hear of a start that failed."""
    role = ServiceRole(scope, f"{construct_id}Role", "scheduler")
    allow(role, ["glue:StartJobRun"], job.job_arn)
    schedule = scheduler.CfnSchedule(
        scope,
        construct_id,
        description=description,
        schedule_expression=f"rate({hours} hours)",
        flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
        target=scheduler.CfnSchedule.TargetProperty(
            arn=f"arn:{Aws.PARTITION}:scheduler:::aws-sdk:glue:startJobRun",
            input=Stack.of(scope).to_json_string({"JobName": job.job_name}),
            role_arn=role.role_arn,
        ),
    )
    before(role, schedule)
    explain(schedule, "event-dead-letter", if_missed)


def _spark(scope: Construct, construct_id: str, job: SparkJob) -> dict[str, Any]:
    """What a job of any kind is made of. Its role may read the script, use the key, and write metrics and logs."""
    role, files = job["role"], ("__init__", *job.get("imports", ()))
    script = s3_assets.Asset(scope, f"{construct_id}Script", path=str(ROOT / "glue_jobs" / f"{job['script']}.py"))
    read_objects(role, script.bucket, "")
    use_key(role, job["key"])
    put_metrics(role, "Glue")
    write_glue_logs(role, job["key"])
    modules = s3_assets.Asset(  # a zip keeps the names of modules; a file of its own is named by its hash
        scope,
        f"{construct_id}Imports",
        path=str(ROOT),
        exclude=["/*", "!/glue_jobs", "/glue_jobs/*", *(f"!/glue_jobs/{name}.py" for name in files)],
        ignore_mode=IgnoreMode.GIT,
    )
    return {
        "description": job["description"],
        "role": role.without_policy_updates(),
        "script": glue.Code.from_bucket(script.bucket, script.s3_object_key),
        "extra_python_files": [glue.Code.from_bucket(modules.bucket, modules.s3_object_key)],
        "glue_version": glue.GlueVersion.V5_1,
        "worker_configuration": glue.WorkerConfiguration(
            worker_type=glue.WorkerType.G_1X, number_of_workers=job["workers"]
        ),
        "timeout": Duration.minutes(job["timeout_minutes"]),
        "max_concurrent_runs": 1,
        "security_configuration": job["encryption"],
        # Without a region S3A asks us-east-2: docs.aws.amazon.com/glue/latest/dg/migrating-version-51.html
        "default_arguments": {"--conf": f"spark.hadoop.fs.s3a.endpoint.region={Aws.REGION}"}
        | {f"--{name}": value for name, value in job["arguments"].items()},
    }
