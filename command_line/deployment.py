"""Which deployment a command is for, and what its stacks put out."""

import argparse
from typing import Any

from botocore.exceptions import ClientError


def add_deployment(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which deployment is meant."""
    parser.add_argument("--environment", required=True, help="sandbox, staging or production")
    parser.add_argument("--prefix", help="of the stack names, default millrace-<environment>")
    parser.add_argument("--region", help="default: AWS_DEFAULT_REGION or the profile's")


def stack_prefix(options: argparse.Namespace) -> str:
    """Return what the names of the deployment's stacks begin with."""
    return options.prefix or f"millrace-{options.environment}"


def outputs(cloudformation: Any, stack: str, *keys: str) -> dict[str, str]:
    """Return the stack's outputs, these among them. Raises LookupError if the stack or one of them is missing."""
    try:
        described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        raise LookupError(f"there is no stack {stack} in this account and region: deploy it first") from error
    found = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    missing = [key for key in keys if key not in found]
    if missing:
        raise LookupError(f"the stack {stack} has no output {', '.join(missing)}: deploy it again")
    return found
