"""Contract tests of local/hooks/glue.py and what it consists of: runs, their view of S3, workflows and triggers."""

import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.local

ROLE = "arn:aws:iam::000000000000:role/glue"
# Doubles each day's values, as the platform's own job does: lists with boto3, reads with Spark, replaces partitions.
SPARK = """
import json, os, sys
import boto3
from pyspark.sql import SparkSession

arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
spark, s3 = SparkSession.builder.getOrCreate(), boto3.client("s3")
spark.conf.set("spark.sql.shuffle.partitions", "2")

def keys(prefix):
    return sorted(item["Key"] for item in s3.list_objects_v2(Bucket="glue-data", Prefix=prefix)["Contents"])

def curate():
    table = spark.read.parquet(arguments["--source"]).selectExpr("value * 2 AS value", "day")
    table.coalesce(1).write.mode("overwrite").option("partitionOverwriteMode", "dynamic").partitionBy("day").parquet(
        "s3://glue-data/out/")

curate()
first = keys("out/day=")
s3.copy_object(Bucket="glue-data", Key="in/day=2/late.parquet", CopySource="glue-data/in/day=1/a.parquet")
s3.delete_object(Bucket="glue-data", Key="in/day=1/a.parquet")
curate()
print(json.dumps({"first": first, "second": keys("out/day="), "arguments": arguments, "conf":
    spark.conf.get("spark.sql.ansi.enabled"), "endpoint": os.environ["AWS_ENDPOINT_URL"]}))
"""
SCRIPTS = {
    "spark.py": SPARK,
    "quick.py": "import sys\nprint('arguments', *sys.argv[1:])",
    "wait.py": "import time\nprint('waiting', flush=True)\ntime.sleep(1)",
    "fail.py": "raise ValueError('no such flight')",
}


def parquet(**columns: list[Any]) -> bytes:
    """A Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


@pytest.fixture(scope="module")
def glue(client: Callable[[str], Any]) -> Iterator[Any]:
    """A Glue client, with jobs named after SCRIPTS, two days of data and a queue of what S3 tells the event bus."""
    s3, glue, sqs = client("s3"), client("glue"), client("sqs")
    s3.create_bucket(Bucket="glue-data")
    s3.put_bucket_notification_configuration(
        Bucket="glue-data", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    for day in (1, 2):
        s3.put_object(Bucket="glue-data", Key=f"in/day={day}/a.parquet", Body=parquet(value=[day]))
    for name, script in SCRIPTS.items():
        s3.put_object(Bucket="glue-data", Key=f"code/{name}", Body=script.encode())
        glue.create_job(
            Name=name, Role=ROLE, GlueVersion="5.1", Timeout=5, ExecutionProperty={"MaxConcurrentRuns": 1},
            Command={"Name": "glueetl", "ScriptLocation": f"s3://glue-data/code/{name}"},
            JobRunQueuingEnabled=name == "wait.py",
            DefaultArguments={"--source": "s3://glue-data/none/", "--conf": "spark.sql.ansi.enabled=true"},
        )  # fmt: skip
    queue = sqs.create_queue(QueueName="glue-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events = client("events")
    events.put_rule(Name="glue-events", EventPattern=json.dumps({"source": ["aws.s3"]}))
    events.put_targets(Rule="glue-events", Targets=[{"Id": "queue", "Arn": arn}])
    yield glue
    events.remove_targets(Rule="glue-events", Ids=["queue"])


def state(glue: Any, job: str, run_id: str) -> str:
    return glue.get_job_run(JobName=job, RunId=run_id)["JobRun"]["JobRunState"]


def until(glue: Any, job: str, run_id: str, *states: str, seconds: float = 120) -> dict[str, Any]:
    """The run once it is in one of these states."""
    deadline = time.monotonic() + seconds
    while (found := state(glue, job, run_id)) not in states:
        assert time.monotonic() < deadline, f"{job} is {found}"
        time.sleep(0.1)
    return glue.get_job_run(JobName=job, RunId=run_id)["JobRun"]


def output(client: Callable[[str], Any], run_id: str, kind: str = "output") -> str:
    """A run's log."""
    page = client("logs").get_log_events(logGroupName=f"/aws-glue/jobs/{kind}", logStreamName=run_id)
    return "\n".join(event["message"] for event in page["events"])


def said(client: Callable[[str], Any]) -> list[dict[str, Any]]:
    """The events since the last call."""
    sqs, found = client("sqs"), []
    queue = sqs.get_queue_url(QueueName="glue-events")["QueueUrl"]
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_spark_job_reads_and_writes_s3(client: Callable[[str], Any], glue: Any) -> None:
    """Spark and boto3 see the same objects at every moment; a rewritten partition loses its old file."""
    said(client)
    run_id = glue.start_job_run(JobName="spark.py", Arguments={"--source": "s3://glue-data/in/"})["JobRunId"]
    run = until(glue, "spark.py", run_id, "SUCCEEDED", "FAILED")
    assert run["JobRunState"] == "SUCCEEDED", run["ErrorMessage"] + output(client, run_id, "error")
    told = json.loads(output(client, run_id))
    assert told["arguments"].items() >= {"--JOB_NAME": "spark.py", "--JOB_RUN_ID": run_id,
                                         "--source": "s3://glue-data/in/"}.items()  # fmt: skip
    assert told["conf"] == "true"
    assert told["endpoint"] == client("s3").meta.endpoint_url
    day_1, day_2 = told["first"]
    kept, replaced = told["second"]
    assert kept == day_1, "a day that has no data any more is left alone by a dynamic overwrite"
    assert replaced.startswith("out/day=2/part-") and replaced != day_2
    body = client("s3").get_object(Bucket="glue-data", Key=replaced)["Body"].read()
    assert sorted(pq.read_table(io.BytesIO(body))["value"].to_pylist()) == [2, 4]
    events = said(client)
    created = [e["detail"]["object"]["key"] for e in events if e["detail-type"] == "Object Created"]
    assert {day_1, day_2, replaced} <= {*created}
    assert not [key for key in created if "temporary" in key or key.endswith(".crc")]
    deleted = [e["detail"]["object"]["key"] for e in events if e["detail-type"] == "Object Deleted"]
    assert day_2 in deleted


