"""`python -m benchmarks.faults`: a million events meet every fault at once, and each is accounted for.

The stream throttles and loses answers, the transform crashes mid-batch, the cloud is stopped and started again, the
producer is killed and goes on from its ledger, the Spark job is killed: all from outside, see benchmarks/injected.py.
`make test` runs the same on 20,000 events. See docs/decisions/0022-never-lost.md.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.injected import CrashingFunction, Wire, kill_job
from config.sandbox import SETTINGS
from demo import accounting, ingest
from demo.platform import LinkBrokenError, Platform, wait_for, wait_while_it_moves
from local import deploy, tools
from local.cloud import Cloud

ENVIRONMENT = "sandbox"
LAYERS = ("foundation", "data-lake", "streaming", "catalog-etl")
SEED = 2013
RATES = {"damage": 0.02, "duplicate": 0.03, "late": 0.2}
RESTARTED_AT, KILLED_AT = 1 / 3, 2 / 3  # of the events: the cloud, the producer

Show = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """Flights to send: dates as the producer's options take them."""

    years: str
    months: str
    days: str

    @property
    def flights(self) -> set[str]:
        """The ids of the events that are to be sent."""
        first, last = self.years.split("-")
        return accounting.flights_of(_range(self.months), _range(self.days), _range(self.years))


SMALL = Size("2013-2013", "1-1", "1-23")  # 20,013 events
NIGHTLY = Size("2013-2015", "1-12", "1-31")  # 1,010,328
