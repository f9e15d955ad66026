"""Custom resource Custom::EmptyModelGroup: deletes a group's model packages, which CloudFormation will not."""

from collections.abc import Mapping
from typing import Any

import boto3
from response import custom_resource


def empty_model_group(event: Mapping[str, Any]) -> dict[str, Any]:
    """On delete, remove every package of `ModelPackageGroupName`; nothing on create and update."""
    if event["RequestType"] == "Delete":
        sagemaker = boto3.client("sagemaker")
        group = event["ResourceProperties"]["ModelPackageGroupName"]
        pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
        packages = [package["ModelPackageArn"] for page in pages for package in page["ModelPackageSummaryList"]]
        for package in packages:
            sagemaker.delete_model_package(ModelPackageName=package)
    return {}


handler = custom_resource(empty_model_group)
