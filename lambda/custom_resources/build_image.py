"""Custom resource Custom::ImageBuild: runs a CodeBuild project that pushes one image, and waits for its end."""

from collections.abc import Mapping
from typing import Any

import boto3
import codebuild
from response import custom_resource


def build_image(event: Mapping[str, Any]) -> dict[str, Any]:
    """Build and push `RepositoryUri:ImageTag`; answers its ImageUri. Raises RuntimeError when the build fails.

    The same sources have the same tag: CloudFormation calls again only when they change. Deleting the resource
    leaves the image to the repository's own rules.
    """
    properties = event["ResourceProperties"]
    repository, tag = properties["RepositoryUri"], properties["ImageTag"]
    if event["RequestType"] != "Delete":
        variables = {"REPOSITORY_URI": repository, "IMAGE_TAG": tag}
        codebuild.run(properties["ProjectName"], variables, boto3.client("codebuild"))
    return {"PhysicalResourceId": f"{repository}:{tag}", "ImageUri": f"{repository}:{tag}"}


handler = custom_resource(build_image)
