"""A local cloud stopped and started again, with a producer that goes on sending: nothing acknowledged is lost."""

import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest

from local import tools
from local.cloud import Cloud
from producers.kinesis import Record, StreamProducer
from tests.local.delivery import BUCKET, HANDLER, ROLE, created, eventually, objects, stream

pytestmark = pytest.mark.local
NOTES = """
import base64, boto3, uuid

def handler(event, context):
    for record in event["Records"]:
        name = base64.b64decode(record["kinesis"]["data"]).decode()
        boto3.client("s3").put_object(Bucket="BUCKET", Key=f"read/{name}/{uuid.uuid4()}")
""".replace("BUCKET", BUCKET)
SMALL = {"BufferSizeInMBs": "0.01", "BufferIntervalInSeconds": "1"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud that keeps what it holds, with a delivery stream."""
    with Cloud(tmp_path_factory.mktemp("kept"), tools.free_port(), enforce_iam=False, keep=True) as cloud:
        client = cloud.session().client
        client("s3").create_bucket(Bucket=BUCKET)
        destination: dict[str, Any] = {"RoleARN": ROLE, "BucketARN": f"arn:aws:s3:::{BUCKET}", "Prefix": "out/"}
        destination["ProcessingConfiguration"] = created(client, "transform", HANDLER, **SMALL)
        settings = stream(client, "events", shards=1) | {"ExtendedS3DestinationConfiguration": destination}
        client("firehose").create_delivery_stream(DeliveryStreamName="delivery", **settings)
        yield cloud


@pytest.mark.requirement("str-kds")
def test_a_restart_loses_no_record(kept: Cloud) -> None:
    """What a producer that goes on sending had acknowledged is delivered, once, but for batches put twice."""
    client = kept.session().client
    ended = threading.Event()
    acknowledged: list[str] = []

    def records() -> Iterator[Record]:
        for number in itertools.count():
            if number % 500 == 0 and ended.wait(0.05):
                return
            yield Record(str(number), date(2013, 1, 1), "a", json.dumps({"n": number}).encode(), "good")

    producer = StreamProducer(
        client("kinesis"),
        "events",
        acknowledged=lambda taken: acknowledged.extend(record.event_id for record in taken),
        refuse=lambda record: pytest.fail(f"{record} was refused"),
    )
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(producer.send, records())
        eventually(lambda: len(acknowledged) > 10_000)
        kept.restart()
        before = len(acknowledged)
        eventually(lambda: len(acknowledged) > before + 5_000)
        ended.set()
        progress = sending.result()

    def delivered() -> Counter[str]:
        lines = [line for body in objects(client, "out/").values() for line in body.splitlines()]
        return Counter(str(json.loads(line)["n"]) for line in lines)

    assert progress.sent == len(acknowledged) == len(set(acknowledged))
    eventually(lambda: len(delivered()) >= progress.sent)
    assert delivered().keys() == set(acknowledged)
    assert delivered().total() - progress.sent <= progress.retried
    assert not [key for key in objects(client, "out/") if "processing-failed" in key]


def test_functions_go_on_reading_where_they_were(kept: Cloud) -> None:
    """What came while their mappings were disabled is read after a restart, and nothing is read twice."""
    client = kept.session().client
    names = {position: f"reads-{position.replace('_', '-')}" for position in ("TRIM_HORIZON", "LATEST")}
    mappings = []
    for position, name in names.items():
        created(client, name, NOTES)
        source = stream(client, name, shards=1)["KinesisStreamSourceConfiguration"]["KinesisStreamARN"]
        given = {"FunctionName": name, "EventSourceArn": source, "StartingPosition": position}
        mappings.append(client("lambda").create_event_source_mapping(**given)["UUID"])

    def put(record: str) -> None:
        for name in names.values():
            client("kinesis").put_record(StreamName=name, Data=f"{name}/{record}".encode(), PartitionKey="a")

    def enable(enabled: bool) -> None:
        for mapping in mappings:
            client("lambda").update_event_source_mapping(UUID=mapping, Enabled=enabled)

    def read() -> Counter[str]:
        return Counter(key.removeprefix("read/").rpartition("/")[0] for key in objects(client, "read/"))

    put("before")
    eventually(lambda: read().total() == 2)
    enable(False)
    put("meanwhile")
    kept.restart()
    enable(True)
    eventually(lambda: read().total() >= 4)
    assert read() == {f"{name}/{record}": 1 for name in names.values() for record in ("before", "meanwhile")}


def test_a_job_that_ran_has_failed_and_its_workflow_is_free(kept: Cloud) -> None:
    glue, s3 = kept.session().client("glue"), kept.session().client("s3")
    s3.put_object(Bucket=BUCKET, Key="wait.py", Body=b"import time; time.sleep(600)")
    command = {"Name": "glueetl", "ScriptLocation": f"s3://{BUCKET}/wait.py"}
    glue.create_job(Name="wait", Role=ROLE, Command=command, GlueVersion="5.1")
    glue.create_workflow(Name="waiting", MaxConcurrentRuns=1)
    glue.create_trigger(Name="waits", WorkflowName="waiting", Type="EVENT", Actions=[{"JobName": "wait"}])
    glue.start_workflow_run(Name="waiting")
    eventually(lambda: [run for run in glue.get_job_runs(JobName="wait")["JobRuns"] if run["JobRunState"] == "RUNNING"])
    kept.restart()
    (run,) = eventually(
        lambda: [run for run in glue.get_job_runs(JobName="wait")["JobRuns"] if run["JobRunState"] == "FAILED"]
    )
    assert run["ErrorMessage"] == "The local cloud was stopped while it ran"
    last = glue.get_workflow(Name="waiting")["Workflow"]["LastRun"]
    assert (last["Status"], last["Statistics"]["FailedActions"], last["Statistics"]["RunningActions"]) == (
        "COMPLETED",
        1,
        0,
    )
    glue.start_workflow_run(Name="waiting")


@pytest.mark.usefixtures("kept")
def test_a_start_without_resume_is_empty(kept: Cloud) -> None:
    kept.stop()
    kept.start(follow_me=True)
    assert kept.session().client("kinesis").list_streams()["StreamNames"] == []
