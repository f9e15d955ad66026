"""A container image built in AWS from folders of this repository, so that nobody needs Docker."""

from collections.abc import Mapping

from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from components.aws_build import build_in_aws
from components.base import ROOT, Deployment
from components.function import gathered
from components.permissions import allow, sign_in_to_registry
from components.role import ServiceRole


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
        role = ServiceRole(self, "BuildRole", "codebuild")
        allow(role, _PUSH, self.repository.repository_arn)
        sign_in_to_registry(role)
        image = build_in_aws(
            self,
            deployment,
            product="Image",
            makes="image and pushes it under the hash of its sources",
            role=role,
            source=source,
            key=key,
            spec=_BUILD_SPEC,
            properties={"RepositoryUri": self.repository.repository_uri, "ImageTag": tag},
            privileged=True,  # Docker's daemon
        )
        image.node.add_dependency(self.repository)
        # Named without asking the resource: its attribute would go stale in stacks that are deployed later than this.
        self.uri = f"{self.repository.repository_uri}:{tag}"


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
