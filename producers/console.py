"""What both commands share: which deployment, and progress on stderr."""

import argparse
import sys
import time
from collections.abc import Callable

from config import ENVIRONMENTS, REGION, settings_of
from producers.kinesis import Progress

_REPORT_SECONDS = 2.0


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
