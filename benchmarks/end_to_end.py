"""`python -m benchmarks.end_to_end`: flights from a producer to Parquet in S3, through the sandbox's real stacks.

The CDK CLI deploys the streaming path to a local cloud; a producer process sends at a rate; what has landed is counted
from the objects' own Parquet footers each second. Firehose holds records back for the interval of its BufferingHints,
so the window begins with the first object that lands, when its buffers are as full as they get, and the backlog is
what was acknowledged longer ago than that interval and has not landed.
"""

import bisect
import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import mean, quantiles
from typing import Any

import pyarrow.parquet as pq

from benchmarks.figures import Figure, write
from components.delivery import TRANSFORM_MIB
from config.sandbox import SETTINGS
from local import deploy, server, tools
from local.cloud import Cloud
from producers import damage, deployment, flights

STACKS = ("foundation", "data-lake", "streaming")  # the least that the path needs
PREFIX, RAW = str(SETTINGS["prefix"]), "flights/"
CAPACITY = "default capacity of an on-demand stream"
CAPACITY_RATE = 4_000  # https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html
RATE = 4_500
WINDOW_SECONDS = 60
AROUND = 5  # seconds on both sides of a moment that its backlog is the mean of: records land by the thousand
AT_ONCE = 200_000
LATE_SECONDS = 300  # after the last record, when it is clear that the path does not keep up
PEER, PEER_RECORDS = "MiniStack's own Firehose", 100
COPIED = (  # to the peer's delivery stream
    "BucketARN", "RoleARN", "Prefix", "ErrorOutputPrefix", "BufferingHints", "DataFormatConversionConfiguration",
    "DynamicPartitioningConfiguration",
)  # fmt: skip
Client = Callable[[str], Any]