def test_a_failing_script_says_why(client: Callable[[str], Any], glue: Any) -> None:
    """ErrorMessage is the exception, the traceback is in the error log, a second run is refused meanwhile."""
    run_id = glue.start_job_run(JobName="fail.py")["JobRunId"]
    with pytest.raises(ClientError, match="ConcurrentRunsExceeded"):
        glue.start_job_run(JobName="fail.py")
    run = until(glue, "fail.py", run_id, "FAILED")
    assert run["ErrorMessage"] == "ValueError: no such flight"
    assert "Traceback" in output(client, run_id, "error")


def test_queue(glue: Any) -> None:
    """A run beyond MaxConcurrentRuns waits for the first to end."""
    first, second = (glue.start_job_run(JobName="wait.py")["JobRunId"] for _ in range(2))
    assert state(glue, "wait.py", second) == "WAITING"
    until(glue, "wait.py", first, "SUCCEEDED")
    until(glue, "wait.py", second, "SUCCEEDED")
    with pytest.raises(ClientError, match="stopping a run is not in the local cloud"):
        glue.batch_stop_job_run(JobName="wait.py", JobRunIds=[second])


def test_event_trigger_batches(client: Callable[[str], Any], glue: Any) -> None:
    """Events start the workflow at BatchSize or after BatchWindow; its jobs get its name; one run at a time."""
    glue.create_workflow(Name="flow")
    glue.create_trigger(
        Name="arrived", WorkflowName="flow", Type="EVENT", Actions=[{"JobName": "quick.py"}, {"JobName": "fail.py"}],
        EventBatchingCondition={"BatchSize": 2, "BatchWindow": 2},
    )  # fmt: skip
    arn = "arn:aws:glue:us-east-1:000000000000:workflow/flow"
    events = client("events")
    events.put_rule(Name="arrivals", EventPattern=json.dumps(
        {"source": ["aws.s3"], "detail": {"object": {"key": [{"prefix": "arrivals/"}]}}}))  # fmt: skip
    events.put_targets(Rule="arrivals", Targets=[{"Id": "flow", "Arn": arn, "RoleArn": ROLE}])

    def runs() -> list[dict[str, Any]]:
        return [run for run in glue.get_job_runs(JobName="quick.py")["JobRuns"] if run["TriggerName"] == "arrived"]

    def last() -> dict[str, Any]:
        return glue.get_workflow(Name="flow")["Workflow"]["LastRun"]

    def eventually(count: int, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while len(runs()) < count or last()["Status"] != "COMPLETED":
            assert time.monotonic() < deadline, runs()
            time.sleep(0.1)

    glue.stop_trigger(Name="arrived")
    client("s3").put_object(Bucket="glue-data", Key="arrivals/0", Body=b"")
    client("s3").put_object(Bucket="glue-data", Key="arrivals/1", Body=b"")
    time.sleep(0.5)
    glue.start_trigger(Name="arrived")
    assert not runs(), "a deactivated trigger takes no events"
    for number in range(5):  # two batches and a rest: the second and third wait for the run, then go as one
        client("s3").put_object(Bucket="glue-data", Key=f"arrivals/{number}", Body=b"")
    eventually(2)
    assert len(runs()) == 2
    client("s3").put_object(Bucket="glue-data", Key="arrivals/last", Body=b"")
    assert len(runs()) == 2, "one event waits for another, or for BatchWindow"
    eventually(3)
    manual = glue.start_workflow_run(Name="flow")["RunId"]
    eventually(4)
    assert last()["WorkflowRunId"] == manual
    assert (last()["Statistics"]["SucceededActions"], last()["Statistics"]["FailedActions"]) == (1, 1)
    started = next(run for run in runs() if run["Arguments"]["--WORKFLOW_RUN_ID"] == manual)
    assert f"--WORKFLOW_NAME flow --WORKFLOW_RUN_ID {manual}" in output(client, started["Id"])


def test_refuses_triggers_that_would_not_fire(glue: Any) -> None:
    """What this local cloud doesn't do fails by its name."""
    with pytest.raises(ClientError, match="CONDITIONAL trigger other: the local cloud has triggers of workflows alone"):
        glue.create_trigger(Name="other", Type="CONDITIONAL", Actions=[{"JobName": "quick.py"}])


def test_refuses_jobs_that_would_not_run(glue: Any) -> None:
    """A Python shell job, and modules beside a script, are refused by name."""
    glue.create_job(
        Name="shell", Role=ROLE, Command={"Name": "pythonshell", "ScriptLocation": "s3://glue-data/code/quick.py"}
    )
    with pytest.raises(ClientError, match="a pythonshell job is not in the local cloud"):
        glue.start_job_run(JobName="shell")
    run_id = glue.start_job_run(JobName="quick.py", Arguments={"--extra-py-files": "s3://a/b.zip"})["JobRunId"]
    assert "--extra-py-files" in until(glue, "quick.py", run_id, "FAILED")["ErrorMessage"]
