"""Which deployment a command is for, and what its stacks put out."""

import argparse
from typing import Any

from botocore.exceptions import ClientError

from config import ENVIRONMENTS, REGION, settings_of


class NotDeployedError(LookupError):
    """A stack or an output that a command needs is not there; the message says which."""


def add_deployment(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which deployment is meant."""
    parser.add_argument("--environment", required=True, choices=ENVIRONMENTS)
    parser.add_argument("--prefix", help="of the stack names, default as in config/<environment>.py")
    parser.add_argument("--region", help="default as in config/<environment>.py")


def stack_prefix(options: argparse.Namespace) -> str:
    """Return what the names of the deployment's stacks begin with."""
    return options.prefix or str(settings_of(options.environment)["prefix"])


def stack_region(options: argparse.Namespace) -> str:
    """Return where the deployment's stacks are: not where the user's profile is, which the deployment did not ask."""
    return options.region or str(settings_of(options.environment).get("region", REGION))


def outputs(cloudformation: Any, stack: str, *keys: str) -> dict[str, str]:
    """Return the stack's outputs, these among them. Raises NotDeployedError if the stack or one is missing."""
    try:
        described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        raise NotDeployedError(f"there is no stack {stack} in this account and region: deploy it first") from error
    found = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    missing = [key for key in keys if key not in found]
    if missing:
        raise NotDeployedError(f"the stack {stack} has no output {', '.join(missing)}: deploy it again")
    return found
