"""What both commands share: which deployment, and progress on stderr."""

import argparse
import sys
import time
from collections.abc import Callable

from producers.kinesis import Progress

_REPORT_SECONDS = 2.0


def add_deployment(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which deployment is meant."""
    parser.add_argument("--environment", required=True, help="sandbox, staging or production")
    parser.add_argument("--prefix", help="of the stack names, default millrace-<environment>")
    parser.add_argument("--region", help="default: AWS_DEFAULT_REGION or the profile's")


def stack_prefix(options: argparse.Namespace) -> str:
    """Return what the names of the deployment's stacks begin with."""
    return options.prefix or f"millrace-{options.environment}"


def reporter(started: float) -> Callable[[Progress], None]:
    """Return a callback that prints the counts to stderr every other second."""
    last = started

    def report(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _REPORT_SECONDS:
            last = now
            counts = f"{progress.sent:>9,} sent, {progress.refused} refused, {progress.retried} retried"
            print(f"{counts}, {progress.sent / (now - started):,.0f}/s", file=sys.stderr)

    return report
