"""What CodeBuild makes of sources of this repository while CloudFormation waits: images and packages."""

from collections.abc import Mapping

from aws_cdk import CustomResource, Duration
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from components.base import Deployment
from components.findings import explain
from components.function import Function
from components.log_group import LogGroup
from components.permissions import allow, before, use_key
from components.role import ServiceRole

_BUILD_MINUTES = 13  # the function that waits for the build may run for 15


def build_in_aws(
    scope: Construct,
    deployment: Deployment,
    *,
    product: str,
    makes: str,
    role: ServiceRole,
    source: s3_assets.Asset,
    key: kms.IKey,
    spec: Mapping[str, object],
    properties: Mapping[str, str],
    privileged: bool = False,
) -> CustomResource:
    """A CodeBuild project that runs `spec` on `source`, and a custom resource that starts it and waits for its end.

    The resource is `product` ("Image"), a Custom::ImageBuild, handled by lambda/custom_resources/build_image.py with
    `properties` besides the project's name. `role` already holds what only this build needs; `makes` says what it does.
    """
    name = product.lower()
    project = _project(scope, deployment, role, source, key, spec, f"Builds the {makes}", privileged)
    builder = Function(
        scope,
        "StartBuild",
        deployment,
        folder="custom_resources",
        handler=f"build_{name}.handler",
        key=key,
        failures_reach="CloudFormation, which waits for the answer",
        description=f"Starts the {name}'s build and answers CloudFormation when it has ended",
        timeout=Duration.minutes(15),
    )
    allow(builder.permissions, ["codebuild:StartBuild", "codebuild:BatchGetBuilds"], project.project_arn)
    return CustomResource(
        scope,
        product,
        resource_type=f"Custom::{product}Build",
        service_token=builder.function_arn,
        properties={"ProjectName": project.project_name, **properties},
        service_timeout=Duration.minutes(15),
    )


def _project(
    scope: Construct,
    deployment: Deployment,
    role: ServiceRole,
    source: s3_assets.Asset,
    key: kms.IKey,
    spec: Mapping[str, object],
    description: str,
    privileged: bool,
) -> codebuild.Project:
    log_group = LogGroup(scope, "BuildLogs", deployment, key=key)
    # CodeBuild reads its source by version, and CDK's bucket has versions:
    # https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html
    allow(role, ["s3:GetObject", "s3:GetObjectVersion"], source.bucket.arn_for_objects(source.s3_object_key))
    allow(role, ["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn)
    use_key(role, key)
    project = codebuild.Project(
        scope,
        "Build",
        role=role.without_policy_updates(),
        description=description,
        source=codebuild.Source.s3(bucket=source.bucket, path=source.s3_object_key),
        environment=codebuild.BuildEnvironment(
            build_image=codebuild.LinuxBuildImage.STANDARD_7_0,
            compute_type=codebuild.ComputeType.SMALL,
            privileged=privileged,
        ),
        build_spec=codebuild.BuildSpec.from_object(dict(spec)),
        encryption_key=key,
        timeout=Duration.minutes(_BUILD_MINUTES),
        logging=codebuild.LoggingOptions(cloud_watch=codebuild.CloudWatchLoggingOptions(log_group=log_group)),
    )
    before(role, project)
    explain(project, "CodeBuildProjectSourceRepoUrl", "the source is a zip in S3, no repository")
    return project
