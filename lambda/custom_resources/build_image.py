"""Custom resource Custom::ImageBuild: runs a CodeBuild project that pushes one image, and waits for its end."""

import time
from collections.abc import Mapping
from typing import Any

import boto3
from response import custom_resource

_POLL_SECONDS = 2


def build_image(event: Mapping[str, Any]) -> dict[str, Any]:
    """Build and push `RepositoryUri:ImageTag`; answers its ImageUri. Raises RuntimeError when the build fails.

    The same sources have the same tag: CloudFormation calls again only when they change. Deleting the resource
    leaves the image to the repository's own rules.
    """
    properties = event["ResourceProperties"]
    uri = f"{properties['RepositoryUri']}:{properties['ImageTag']}"
    if event["RequestType"] != "Delete":
        _run(properties, boto3.client("codebuild"))
    return {"PhysicalResourceId": uri, "ImageUri": uri}


def _run(properties: Mapping[str, str], codebuild: Any) -> None:
    build = codebuild.start_build(
        projectName=properties["ProjectName"],
        environmentVariablesOverride=[
            {"name": "REPOSITORY_URI", "value": properties["RepositoryUri"]},
            {"name": "IMAGE_TAG", "value": properties["ImageTag"]},
        ],
    )["build"]
    while build["buildStatus"] == "IN_PROGRESS":
        time.sleep(_POLL_SECONDS)
        build = codebuild.batch_get_builds(ids=[build["id"]])["builds"][0]
    if build["buildStatus"] != "SUCCEEDED":
        where = build.get("logs", {}).get("deepLink", build["id"])
        raise RuntimeError(f"the image build ended {build['buildStatus']}: read its log at {where}")


handler = custom_resource(build_image)
