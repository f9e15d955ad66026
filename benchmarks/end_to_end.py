"""`python -m benchmarks.end_to_end`: flights from a producer to Parquet in S3, through the sandbox's real stacks.

The CDK CLI deploys the streaming path and the curating job to a local cloud; a producer process sends at a rate; what
has landed is counted from the objects themselves. Firehose holds records back for the interval of its BufferingHints,
so the window begins with the first object that lands, when its buffers are as full as they get, and the backlog is
what was acknowledged longer ago than that interval and has not landed. It takes six minutes.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import time
import zipfile
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.figures import Figure, write
from benchmarks.landing import FLIGHTS, Landed, Run, run
from components.delivery import TRANSFORM_MIB
from config.sandbox import SETTINGS
from demo import ingest
from demo.platform import Platform, destination
from local import deploy, server, tools
from local.cloud import Cloud
from producers import damage, deployment, flights

STACKS = ("foundation", "data-lake", "streaming", "catalog-etl")  # the least that the path needs
PREFIX = str(SETTINGS["prefix"])
CAPACITY = "default capacity of an on-demand stream"
CAPACITY_RATE = 4_000  # https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html
RATE = 4_500
WINDOW_SECONDS = 60
AROUND = 10  # seconds on both sides of a moment that its backlog is the mean of: records land by the thousand
AT_ONCE = 200_000
CURATED_RATE, CURATED_SECONDS = 300, 40  # few records, which leave the processors to the job
PEER, PEER_RECORDS = "MiniStack's own Firehose", 100
COPIED = (  # to the peer's delivery stream
    "BucketARN", "RoleARN", "Prefix", "ErrorOutputPrefix", "BufferingHints", "DataFormatConversionConfiguration",
    "DynamicPartitioningConfiguration",
)  # fmt: skip
Client = Callable[[str], Any]


def curated(cloud: Cloud, hold: int) -> Iterator[Figure]:
    """Send until Firehose has written for some seconds, and wait for the job; no event starts it any more after that.

    Only records count that Firehose has held back as on AWS: not those that it delivered early, in silence.
    """
    platform = Platform(cloud.session(), PREFIX, STACKS)
    for name, path in flights.reference_files().items():
        key = f"reference/{name}/{name}.csv"
        platform.client("s3").put_object(Bucket=platform.outputs["RawBucketName"], Key=key, Body=path.read_bytes())
    table = Landed(platform.client("s3"), platform.outputs["CuratedBucketName"])
    found = run(cloud, PREFIX, f"--rate={CURATED_RATE}", f"--seconds={hold + CURATED_SECONDS}", curated=table)
    ingest.stop_trigger(platform)
    jobs = platform.client("glue").get_job_runs(JobName=platform.outputs["GlueJobName"])["JobRuns"]
    begun = sorted(job["StartedOn"].timestamp() for job in jobs)
    put, raw, committed = dict(found.taken), found.landed.times(), table.times()
    if put.keys() != committed.keys():
        raise RuntimeError(f"{len(committed):,} of {len(put):,} flights were curated: see the job's log")
    parts = [split(put[name], at, committed[name], begun) for name, at in raw.items() if at <= found.sent]
    window = ingest.batch_seconds(platform)
    both = f"Firehose's interval and the trigger's window, {hold} s and {window} s"
    for name, seconds, peer, limit in (
        ("put to curated", [sum(part) for part in parts], both, hold + window),
        ("of that in Firehose", [part[0] for part in parts], "its interval", hold),
        ("of that before the job's run", [part[1] for part in parts], "the trigger's window", window),
        ("of that in the job's run", [part[2] for part in parts], None, 0),
    ):
        peers = [limit] if peer else []
        yield Figure(f"{name}, p50", "s", [median(seconds)], peer, peers)
        yield Figure(f"{name}, p99", "s", [quantiles(seconds, n=100)[98]], peer, peers)


def split(put: float, raw: float, committed: float, begun: Sequence[float]) -> tuple[float, float, float]:
    """Seconds that an event spent until it was raw, until the run that curated it began, and in that run.

    `begun` are the runs' starts, which Glue tells in whole seconds; what comes while a run is under way waits for none.
    """
    start = max(raw, begun[bisect(begun, committed) - 1])
    return raw - put, start - raw, committed - start


def paced(cloud: Cloud, hold: int) -> Iterator[Figure]:
    """Send at RATE until the window has passed, and look at the window."""
    found = run(cloud, PREFIX, f"--rate={RATE}", f"--seconds={hold + WINDOW_SECONDS + 1.5 * AROUND}")
    ends = found.start, found.start + WINDOW_SECONDS
    landed, due = ((count(ends[1]) - count(ends[0])) / WINDOW_SECONDS for count in (found.landed.by, found.due))
    yield Figure("end to end, sustained for 60 s", "records/s", [landed], CAPACITY, [CAPACITY_RATE], (">=", 1))
    # Damaged records never land, and are not among those offered.
    yield Figure("of the records offered", "records/s", [landed], "undamaged records acknowledged", [due])
    samples = [found.backlog(seconds) for seconds in range(20, 61)]
    print(f"the backlog is {samples[0]:,} records at 20 s, {samples[-1]:,} at 60 s", end=", ")
    print(f"from second to second {min(samples):,} to {max(samples):,}")
    early, late = (found.mean_backlog(seconds, AROUND) for seconds in (20, 60))
    # What one call of the function takes lands together: a backlog can't be told closer than that.
    yield Figure("backlog's growth from 20 s to 60 s", "records", [late - early], None, (), ("<=", batch(cloud, found)))
    waits = quantiles(found.waits(), n=100)
    held = f"Firehose's buffering interval of {found.hold:.0f} s"
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
    found = run(cloud, PREFIX, f"--limit={AT_ONCE}")
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
    given = destination(ours("firehose"), target.streams["flights"].delivery)
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
    variables = {"CONTRACT": "flights", "QUARANTINE_BUCKET": target.quarantine_bucket, "QUARANTINE_PREFIX": FLIGHTS}
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
    """Deploy, send a few, at a rate and at once, write the figures; fails when a goal is missed."""
    argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description=__doc__).parse_args()
    hold = int(SETTINGS["streaming"]["buffer_seconds"])  # type: ignore[index]
    with tempfile.TemporaryDirectory() as folder, Cloud(Path(folder), tools.free_port()) as cloud:
        for line in deploy.deploy(cloud, "sandbox", stacks=STACKS):
            print(line[:100].ljust(100), end="\r", file=sys.stderr, flush=True)
        figures = [*curated(cloud, hold), *paced(cloud, hold), at_once(cloud)]
    sys.exit(0 if write("end_to_end", figures) else "a goal is missed: is the machine busy? Run it again alone")


if __name__ == "__main__":
    main()
