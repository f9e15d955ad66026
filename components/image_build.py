"""A container image built in AWS from folders of this repository, so that nobody needs Docker."""

from collections.abc import Mapping

from aws_cdk import CustomResource, Duration
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from components.base import ROOT, Deployment
from components.findings import explain
from components.function import Function, gathered
from components.log_group import LogGroup
from components.permissions import allow, before, sign_in_to_registry, use_key
from components.role import ServiceRole

_BUILD_MINUTES = 13  # the function that waits for the build may run for 15


class ImageBuild(Construct):
    """An ECR repository, a CodeBuild project, and a custom resource that builds one image and waits for it.

    `context` maps the names at the top of the build context to paths in this repository; it must hold a Dockerfile.
    `uri` names the image by the hash of its sources. Stacks that use it depend on this one, which waits for the build.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        *,
        context: Mapping[str, str],
        key: kms.IKey,
    ) -> None:
        super().__init__(scope, construct_id)
        self.repository = ecr.Repository(
            self,
            "Repository",
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            image_scan_on_push=True,
            encryption=ecr.RepositoryEncryption.KMS,
            encryption_key=key,
            # Registered packages name the image they were trained with: where they are kept, so are the images.
            lifecycle_rules=[] if deployment.retain else [ecr.LifecycleRule(max_image_count=10)],
            removal_policy=deployment.removal_policy,
            empty_on_delete=not deployment.retain,
        )
        source = _context_asset(self, context)
        tag = source.asset_hash[:32]
        project = self._project(deployment, source, key)
        builder = Function(
            self,
            "StartBuild",
            deployment,
            folder="custom_resources",
            handler="build_image.handler",
            key=key,
            failures_reach="CloudFormation, which waits for the answer",
            description="Starts the image build and answers CloudFormation when it has ended",
            timeout=Duration.minutes(15),
        )
        allow(builder.permissions, ["codebuild:StartBuild", "codebuild:BatchGetBuilds"], project.project_arn)
        image = CustomResource(
            self,
            "Image",
            resource_type="Custom::ImageBuild",
            service_token=builder.function_arn,
            properties={
                "ProjectName": project.project_name,
                "RepositoryUri": self.repository.repository_uri,
                "ImageTag": tag,
            },
            service_timeout=Duration.minutes(15),
        )
        image.node.add_dependency(self.repository)
        # Named without asking the resource: its attribute would go stale in stacks that are deployed later than this.
        self.uri = f"{self.repository.repository_uri}:{tag}"

    def _project(self, deployment: Deployment, source: s3_assets.Asset, key: kms.IKey) -> codebuild.Project:
        log_group = LogGroup(self, "BuildLogs", deployment, key=key)
        role = ServiceRole(self, "BuildRole", "codebuild")
        # CodeBuild reads its source by version, and CDK's bucket has versions:
        # https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html
        allow(role, ["s3:GetObject", "s3:GetObjectVersion"], source.bucket.arn_for_objects(source.s3_object_key))
        allow(role, ["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn)
        allow(role, _PUSH, self.repository.repository_arn)
        sign_in_to_registry(role)
        use_key(role, key)
        project = codebuild.Project(
            self,
            "Build",
            role=role.without_policy_updates(),
            description="Builds the image and pushes it under the hash of its sources",
            source=codebuild.Source.s3(bucket=source.bucket, path=source.s3_object_key),
            environment=codebuild.BuildEnvironment(
                build_image=codebuild.LinuxBuildImage.STANDARD_7_0,
                compute_type=codebuild.ComputeType.SMALL,
                privileged=True,
            ),
            build_spec=codebuild.BuildSpec.from_object(_BUILD_SPEC),
            encryption_key=key,
            timeout=Duration.minutes(_BUILD_MINUTES),
            logging=codebuild.LoggingOptions(cloud_watch=codebuild.CloudWatchLoggingOptions(log_group=log_group)),
        )
        before(role, project)
        explain(project, "CodeBuildProjectSourceRepoUrl", "the source is a zip in S3, no repository")
        return project


_PUSH = [
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:GetDownloadUrlForLayer",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
]
_PRESENT = 'docker manifest inspect "$REPOSITORY_URI:$IMAGE_TAG" >/dev/null 2>&1'
# SageMaker takes images with Docker's manifest only, neither OCI's nor an index, which provenance would make it:
# https://github.com/aws/amazon-sagemaker-feedback/issues/180, https://docs.docker.com/build/exporters/image-registry/
_BUILD = "docker build --provenance=false --output type=image,oci-mediatypes=false"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_BUILD_SPEC = {
    "version": "0.2",
    "phases": {
        "pre_build": {
            "commands": [
                'aws ecr get-login-password | docker login --username AWS --password-stdin "${REPOSITORY_URI%%/*}"'
            ]
        },
        # A tag never changes: an image that is there already, from a build whose stack rolled back, is the same one.
        "build": {"commands": [f'{_PRESENT} || {_BUILD} --tag "$REPOSITORY_URI:$IMAGE_TAG" .']},
        "post_build": {
            "commands": [
                'test "$CODEBUILD_BUILD_SUCCEEDING" = 1',
                f'{_PRESENT} || docker push "$REPOSITORY_URI:$IMAGE_TAG"',
                f'docker manifest inspect "$REPOSITORY_URI:$IMAGE_TAG" | grep -q {_MANIFEST}',
            ]
        },
    },
}


def _context_asset(scope: Construct, context: Mapping[str, str]) -> s3_assets.Asset:
    """Zip the named paths into one build context; its hash is that of their content alone."""
    return s3_assets.Asset(scope, "Context", path=str(ROOT / "containers"), **gathered(*context.items()))
