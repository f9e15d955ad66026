"""Custom resource Custom::PackageBuild: runs a CodeBuild project that puts a package into S3, and waits."""

from collections.abc import Mapping
from typing import Any

import boto3
import codebuild
from response import custom_resource


def build_package(event: Mapping[str, Any]) -> dict[str, Any]:
    """Build `s3://Bucket/Key`. Raises RuntimeError when the build fails.

    The key holds the hash of the sources: CloudFormation calls again only when they change. Deleting the resource
    leaves the package to the bucket's own rules: a snapshot may still need it.
    """
    properties = event["ResourceProperties"]
    bucket, key = properties["Bucket"], properties["Key"]
    if event["RequestType"] != "Delete":
        codebuild.run(properties["ProjectName"], {"BUCKET": bucket, "KEY": key}, boto3.client("codebuild"))
    return {"PhysicalResourceId": f"s3://{bucket}/{key}"}


handler = custom_resource(build_package)