@dataclass
class Landed:
    """The raw objects that were not there before: when each was first seen (seconds since 1970), and its rows."""

    s3: Any
    bucket: str
    objects: dict[str, tuple[float, int]] = field(default_factory=dict)
    before: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.before = set(self.keys())

    def keys(self) -> Iterator[str]:
        """The keys of all raw objects."""
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=RAW):
            yield from (item["Key"] for item in page.get("Contents", []))

    def look(self) -> int:
        """Count the rows of objects that are new; returns all rows so far."""
        for key in self.keys():
            if key not in self.objects and key not in self.before:
                self.objects[key] = (time.time(), pq.ParquetFile(self.body(key)).metadata.num_rows)
        return self.by(time.time())

    def body(self, key: str) -> io.BytesIO:
        """An object's bytes."""
        return io.BytesIO(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def by(self, moment: float) -> int:
        """Rows that had landed by then."""
        return sum(rows for seen, rows in self.objects.values() if seen <= moment)

    def events(self) -> Iterator[tuple[str, float]]:
        """Each event's id, and when its object was seen."""
        for key, (seen, _) in self.objects.items():
            for event_id in pq.read_table(self.body(key), columns=["event_id"])["event_id"].to_pylist():
                yield event_id, seen


@dataclass
class Run:
    """One run of the producer: when each valid record was acknowledged, and what landed."""

    taken: list[tuple[str, float]]
    landed: Landed
    hold: float  # seconds that Firehose holds records back
    cpu: dict[str, float]  # microseconds a record, by process

    @property
    def start(self) -> float:
        """When the first object landed."""
        return min(seen for seen, _ in self.landed.objects.values())

    @property
    def end(self) -> float:
        """When the last object landed."""
        return max(seen for seen, _ in self.landed.objects.values())

    def backlog(self, seconds: float) -> float:
        """Records due and not landed, around so many seconds after the start."""
        times = [at for _, at in self.taken]
        moments = [self.start + seconds + offset for offset in range(-AROUND, AROUND + 1)]
        return mean(bisect.bisect(times, moment - self.hold) - self.landed.by(moment) for moment in moments)

    def waits(self) -> list[float]:
        """Seconds from acknowledged to landed, of every record; to the second that the objects are looked at."""
        acknowledged = dict(self.taken)
        return [seen - acknowledged[event_id] for event_id, seen in self.landed.events()]


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


def run(cloud: Cloud, *options: str) -> Run:
    """Run the producer and look each second until all has landed. Raises RuntimeError when it fails."""
    client = cloud.session().client
    target = deployment.find(client("cloudformation"), PREFIX)
    described = client("firehose").describe_delivery_stream(DeliveryStreamName=target.streams["flights"].delivery)
    hints = described["DeliveryStreamDescription"]["Destinations"][0]["ExtendedS3DestinationDescription"]
    landed, output = Landed(client("s3"), target.raw_bucket), cloud.state / "acknowledged.txt"
    command = [sys.executable, "-m", "benchmarks.paced_producer", "--prefix", PREFIX, "--output", str(output), *options]
    with subprocess.Popen(command, cwd=tools.ROOT, env=cloud.environment()) as producer:
        roots = {"server": server_process(cloud), "producer": producer.pid}
        before = used = cpu_seconds(roots)
        while producer.poll() is None:
            time.sleep(1)
            print(f"{landed.look():,} rows landed ", end="\r", file=sys.stderr, flush=True)
            used = cpu_seconds(roots) if producer.poll() is None else used
    if producer.returncode:
        raise RuntimeError(f"the producer failed with {producer.returncode}; its last lines are above")
    taken = list(acknowledged(output))
    deadline = time.monotonic() + LATE_SECONDS
    while (rows := landed.look()) < len(taken) and time.monotonic() < deadline:
        time.sleep(1)
        print(f"{rows:,} of {len(taken):,} rows landed ", end="\r", file=sys.stderr, flush=True)
    used |= {name: seconds for name, seconds in cpu_seconds(roots).items() if name != "producer"}
    cpu = {name: (seconds - before[name]) * 1e6 / len(taken) for name, seconds in used.items()}
    return Run(taken, landed, hints["BufferingHints"]["IntervalInSeconds"], cpu)


def paced(cloud: Cloud) -> Iterable[Figure]:
    """Send at RATE until the window has passed, and look at the window."""
    hold = int(SETTINGS["streaming"]["buffer_seconds"])  # type: ignore[index]
    found = run(cloud, f"--rate={RATE}", f"--seconds={hold + WINDOW_SECONDS + 3 * AROUND}")
    rate = (found.landed.by(found.start + WINDOW_SECONDS) - found.landed.by(found.start)) / WINDOW_SECONDS
    waits = quantiles(found.waits(), n=100)
    held = f"Firehose's buffering interval of {found.hold:.0f} s"
    yield Figure("end to end, sustained for 60 s", "records/s", [rate], CAPACITY, [CAPACITY_RATE], (">=", 1))
    early, late = found.backlog(20), found.backlog(60)
    print(f"the backlog is {early:,.0f} records at 20 s and {late:,.0f} at 60 s")
    # What one call of the function takes lands together: a backlog can't be told closer than that.
    yield Figure("backlog's growth from 20 s to 60 s", "records", [late - early], None, (), ("<=", batch(cloud, found)))
    yield Figure("put to raw, p50", "s", [waits[49]], held, [found.hold])
    yield Figure("put to raw, p99", "s", [waits[98]], held, [found.hold])
    for name, microseconds in found.cpu.items():
        yield Figure(f"processor time, {name}", "us a record", [microseconds])


def batch(cloud: Cloud, found: Run) -> int:
    """Records of one call of the function, by the mean size of what the producer sent."""
    sent = (cloud.state / "acknowledged.bytes").read_text()
    return int(TRANSFORM_MIB * 2**20 / (int(sent) / len(found.taken)))


def at_once(cloud: Cloud) -> Figure:
    """Send as fast as the stream takes it; the rate from the first put to the last object."""
    found = run(cloud, f"--limit={AT_ONCE}")
    rate = len(found.taken) / (found.end - found.taken[0][1])
    return Figure("end to end, at once", "records/s", [rate], PEER, [unmodified(cloud)])


def unmodified(ours: Cloud) -> float:
    """Records/s of the emulator without our hooks, by a delivery stream with the same settings and function."""
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w") as log:
        cloud = Cloud(Path(folder), tools.free_port(), enforce_iam=False)
        settings = server.settings(cloud.port, cloud.state, enforce_iam=False, keep=False) | {"TMPDIR": folder}
        command = [sys.executable, "-m", "ministack"]
        with subprocess.Popen(command, env=cloud.environment() | settings, stdout=log, stderr=log) as process:
            try:
                while process.poll() is None and not cloud.healthy():
                    time.sleep(0.1)
                return peer_rate(ours.session().client, cloud.session().client)
            finally:
                process.terminate()


def peer_rate(ours: Client, client: Client) -> float:
    """Records/s of flights put into a copy of our delivery stream; the emulator delivers before it answers."""
    target = deployment.find(ours("cloudformation"), PREFIX)
    described = ours("firehose").describe_delivery_stream(DeliveryStreamName=target.streams["flights"].delivery)
    given = described["DeliveryStreamDescription"]["Destinations"][0]["ExtendedS3DestinationDescription"]
    schema = given["DataFormatConversionConfiguration"]["SchemaConfiguration"]
    table = ours("glue").get_table(DatabaseName=schema["DatabaseName"], Name=schema["TableName"])["Table"]
    client("s3").create_bucket(Bucket=target.raw_bucket)
    client("glue").create_database(DatabaseInput={"Name": schema["DatabaseName"]})
    columns = {name: table[name] for name in ("Name", "StorageDescriptor", "PartitionKeys")}
    client("glue").create_table(DatabaseName=schema["DatabaseName"], TableInput=columns)
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        for file in (tools.ROOT / "lambda" / "records_transform").glob("*.py"):
            archive.write(file, file.name)
        for file in (tools.ROOT / "contracts").glob("*.py"):
            archive.write(file, file.relative_to(tools.ROOT))
    variables = {"CONTRACT": "flights", "QUARANTINE_BUCKET": target.quarantine_bucket, "QUARANTINE_PREFIX": RAW}
    function = client("lambda").create_function(
        FunctionName="transform", Runtime="python3.12", Handler="handler.handler", Role=given["RoleARN"], Timeout=60,
        Code={"ZipFile": code.getvalue()}, Environment={"Variables": variables},
    )["FunctionArn"]  # fmt: skip
    parameters = [{"ParameterName": "LambdaArn", "ParameterValue": function}]
    processing = {"Enabled": True, "Processors": [{"Type": "Lambda", "Parameters": parameters}]}
    kept = {name: given[name] for name in COPIED} | {"ProcessingConfiguration": processing}
    client("kinesis").create_stream(StreamName="events", ShardCount=1)
    stream = client("kinesis").describe_stream_summary(StreamName="events")["StreamDescriptionSummary"]["StreamARN"]
    client("firehose").create_delivery_stream(
        DeliveryStreamName="peer",
        DeliveryStreamType="KinesisStreamAsSource",
        KinesisStreamSourceConfiguration={"KinesisStreamARN": stream, "RoleARN": given["RoleARN"]},
        ExtendedS3DestinationConfiguration=kept,
    )
    sent = [{"Data": damage.encode(event), "PartitionKey": "a"} for event in islice(flights.events([1]), PEER_RECORDS)]
    client("kinesis").put_records(StreamName="events", Records=sent[:1])  # starts the function
    landed = Landed(client("s3"), target.raw_bucket)
    started = time.monotonic()
    client("kinesis").put_records(StreamName="events", Records=sent)
    seconds = time.monotonic() - started
    if (found := landed.look()) != PEER_RECORDS:
        raise RuntimeError(f"the peer had delivered {found} of {PEER_RECORDS} records when it answered")
    return PEER_RECORDS / seconds


def main() -> None:
    """Deploy, send at a rate and at once, write the figures; fails when a goal is missed."""
    with tempfile.TemporaryDirectory() as folder, Cloud(Path(folder), tools.free_port()) as cloud:
        for line in deploy.deploy(cloud, "sandbox", stacks=STACKS):
            print(line[:100].ljust(100), end="\r", file=sys.stderr, flush=True)
        figures = [*paced(cloud), at_once(cloud)]
    sys.exit(0 if write("end_to_end", figures) else "a goal is missed: is the machine busy? Run it again alone")


if __name__ == "__main__":
    main()
