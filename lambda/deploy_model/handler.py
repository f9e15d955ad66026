"""Puts an approved model package into the serving stack; CloudFormation replaces the model, or rolls back.

Events say that a package was approved; the registry says what is newest. So it does not matter in which order approvals
arrive, how often, or how long one waited for the stack: an older approval never replaces a newer one.
"""

import logging
import os
import time
from datetime import datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

log = logging.getLogger()
log.setLevel(logging.INFO)

cloudformation = boto3.client("cloudformation")
sagemaker = boto3.client("sagemaker")
POLL_SECONDS = 2
NOTHING_TO_DO = "No updates are to be performed"


def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """Update the stack named in STACK so that its parameter PARAMETER is the approved package.

    Answers the package with what became of it, "status":

    UPDATING      the stack is being updated; a roll-out that fails is rolled back, and not tried again
    UNCHANGED     it serves already
    NOT_APPROVED  it has been rejected or deleted since
    SUPERSEDED    what serves was approved later

    While another update runs it waits, and raises TimeoutError shortly before its own time is up, so that the event is
    retried.
    """
    package = event["detail"]["ModelPackageArn"]
    while (status := _roll_out(package)) is None:
        if context.get_remaining_time_in_millis() < 10_000:
            raise TimeoutError(f"{os.environ['STACK']} is still being updated; {package} waits for the retry")
        time.sleep(POLL_SECONDS)
    log.info("%s: %s for %s", package, status, os.environ["STACK"])
    return {"status": status, "package": package}


def _roll_out(package: str) -> str | None:
    """What becomes of a package; None while the stack is busy."""
    stack = cloudformation.describe_stacks(StackName=os.environ["STACK"])["Stacks"][0]
    if stack["StackStatus"].endswith("IN_PROGRESS"):  # what will serve is not known yet
        return None
    parameters = {given["ParameterKey"]: given["ParameterValue"] for given in stack["Parameters"]}
    serving = parameters[os.environ["PARAMETER"]]
    if serving == package:
        return "UNCHANGED"
    approved, replaced = _approved_at(package), _approved_at(serving)
    if approved is None:
        return "NOT_APPROVED"
    if replaced and replaced > approved:
        return "SUPERSEDED"
    return _update(package, [*parameters])


def _approved_at(package: str) -> datetime | None:
    """When a package was approved; None for one that is not, is gone, or is none: the baseline.

    That is its last modification: the registry keeps no other time of an approval.
    """
    if not package.startswith("arn:"):
        return None
    try:
        described = sagemaker.describe_model_package(ModelPackageName=package)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationException":  # SageMaker's answer for one that does not exist
            return None
        raise
    if described.get("ModelApprovalStatus") != "Approved":
        return None
    modified: datetime = described.get("LastModifiedTime", described["CreationTime"])
    return modified


def _update(package: str, parameters: list[str]) -> str | None:
    try:
        cloudformation.update_stack(
            StackName=os.environ["STACK"],
            UsePreviousTemplate=True,
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[
                {"ParameterKey": key, "ParameterValue": package}
                if key == os.environ["PARAMETER"]
                else {"ParameterKey": key, "UsePreviousValue": True}
                for key in parameters
            ],
        )
    except ClientError as error:  # CloudFormation says all of these with one code
        message = error.response["Error"]["Message"]
        if NOTHING_TO_DO in message:
            return "UNCHANGED"
        if "IN_PROGRESS" in message:  # another update was quicker
            return None
        raise
    return "UPDATING"
