"""What both commands share: progress on stderr."""

import sys
import time
from collections.abc import Callable

from producers.kinesis import Progress

_REPORT_SECONDS = 2.0


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
