"""Puts an approved model package into the serving stack; CloudFormation replaces the model, or rolls back."""

import logging
import os
import time
from typing import Any

import boto3
from botocore.exceptions import ClientError

log = logging.getLogger()
log.setLevel(logging.INFO)

cloudformation = boto3.client("cloudformation")
POLL_SECONDS = 2


def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """Update the stack named in STACK so that its parameter PARAMETER is the approved package.

    Delivered twice, the second update has nothing to do. While another update runs it waits, and raises TimeoutError
    shortly before its own time is up, so that the event is retried.
    """
    package = event["detail"]["ModelPackageArn"]
    while True:
        try:
            return _update(package)
        except ClientError as error:
            if not _busy(error):
                raise
        if context.get_remaining_time_in_millis() < 10_000:
            raise TimeoutError(f"{os.environ['STACK']} is still being updated; {package} waits for the retry")
        time.sleep(POLL_SECONDS)


def _update(package: str) -> dict[str, str]:
    stack_id, parameter = os.environ["STACK"], os.environ["PARAMETER"]
    stack = cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]
    current = {given["ParameterKey"]: given["ParameterValue"] for given in stack["Parameters"]}
    if current[parameter] == package and not stack["StackStatus"].endswith("IN_PROGRESS"):
        log.info("%s serves %s already", stack_id, package)
        return {"status": "UNCHANGED", "package": package}
    cloudformation.update_stack(
        StackName=stack_id,
        UsePreviousTemplate=True,
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[
            {"ParameterKey": key, "ParameterValue": package}
            if key == parameter
            else {"ParameterKey": key, "UsePreviousValue": True}
            for key in current
        ],
    )
    log.info("%s is being updated to serve %s", stack_id, package)
    return {"status": "UPDATING", "package": package}


def _busy(error: ClientError) -> bool:
    """CloudFormation refuses an update while another runs: a ValidationError that says IN_PROGRESS."""
    details = error.response["Error"]
    return details["Code"] == "ValidationError" and "IN_PROGRESS" in details["Message"]
