"""`python -m benchmarks.end_to_end`: flights from the producer to Parquet in S3 through the local cloud's real stacks.

The sandbox's streaming path is deployed by the CDK CLI; a producer process sends at a rate; what has landed is counted
from the footers of the Parquet objects each second. Firehose holds records back for its BufferingHints, as AWS's does,
so the window begins when the first object lands: buffers are as full then as they get, and the backlog is what was
acknowledged longer ago than that interval and has not landed.
"""

import argparse
import bisect
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

import pyarrow.parquet as pq

from config.sandbox import SETTINGS
from local import deploy, tools
from local.cloud import Cloud
from producers import deployment

STACKS = ("foundation", "data-lake", "streaming")
PREFIX = str(SETTINGS["prefix"])
RAW = "flights/"
CAPACITY = 4_000  # records/s of an on-demand stream by default: docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html
WINDOW_SECONDS = 60
AROUND = 5  # seconds on both sides of a moment that its backlog is the mean of: records land in hundreds at once
FOLDER = tools.ROOT / "build" / "bench"


@dataclass
class Landed:
    """Raw objects as they were first seen: (seconds since 1970, key, rows)."""

    s3: Any
    bucket: str
    objects: dict[str, tuple[float, int]] = field(default_factory=dict)

    def look(self) -> int:
        """Count the rows of objects that are new; returns how many rows there are."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=RAW)
        for key in [item["Key"] for page in pages for item in page.get("Contents", [])]:
            if key not in self.objects:
                self.objects[key] = (time.time(), pq.ParquetFile(io.BytesIO(self.body(key))).metadata.num_rows)
        return sum(rows for _, rows in self.objects.values())

    def body(self, key: str) -> bytes:
        """An object's bytes."""
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def at(self, moment: float) -> int:
        """Rows that had landed by then."""
        return sum(rows for seen, rows in self.objects.values() if seen <= moment)

    def ids(self, keys: Iterator[str]) -> Iterator[tuple[str, float]]:
        """The event ids in objects, each with the time its object was seen."""
        for key in keys:
            for event_id in pq.read_table(io.BytesIO(self.body(key)), columns=["event_id"])[0].to_pylist():
                yield event_id, self.objects[key][0]


def cpu_seconds(roots: dict[str, int]) -> dict[str, float]:
    """User and system seconds so far of processes by name, each with those below it that have no name of their own."""
    parents, used = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        parents[int(stat.parent.name)] = int(fields[1])
        used[int(stat.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    names = {process: name for name, process in roots.items()}
    found = dict.fromkeys(roots, 0.0)
    for process in used:
        above = process
        while above in parents and above not in names:
            above = parents[above]
        if above in names:
            name = names[above] if process == above or names[above] != "server" else "functions"
            found[name] = found.get(name, 0.0) + used[process]
    return found


def server_process(cloud: Cloud) -> int:
    """The emulator's process id: the supervisor's child."""
    children = Path(f"/proc/{cloud.process()}/task/{cloud.process()}/children").read_text().split()
    return int(children[0])


@dataclass
class Run:
    """One run of the producer: when records were taken, and what landed."""

    taken: list[tuple[str, float]]
    landed: Landed
    hold: float  # seconds that Firehose may hold records back
    cpu: dict[str, float]  # microseconds a record, by process

    def backlog(self, moment: float) -> float:
        """Valid records acknowledged before the buffering interval and not landed, around a moment."""
        times = [at for _, at in self.taken]
        moments = [moment + offset for offset in range(-AROUND, AROUND + 1)]
        return mean(bisect.bisect(times, at - self.hold) - self.landed.at(at) for at in moments)


def send(cloud: Cloud, *options: str, until: float) -> Run:
    """Run the producer and watch until all that is valid has landed, or `until` seconds after the last record."""
    clients = cloud.session().client
    target = deployment.find(clients("cloudformation"), PREFIX)
    described = clients("firehose").describe_delivery_stream(DeliveryStreamName=target.delivery_stream)
    destination = described["DeliveryStreamDescription"]["Destinations"][0]["ExtendedS3DestinationDescription"]
    landed = Landed(clients("s3"), target.raw_bucket)
    already = landed.look()
    output = cloud.state / "taken.txt"
    output.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.paced_producer", "--prefix", PREFIX, "--output", str(output), *options]
    with subprocess.Popen(command, cwd=tools.ROOT, env=cloud.environment()) as producer:
        roots = {"server": server_process(cloud), "producer": producer.pid}
        before, used = cpu_seconds(roots), {}
        ended = None
        while True:
            time.sleep(1)
            rows = landed.look() - already
            used = (
                cpu_seconds(roots)
                if ended is None
                else used | {name: value for name, value in cpu_seconds(roots).items() if name != "producer"}
            )
            if ended is None and producer.poll() is not None:
                ended = time.monotonic()
            taken = list(read_taken(output)) if ended is not None else []
            print(f"{rows:>9,} landed", end="\r", file=sys.stderr)
            if ended is not None and (rows >= len(taken) or time.monotonic() - ended > until):
                break
    cpu = {name: (used[name] - before.get(name, 0)) * 1e6 / len(taken) for name in used}
    return Run(taken, landed, destination["BufferingHints"]["IntervalInSeconds"], cpu)


def read_taken(output: Path) -> Iterator[tuple[str, float]]:
    """(Event id, time) of each valid record that the stream took."""
    for line in output.read_text().splitlines():
        at, _, ids = line.partition(" ")
        yield from ((event_id, float(at)) for event_id in ids.split())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description=__doc__)
    parser.add_argument("--rate", type=float, default=4_500.0)
    parser.add_argument("--state", type=Path, default=FOLDER / "cloud")
    options = parser.parse_args()
    with Cloud(options.state.resolve(), tools.free_port()) as cloud:
        for line in deploy.deploy(cloud, "sandbox", stacks=STACKS):
            print(line[:120].ljust(120), end="\r", file=sys.stderr)
        print(file=sys.stderr)
        seconds = SETTINGS["streaming"]["buffer_seconds"] + WINDOW_SECONDS + 2 * AROUND
        run = send(cloud, f"--rate={options.rate}", f"--seconds={seconds}", until=seconds)
        start = min(at for at, _ in run.landed.objects.values())
        rate = (run.landed.at(start + WINDOW_SECONDS) - run.landed.at(start)) / WINDOW_SECONDS
        print(f"offered {options.rate}, taken {len(run.taken)} in {run.taken[-1][1] - run.taken[0][1]:.1f}")
        print(
            f"sustained {rate:.0f}/s; backlog at 20 s {run.backlog(start + 20):.0f}, at 60 s {run.backlog(start + 60):.0f}"
        )
        print({name: round(value, 1) for name, value in run.cpu.items()})
        print([round(run.backlog(start + s)) for s in range(0, 66, 5)])
        when = dict(run.taken)
        waits = [
            seen - when[event_id] for event_id, seen in run.landed.ids(iter(run.landed.objects)) if event_id in when
        ]
        print(f"waits: p50 {median(waits):.1f}, p99 {quantiles(waits, n=100)[98]:.1f} of {len(waits)}; held {run.hold}")


if __name__ == "__main__":
    main()
