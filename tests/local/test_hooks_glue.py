"""Contract tests of local/hooks/glue.py and what it consists of: runs, their view of S3, workflows and triggers."""

import io
import json
import time
import zipfile
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
import helper

arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
spark, s3 = SparkSession.builder.getOrCreate(), boto3.client("s3")
spark.conf.set("spark.sql.shuffle.partitions", "2")

def keys(prefix):
    return sorted(item["Key"] for item in s3.list_objects_v2(Bucket="glue-data", Prefix=prefix)["Contents"])

def curate():
    table = spark.read.parquet(arguments["--source"]).selectExpr(f"value * {helper.FACTOR} AS value", "day")
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
    "wait.py": "import time\nprint('waiting', flush=True)\ntime.sleep(600)",
    "fail.py": "raise ValueError('no such flight')",
}


def parquet(**columns: list[Any]) -> bytes:
    """A Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def zipped(name: str, text: str) -> bytes:
    """A zip with one file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, text)
    return file.getvalue()


HELPER = zipped("helper.py", "FACTOR = 2")


@pytest.fixture(scope="module")
def glue(client: Callable[[str], Any]) -> Iterator[Any]:
    """A Glue client, with jobs named after SCRIPTS, two days of data and a queue of what the event bus says."""
    s3, glue, sqs = client("s3"), client("glue"), client("sqs")
    s3.create_bucket(Bucket="glue-data")
    s3.put_bucket_notification_configuration(
        Bucket="glue-data", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    s3.put_object(Bucket="glue-data", Key="code/helper.zip", Body=HELPER)
    for day in (1, 2):
        s3.put_object(Bucket="glue-data", Key=f"in/day={day}/a.parquet", Body=parquet(value=[day]))
    for name, script in SCRIPTS.items():
        s3.put_object(Bucket="glue-data", Key=f"code/{name}", Body=script.encode())
        glue.create_job(
            Name=name, Role=ROLE, GlueVersion="5.1", Timeout=5, ExecutionProperty={"MaxConcurrentRuns": 1},
            Command={"Name": "glueetl", "ScriptLocation": f"s3://glue-data/code/{name}"},
            JobRunQueuingEnabled=name == "wait.py",
            DefaultArguments={"--source": "s3://glue-data/none/", "--extra-py-files": "s3://glue-data/code/helper.zip",
                              "--conf": "spark.sql.ansi.enabled=true"},
        )  # fmt: skip
    queue = sqs.create_queue(QueueName="glue-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events = client("events")
    events.put_rule(Name="glue-events", EventPattern=json.dumps({"source": ["aws.glue", "aws.s3"]}))
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
    ended = [e["detail"] for e in events if e["detail-type"] == "Glue Job State Change"]
    assert [(e["jobName"], e["state"], e["jobRunId"]) for e in ended] == [("spark.py", "SUCCEEDED", run_id)]


def test_a_failing_script_says_why(client: Callable[[str], Any], glue: Any) -> None:
    """ErrorMessage is the exception, the traceback is in the error log, a second run is refused meanwhile."""
    run_id = glue.start_job_run(JobName="fail.py")["JobRunId"]
    with pytest.raises(ClientError, match="ConcurrentRunsExceeded"):
        glue.start_job_run(JobName="fail.py")
    run = until(glue, "fail.py", run_id, "FAILED")
    assert run["ErrorMessage"] == "ValueError: no such flight"
    assert "Traceback" in output(client, run_id, "error")


def test_queue_stop_and_timeout(glue: Any) -> None:
    """A run beyond MaxConcurrentRuns waits for the first to be stopped; Timeout (minutes) ends a run."""
    first, second = (glue.start_job_run(JobName="wait.py")["JobRunId"] for _ in range(2))
    until(glue, "wait.py", first, "RUNNING")
    assert state(glue, "wait.py", second) == "WAITING"
    third = glue.start_job_run(JobName="wait.py")["JobRunId"]
    answer = glue.batch_stop_job_run(JobName="wait.py", JobRunIds=[first, third, "unknown"])
    assert [done["JobRunId"] for done in answer["SuccessfulSubmissions"]] == [first, third]
    assert answer["Errors"][0]["ErrorDetail"]["ErrorCode"] == "EntityNotFoundException"
    until(glue, "wait.py", first, "STOPPED")
    until(glue, "wait.py", third, "STOPPED")
    until(glue, "wait.py", second, "RUNNING")
    glue.batch_stop_job_run(JobName="wait.py", JobRunIds=[second])
    until(glue, "wait.py", second, "STOPPED")


def test_event_trigger_batches_and_conditional_follows(client: Callable[[str], Any], glue: Any) -> None:
    """Events start the workflow at BatchSize or after BatchWindow; its jobs get its name; one run at a time."""
    glue.create_workflow(Name="flow")
    glue.create_trigger(
        Name="arrived", WorkflowName="flow", Type="EVENT", Actions=[{"JobName": "quick.py"}],
        EventBatchingCondition={"BatchSize": 2, "BatchWindow": 2},
    )  # fmt: skip
    glue.create_trigger(
        Name="then", WorkflowName="flow", Type="CONDITIONAL", StartOnCreation=True, Actions=[{"JobName": "fail.py"}],
        Predicate={"Conditions": [{"LogicalOperator": "EQUALS", "JobName": "quick.py", "State": "SUCCEEDED"}]},
    )  # fmt: skip
    arn = "arn:aws:glue:us-east-1:000000000000:workflow/flow"
    events = client("events")
    events.put_rule(Name="arrivals", EventPattern=json.dumps(
        {"source": ["aws.s3"], "detail": {"object": {"key": [{"prefix": "arrivals/"}]}}}))  # fmt: skip
    events.put_targets(Rule="arrivals", Targets=[{"Id": "flow", "Arn": arn, "RoleArn": ROLE}])

    def runs() -> list[dict[str, Any]]:
        return glue.get_workflow_runs(Name="flow", IncludeGraph=True)["Runs"]

    def eventually(count: int, status: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while [run["Status"] for run in runs()].count(status) < count:
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
    eventually(1, "RUNNING")
    eventually(2, "COMPLETED")
    first = runs()[-1]
    assert first["Statistics"]["SucceededActions"] == 1
    assert first["Statistics"]["FailedActions"] == 1
    started = glue.get_job_runs(JobName="quick.py")["JobRuns"][0]
    assert started["TriggerName"] == "arrived"
    assert f"--WORKFLOW_NAME flow --WORKFLOW_RUN_ID {first['WorkflowRunId']}" in output(client, started["Id"])
    assert {node["Name"] for node in first["Graph"]["Nodes"]} == {"arrived", "then", "quick.py", "fail.py"}
    assert len(runs()) == 2
    assert glue.get_workflow_run(Name="flow", RunId=first["WorkflowRunId"])["Run"]["Status"] == "COMPLETED"
    manual = glue.start_workflow_run(Name="flow")["RunId"]
    eventually(3, "COMPLETED")
    assert runs()[0]["WorkflowRunId"] == manual


def test_triggers_outside_workflows(glue: Any) -> None:
    """StartTrigger fires an ON_DEMAND trigger; a CONDITIONAL one follows each time its predicate comes true."""
    glue.create_trigger(Name="now", Type="ON_DEMAND", Actions=[{"JobName": "quick.py", "Arguments": {"--a": "b"}}])
    condition = {"LogicalOperator": "EQUALS", "JobName": "quick.py", "State": "SUCCEEDED"}
    glue.create_trigger(
        Name="after", Type="CONDITIONAL", StartOnCreation=True, Actions=[{"JobName": "fail.py"}],
        Predicate={"Logical": "AND", "Conditions": [condition]},
    )  # fmt: skip
    before = len(glue.get_job_runs(JobName="fail.py")["JobRuns"])
    glue.start_trigger(Name="now")
    run = next(run for run in glue.get_job_runs(JobName="quick.py")["JobRuns"] if run["TriggerName"] == "now")
    assert run["Arguments"] == {"--a": "b"}
    until(glue, "quick.py", run["Id"], "SUCCEEDED")
    deadline = time.monotonic() + 10
    while not (followed := glue.get_job_runs(JobName="fail.py")["JobRuns"][before:]):
        assert time.monotonic() < deadline, "nothing followed"
    assert [run["TriggerName"] for run in followed] == ["after"]
    until(glue, "fail.py", followed[0]["Id"], "FAILED")
