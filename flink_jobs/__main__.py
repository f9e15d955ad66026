"""Command line: `python -m flink_jobs start --environment sandbox` starts the deployed job, `stop` stops it.

Only a started application costs anything, so CloudFormation leaves it stopped. Stopping takes a snapshot, from which
the next start goes on.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

_POLL_SECONDS = 5
_TIMEOUT_SECONDS = 900
# verb -> (states it starts from, the one it passes through, the one it ends in)
STATES = {"start": ("READY", "STARTING", "RUNNING"), "stop": ("RUNNING", "STOPPING", "READY")}


class FlinkError(Exception):
    """The job could not be started or stopped; the message says why and what to do."""


def application_name(cloudformation: Any, prefix: str) -> str:
    """The application in the outputs of `<prefix>-real-time`. Raises FlinkError when there is none."""
    stack = f"{prefix}-real-time"
    try:
        described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        raise FlinkError(f"there is no stack {stack} in this account and region: deploy it first") from error
    for output in described.get("Outputs", []):
        if output["OutputKey"] == "FlinkApplicationName":
            return str(output["OutputValue"])
    raise FlinkError(f"the stack {stack} has no output FlinkApplicationName: deploy it again")


def bring(
    flink: Any, name: str, verb: str, say: Callable[[str], object], sleep: Callable[[float], None] = time.sleep
) -> None:
    """Start or stop the application and wait until it is; nothing when it is already. Raises FlinkError."""
    begin, passing, end = STATES[verb]
    status = _status(flink, name)
    if status == end:
        say(f"{name} is {end} already")
        return
    if status == begin:
        {"start": _start, "stop": _stop}[verb](flink, name)
    elif status != passing:
        raise FlinkError(f"{name} is {status}: wait until that has ended, then {verb} it again")
    for waited in range(0, _TIMEOUT_SECONDS, _POLL_SECONDS):
        status = _status(flink, name)
        say(f"{waited:>4} s  {name} is {status}")
        if status == end:
            return
        if status not in (begin, passing):
            break
        sleep(_POLL_SECONDS)
    raise FlinkError(f"{name} is {status}, not {end}: read its log group, which the stack's JobLogs resource names")


def _start(flink: Any, name: str) -> None:
    """From where the job stopped, if it ever did."""
    snapshots = flink.list_application_snapshots(ApplicationName=name, Limit=1)["SnapshotSummaries"]
    restore = "RESTORE_FROM_LATEST_SNAPSHOT" if snapshots else "SKIP_RESTORE_FROM_SNAPSHOT"
    configuration = {"ApplicationRestoreConfiguration": {"ApplicationRestoreType": restore}}
    flink.start_application(ApplicationName=name, RunConfiguration=configuration)


def _stop(flink: Any, name: str) -> None:
    flink.stop_application(ApplicationName=name)


def _status(flink: Any, name: str) -> str:
    return str(flink.describe_application(ApplicationName=name)["ApplicationDetail"]["ApplicationStatus"])


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says; exits with a message when it can't."""
    parser = argparse.ArgumentParser(prog="flink_jobs", description="Start or stop the deployed Flink job.")
    parser.add_argument("verb", choices=STATES)
    parser.add_argument("--environment", required=True, help="sandbox, staging or production")
    parser.add_argument("--prefix", help="of the stack names, default millrace-<environment>")
    parser.add_argument("--region", help="default: AWS_DEFAULT_REGION or the profile's")
    options = parser.parse_args(arguments)
    try:
        session = boto3.Session(region_name=options.region)
        name = application_name(session.client("cloudformation"), options.prefix or f"millrace-{options.environment}")
        bring(session.client("kinesisanalyticsv2"), name, options.verb, print)
    except (FlinkError, BotoCoreError, ClientError) as error:
        sys.exit(f"can't {options.verb} the job: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
