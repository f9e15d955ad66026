"""One run of the paced producer against a local cloud: when each record was acknowledged, and when it had landed."""

import bisect
import contextlib
import io
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from statistics import mean
from typing import Any

import pyarrow.parquet as pq

from demo.platform import destination
from local import tools
from local.cloud import Cloud
from producers import deployment

FLIGHTS = "flights/"
LATE_SECONDS = 300  # after the last record, when it is clear that the path does not keep up
STEPS = 50  # in which a mean over a time is taken, on both sides


@dataclass
class Landed:
    """The objects below a prefix that were not there before: when S3 took each (seconds since 1970), and its events.

    S3 says so to the second, the local cloud's to the millisecond.
    """

    s3: Any
    bucket: str
    objects: dict[str, tuple[float, list[str]]] = field(default_factory=dict)
    before: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.before = {key for key, _ in self.listed()}

    def listed(self) -> Iterator[tuple[str, float]]:
        """Key and time of each object."""
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=FLIGHTS):
            yield from ((item["Key"], item["LastModified"].timestamp()) for item in page.get("Contents", []))

    def look(self) -> int:
        """Read the objects that are new; returns the number of all events so far."""
        for key, at in self.listed():
            if key not in self.objects and key not in self.before:
                with contextlib.suppress(self.s3.exceptions.NoSuchKey):  # replaced meanwhile
                    body = io.BytesIO(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
                    self.objects[key] = (at, pq.ParquetFile(body).read(["event_id"])["event_id"].to_pylist())
        return self.by(math.inf)

    def by(self, moment: float) -> int:
        """Events that had landed by then."""
        return sum(len(ids) for at, ids in self.objects.values() if at <= moment)

    def times(self) -> dict[str, float]:
        """When each event had landed."""
        found: dict[str, float] = {}
        for at, ids in self.objects.values():
            found |= {event_id: min(at, found.get(event_id, at)) for event_id in ids}
        return found


@dataclass
class Run:
    """One run of the producer: when each valid record was acknowledged, and what landed."""

    taken: list[tuple[str, float]]
    landed: Landed
    hold: float  # seconds that Firehose holds records back
    cpu: dict[str, float]  # microseconds a record, by process

    @property
    def sent(self) -> float:
        """When the last record was acknowledged."""
        return self.taken[-1][1]

    @property
    def start(self) -> float:
        """When the first object landed."""
        return min(at for at, _ in self.landed.objects.values())

    @property
    def end(self) -> float:
        """When the last object landed."""
        return max(at for at, _ in self.landed.objects.values())

    def due(self, moment: float) -> int:
        """Records that were acknowledged longer ago than Firehose holds them back."""
        return bisect.bisect(self.taken, moment - self.hold, key=itemgetter(1))

    def backlog(self, seconds: float) -> int:
        """Records due and not landed, so many seconds after the start."""
        return self.due(self.start + seconds) - self.landed.by(self.start + seconds)

    def mean_backlog(self, seconds: float, around: float) -> float:
        """Its mean over a time around that."""
        return mean(self.backlog(seconds + around * step / STEPS) for step in range(-STEPS, STEPS + 1))

    def waits(self) -> list[float]:
        """Seconds from acknowledged to landed, of every record."""
        acknowledged = dict(self.taken)
        return [at - acknowledged[event_id] for event_id, at in self.landed.times().items()]


def cpu_seconds(roots: dict[str, int]) -> dict[str, float]:
    """User and system seconds so far of processes by name; children of "server" count as "functions"."""
    parents, used = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        process = int(stat.parent.name)
        parents[process] = int(fields[1])
        used[process] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    names = {process: name for name, process in roots.items()}
    found = {"server": 0.0, "functions": 0.0, "producer": 0.0}
    for process, seconds in used.items():
        if name := names.get(process) or ("functions" if parents[process] == roots["server"] else None):
            found[name] += seconds
    return found


def server_process(cloud: Cloud) -> int:
    """The emulator's process id: the supervisor's child."""
    supervisor = cloud.process()
    return int(Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()[0])


def acknowledged(output: Path) -> Iterator[tuple[str, float]]:
    """(Event id, seconds since 1970) of each valid record that the stream took, from the producer's lines."""
    for line in output.read_text().splitlines():
        at, *ids = line.split(" ")
        yield from ((event_id, float(at)) for event_id in ids if event_id)


def run(cloud: Cloud, prefix: str, *options: str, curated: Landed | None = None) -> Run:
    """Run the producer and look each second until all has landed, and is curated. Raises RuntimeError when it fails."""
    client = cloud.session().client
    target = deployment.find(client("cloudformation"), prefix)
    hold = destination(client("firehose"), target.streams["flights"].delivery)["BufferingHints"]["IntervalInSeconds"]
    landed, output = Landed(client("s3"), target.raw_bucket), cloud.state / "acknowledged.txt"
    command = [sys.executable, "-m", "benchmarks.paced_producer", "--prefix", prefix, "--output", str(output), *options]
    with subprocess.Popen(command, cwd=tools.ROOT, env=cloud.environment()) as producer:
        roots = {"server": server_process(cloud), "producer": producer.pid}
        before = used = cpu_seconds(roots)
        while producer.poll() is None:
            time.sleep(1)
            print(f"{landed.look():,} rows landed ", end="\r", file=sys.stderr, flush=True)
            if curated:
                curated.look()
            used = cpu_seconds(roots) if producer.poll() is None else used
    if producer.returncode:
        raise RuntimeError(f"the producer failed with {producer.returncode}; its last lines are above")
    taken = list(acknowledged(output))
    deadline = time.monotonic() + LATE_SECONDS
    events = len(dict(taken))  # some were sent twice, and are curated once
    while time.monotonic() < deadline and (
        (rows := landed.look()) < len(taken) or (curated and curated.look() < events)
    ):
        time.sleep(1)
        print(f"{rows:,} of {len(taken):,} rows landed ", end="\r", file=sys.stderr, flush=True)
    used |= {name: seconds for name, seconds in cpu_seconds(roots).items() if name != "producer"}
    cpu = {name: (seconds - before[name]) * 1e6 / len(taken) for name, seconds in used.items()}
    return Run(taken, landed, hold, cpu)
