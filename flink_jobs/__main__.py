"""Command line: `python -m flink_jobs start --environment sandbox` starts the deployed job, `stop` stops it.

Only a started application costs anything, so CloudFormation leaves it stopped. Stopping takes a snapshot, from which
the next start goes on, or as `--restore` says: docs/real-time.md has when.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from command_line.deployment import NotDeployedError, add_deployment, outputs, stack_prefix, stack_region

_POLL_SECONDS = 5
_TIMEOUT_SECONDS = 900
# verb -> (states it starts from, the one it passes through, the one it ends in)
STATES = {"start": ("READY", "STARTING", "RUNNING"), "stop": ("RUNNING", "STOPPING", "READY")}
# What a start takes from the latest snapshot; state that fits nothing in the job fails it unless it may be left out.
# https://docs.aws.amazon.com/managed-flink/latest/apiv2/API_RunConfiguration.html
_LATEST = {"ApplicationRestoreConfiguration": {"ApplicationRestoreType": "RESTORE_FROM_LATEST_SNAPSHOT"}}
_NOTHING = {"ApplicationRestoreConfiguration": {"ApplicationRestoreType": "SKIP_RESTORE_FROM_SNAPSHOT"}}
RESTORES: dict[str, dict[str, Any]] = {
    "everything": _LATEST,
    "what-fits": _LATEST | {"FlinkRunConfiguration": {"AllowNonRestoredState": True}},
    "nothing": _NOTHING,
}


class FlinkError(Exception):
    """The job could not be started or stopped; the message says why and what to do."""


def bring(
    flink: Any,
    name: str,
    verb: str,
    say: Callable[[str], object],
    *,
    restore: str = "everything",
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Start or stop the application and wait until it is; nothing when it is already. Raises FlinkError."""
    begin, passing, end = STATES[verb]
    status = _status(flink, name)
    operation = None
    if status == end:
        say(f"{name} is {end} already")
        return
    if status == begin:
        operation = _start(flink, name, restore) if verb == "start" else _stop(flink, name)
    elif status != passing:
        raise FlinkError(f"{name} is {status}: wait until that has ended, then {verb} it again")
    expected = {begin, passing}
    for waited in range(0, _TIMEOUT_SECONDS, _POLL_SECONDS):
        status = _status(flink, name)
        say(f"{waited:>4} s  {name} is {status}")
        if status == end:
            return
        if status not in expected:  # back where it began, for one: a start that failed ends in READY
            break
        if status == passing:
            expected = {passing}
        sleep(_POLL_SECONDS)
    raise FlinkError(f"{name} is {status}, not {end}: {_reason(flink, name, operation)}")


def _start(flink: Any, name: str, restore: str) -> str | None:
    snapshots = flink.list_application_snapshots(ApplicationName=name, Limit=1)["SnapshotSummaries"]
    configuration = RESTORES[restore] if snapshots else _NOTHING
    answer: dict[str, str] = flink.start_application(ApplicationName=name, RunConfiguration=configuration)
    return answer.get("OperationId")


def _stop(flink: Any, name: str) -> str | None:
    answer: dict[str, str] = flink.stop_application(ApplicationName=name)
    return answer.get("OperationId")


def _status(flink: Any, name: str) -> str:
    return str(flink.describe_application(ApplicationName=name)["ApplicationDetail"]["ApplicationStatus"])


def _reason(flink: Any, name: str, operation: str | None) -> str:
    """Why the operation failed, in the service's words if it has any."""
    details: dict[str, Any] = {}
    if operation:
        described = flink.describe_application_operation(ApplicationName=name, OperationId=operation)
        details = described["ApplicationOperationInfoDetails"].get("OperationFailureDetails", {})
    words = details.get("ErrorInfo", {}).get("ErrorString")
    return f"{words or 'no reason given'}; the stack's ApplicationLogs have more, docs/real-time.md what to do"


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says; exits with a message when it can't."""
    parser = argparse.ArgumentParser(prog="flink_jobs", description="Start or stop the deployed Flink job.")
    parser.add_argument("verb", choices=STATES)
    add_deployment(parser)
    parser.add_argument(
        "--restore", choices=RESTORES, default="everything", help="what a start takes from the latest snapshot"
    )
    options = parser.parse_args(arguments)
    stack, output = f"{stack_prefix(options)}-real-time", "FlinkApplicationName"
    try:
        session = boto3.Session(region_name=stack_region(options))
        name = outputs(session.client("cloudformation"), stack, output)[output]
        bring(session.client("kinesisanalyticsv2"), name, options.verb, print, restore=options.restore)
    except (FlinkError, NotDeployedError, BotoCoreError, ClientError) as error:
        sys.exit(f"can't {options.verb} the job: {error}")
    except KeyboardInterrupt:
        print(f"stopped waiting, not the {options.verb}: the same command waits on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main(sys.argv[1:])
