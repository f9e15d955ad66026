"""Custom resource Custom::EmptyModelGroup: deletes a group's model packages, which CloudFormation will not."""

from collections.abc import Mapping
from typing import Any

import boto3
from botocore.exceptions import ClientError
from response import custom_resource


def empty_model_group(event: Mapping[str, Any]) -> dict[str, Any]:
    """On delete, remove every package of `ModelPackageGroupName`; nothing on create and update."""
    if event["RequestType"] == "Delete":
        sagemaker = boto3.client("sagemaker")
        for package in _packages(sagemaker, event["ResourceProperties"]["ModelPackageGroupName"]):
            sagemaker.delete_model_package(ModelPackageName=package)
    return {}


def _packages(sagemaker: Any, group: str) -> list[str]:
    """The ARNs of a group's packages; none when the group is gone."""
    pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
    try:
        return [package["ModelPackageArn"] for page in pages for package in page["ModelPackageSummaryList"]]
    except ClientError as error:
        # SageMaker has no code of its own for it: ValidationException also says that a name is wrong.
        if "does not exist" not in error.response["Error"]["Message"]:
            raise
        return []


handler = custom_resource(empty_model_group)
