"""The platform in the local cloud: every link carries, and each one, broken, makes the demo fail by its name.

The tests of this module share one deployment and follow the data, so they run in the order they stand in. Each takes
one link out through an AWS API, runs the demo's own step, and puts the link back for the next.
"""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import pytest
from pyarrow import parquet

from demo import accounting, ingest, loop, serving, steps
from demo.platform import LinkBrokenError, Platform, utc_now, wait_for
from demo.steps import Demo, Plan
from local import deploy, tools
from local.cloud import Cloud

DAYS = 10
# fmt: off
DEPARTURE = {  # as flink_jobs/delays writes them
    "scheduled": "2013-01-01T10:45:00Z", "year": 2013, "month": 1, "day": 1, "carrier": "B6", "origin": "JFK",
    "dest": "BQN", "hour": 5, "minute": 45, "sched_arr_time": 1022, "distance": 1576.0,
}
METRICS = {
    "airport": "JFK", "window_start": "2013-01-01T10:45:00Z", "flights": 3, "departed": 2, "mean_delay": 7.5,
    "max_delay": 16.0, "share_late": 0.5, "score": None, "anomaly": False,
}
# fmt: on


class Running:
    """The demo on a deployment of its own, a few days of each month."""

    def __init__(self, folder: Path) -> None:
        self.cloud = Cloud(folder / "cloud", tools.free_port())
        self.demo = Demo(self.cloud, Plan(DAYS), folder=folder / "demo")
        self.demo.folder.mkdir(parents=True)
        self.platform: Platform


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Every stack of the sandbox, deployed by the CDK CLI, with the roles of functions enforced."""
    found = Running(tmp_path_factory.mktemp("platform"))
    try:
        found.platform = steps.start_and_deploy(found.demo)
        gather = {"EventBatchingCondition": {"BatchSize": 100, "BatchWindow": 5}}  # its half minute is for people
        found.platform.client("glue").update_trigger(**trigger(found.platform), TriggerUpdate=gather)
        yield found
    finally:
        found.cloud.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that is known to be out need not be waited for."""
    monkeypatch.setattr(ingest, "TRIGGER_SLACK_SECONDS", 5)
    monkeypatch.setattr(ingest, "STALLED_SECONDS", 0)
    for name in ("NOTICE_SECONDS", "START_SECONDS"):
        monkeypatch.setattr(loop, name, 5)
    monkeypatch.setattr(serving, "APPROVAL_SECONDS", 5)


@contextmanager
def broken(link: str) -> Iterator[None]:
    """What runs inside fails, and names `link`."""
    with pytest.raises(LinkBrokenError) as caught:
        yield
    assert caught.value.link == link, caught.value


def rule(platform: Platform, stack: str, logical_id: str) -> dict[str, str]:
    """The rule of a stack whose logical id starts so, as an argument of enable_rule and disable_rule."""
    resources = platform.client("cloudformation").describe_stack_resources(StackName=f"{platform.prefix}-{stack}")
    names = [
        resource["PhysicalResourceId"].rpartition("/")[2]
        for resource in resources["StackResources"]
        if resource["ResourceType"] == "AWS::Events::Rule" and resource["LogicalResourceId"].startswith(logical_id)
    ]
    assert len(names) == 1
    return {"Name": names[0]}


def trigger(platform: Platform) -> dict[str, str]:
    """The workflow's trigger, as an argument of start_trigger and stop_trigger."""
    triggers = platform.client("glue").get_triggers()["Triggers"]
    return {"Name": next(t["Name"] for t in triggers if t["WorkflowName"] == platform.outputs["GlueWorkflowName"])}


def put(kinesis: Any, stream: str, values: list[dict[str, Any]]) -> None:
    """Put values onto a stream as JSON, all of which it takes."""
    records = [{"Data": json.dumps(value).encode(), "PartitionKey": str(n)} for n, value in enumerate(values)]
    assert kinesis.put_records(StreamName=stream, Records=records)["FailedRecordCount"] == 0


def test_every_resource_of_the_templates_is_created(running: Running) -> None:
    resources = running.demo.facts["resources"]
    assert resources["not_created"] == []
    assert resources["deployed"]["AWS::SageMaker::Endpoint"] == 1


def test_the_endpoint_answers_before_anything_is_trained(running: Running) -> None:
    row: dict[str, Any] = dict.fromkeys((*serving.TEXTS, *serving.NUMBERS))
    assert serving.predict(running.platform, [row, row]) == [0.231, 0.231]


def test_a_role_without_one_of_its_actions_breaks_its_function(running: Running) -> None:
    row: dict[str, Any] = dict.fromkeys((*serving.TEXTS, *serving.NUMBERS))
    function = running.platform.outputs["PredictFunctionName"]
    configuration = running.platform.client("lambda").get_function_configuration(FunctionName=function)
    iam, role = running.platform.client("iam"), configuration["Role"].rpartition("/")[2]
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    others = [each for each in policy["Statement"] if each["Action"] != "sagemaker:InvokeEndpoint"]
    assert len(others) == len(policy["Statement"]) - 1
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy | {"Statement": others}))
    with pytest.raises(LinkBrokenError, match=r"AccessDenied.*sagemaker:InvokeEndpoint"):
        serving.predict(running.platform, [row])
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))
    assert serving.predict(running.platform, [row]) == [0.231]


def test_departures_are_scored_and_delays_told_and_delivered(running: Running) -> None:
    """What Flink writes, which does not run here, put onto its streams."""
    client, outputs = running.platform.client, running.platform.outputs
    inbox = loop.Inbox(running.platform, "DelayAlertTopicArn")
    flights = ["2013-01-01-B6-725-JFK", "2013-01-01-UA-1545-EWR"]
    put(client("kinesis"), outputs["DeparturesStreamName"], [DEPARTURE | {"event_id": each} for each in flights * 2])
    anomaly = METRICS | {"score": 1.7, "anomaly": True}
    put(client("kinesis"), outputs["DelaysStreamName"], [METRICS, anomaly])

    def scores() -> dict[str, float] | None:
        items = client("dynamodb").scan(TableName=outputs["ScoresTableName"])["Items"]
        found = {item["event_id"]["S"]: float(item["late_probability"]["N"]) for item in items}
        return found if len(found) == len(flights) else None

    assert wait_for("scorer", "scores", scores, seconds=120) == dict.fromkeys(flights, 0.231)

    def told() -> list[str]:
        (notice,) = wait_for("post-processor", "a notice", lambda: list(inbox.envelopes()) or None, seconds=120)
        return [minute["window_start"] for minute in json.loads(notice["Message"])]

    assert told() == [anomaly["window_start"]]
    keys = wait_for(
        "delivery", "delays", lambda: list(running.platform.keys("CuratedBucketName", "delays/")) or None, seconds=120
    )
    assert all(key.startswith(f"delays/{utc_now():year=%Y/month=%m/day=%d}/") for key in keys)
    read = [running.platform.read(outputs["CuratedBucketName"], key) for key in keys]
    rows = [row for data in read for row in parquet.read_table(io.BytesIO(data)).to_pylist()]
    assert sorted(row["anomaly"] for row in rows) == [False, True]
    later = "2013-01-01T10:46:00Z"
    put(client("kinesis"), outputs["DelaysStreamName"], [anomaly, anomaly | {"window_start": later}])
    assert told() == [later]
    inbox.close()


def test_without_the_glue_trigger_nothing_is_curated(running: Running, impatient: None) -> None:
    glue = running.platform.client("glue")
    glue.stop_trigger(**trigger(running.platform))
    with broken("Glue trigger"):
        steps.replay(running.demo, running.platform, "1")
    glue.start_trigger(**trigger(running.platform))


@contextmanager
def failing_transforms(platform: Platform) -> Iterator[None]:
    """The transforms raise on every batch, as after a faulty deployment."""
    functions, formation = platform.client("lambda"), platform.client("cloudformation")
    resources = formation.describe_stack_resources(StackName=f"{platform.prefix}-streaming")["StackResources"]
    names = [each["PhysicalResourceId"] for each in resources if each["ResourceType"] == "AWS::Lambda::Function"]
    held = {name: functions.get_function_configuration(FunctionName=name)["Environment"] for name in names}
    for name, environment in held.items():
        wrong = {"Variables": environment["Variables"] | {"CONTRACT": "no such contract"}}
        functions.update_function_configuration(FunctionName=name, Environment=wrong)
    yield
    for name, environment in held.items():
        functions.update_function_configuration(FunctionName=name, Environment=environment)


def test_what_failing_transforms_leave_is_redriven(running: Running) -> None:
    platform, ledger = running.platform, running.demo.ledger
    before = ingest.acknowledged(accounting.read_ledger(ledger))
    with failing_transforms(platform):
        ingest.send(platform, ingest.Replay("2", f"1-{DAYS}"), ledger, running.cloud.environment(), print)
        sent = ingest.acknowledged(accounting.read_ledger(ledger)) - before
        wait_for("errors", f"{sent} records", lambda: failed_records(platform) == sent or None, seconds=120)
    running.demo.months.add(2)  # the next test waits for them and accounts for them
    command = [sys.executable, "-m", "producers", "redrive", "--environment", "sandbox", "--prefix", platform.prefix]
    done = subprocess.run(
        command, cwd=tools.ROOT, env=running.cloud.environment(), capture_output=True, text=True, check=True
    )
    summary = json.loads(done.stdout)
    assert (summary["sent"], summary["unreadable"], summary["problems"]) == (sent, 0, [])


def failed_records(platform: Platform) -> int:
    """How many error documents Firehose has written."""
    bucket = platform.outputs["RawBucketName"]
    return sum(platform.read(bucket, key).count(b"\n") for key in platform.keys("RawBucketName", "errors/"))


def test_every_event_is_accounted_for(running: Running) -> None:
    steps.replay(running.demo, running.platform, "3-4")  # the job finds January as well: it asks S3, not the events
    steps.account(running.demo, running.platform)
    facts = running.demo.facts
    assert facts["records_sent"] == facts["records_curated"] + sum(facts["records_quarantined"].values())
    weather = facts["weather"]
    assert weather["expected"] == weather["sent"] == weather["landed"] + weather["quarantined"] > 2_800
    assert weather["quarantined"] > 0
    assert [month["month"] for month in facts["months"]] == [1, 2, 3, 4]
    assert sum(month["flights"] for month in facts["months"]) == facts["records_curated"]
    for month in facts["months"]:
        assert all(0 < month[table] <= month["flights"] for table in ingest.JOINED)
    assert all(count > 0 for reason, count in facts["records_quarantined"].items() if reason != "oversize")


def test_duplicates_of_the_reference_table_go_where_the_catalogue_says(running: Running) -> None:
    """The job as it is deployed: its own arguments, its role, and the table that Athena reads."""
    platform = Platform(running.cloud.session(), running.platform.prefix)
    glue, job = platform.client("glue"), platform.outputs["MatchDuplicatesJobName"]
    run = glue.start_job_run(JobName=job)["JobRunId"]

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = glue.get_job_run(JobName=job, RunId=run)["JobRun"]
        return found if found["JobRunState"] in ("SUCCEEDED", "FAILED", "TIMEOUT") else None

    told = wait_for("Glue job", f"the end of {job}", ended, seconds=300)
    assert told["JobRunState"] == "SUCCEEDED", told["ErrorMessage"]
    (found,) = platform.query("SELECT count(*) AS named, count(DISTINCT cluster) AS twice FROM airport_duplicates")
    assert int(found["named"]) > int(found["twice"]) > 0


def test_without_the_approval_rule_the_old_model_stays(running: Running, impatient: None) -> None:
    events = running.platform.client("events")
    approval = rule(running.platform, "serving", "PackageApproved")
    events.disable_rule(**approval)
    with broken("approval rule"):
        steps.train_and_serve(running.demo, running.platform)
    events.enable_rule(**approval)


def test_an_approved_model_answers_for_april(running: Running) -> None:
    steps.train_and_serve(running.demo, running.platform)
    model, drift = running.demo.facts["model"], running.demo.facts["drift"]
    assert 0.55 < model["auc_april"]["before_departure"] < model["auc_april"]["at_departure"] < 0.95
    captured = len(list(running.platform.keys("CapturedBucketName")))
    assert running.demo.facts["endpoint"]["captured"] == captured - 2  # the baseline answered twice above
    assert drift["april"]["drifted"] == bool(drift["april"]["violations"])


def test_without_the_retrain_rule_drift_changes_nothing(running: Running, impatient: None) -> None:
    steps.replay(running.demo, running.platform, "7")
    events = running.platform.client("events")
    retrain = rule(running.platform, "monitoring", "Retrain")
    events.disable_rule(**retrain)
    with broken("retrain rule"):
        steps.close_the_loop(running.demo, running.platform)
    events.enable_rule(**retrain)


def test_without_the_alarm_action_nobody_is_told(running: Running, impatient: None) -> None:
    cloudwatch = running.platform.client("cloudwatch")
    alarms = [running.platform.outputs["DriftAlarmName"]]
    cloudwatch.disable_alarm_actions(AlarmNames=alarms)
    cloudwatch.set_alarm_state(AlarmName=alarms[0], StateValue="OK", StateReason="the next test begins")
    started = utc_now()
    with broken("alarm action"):
        steps.close_the_loop(running.demo, running.platform)
    cloudwatch.enable_alarm_actions(AlarmNames=alarms)
    # The other half of the loop does not hang on the notice: it has retrained, and the new model serves.
    package, _ = loop.wait_for_retraining(running.platform, started)
    serving.wait_until_served(running.platform, package)


VARIANT = """
import sys
sys.path.insert(0, {root!r})
from config import sandbox
from stacks import streaming
import app

streaming.FLIGHTS_PREFIX = "arrivals/"
sandbox.SETTINGS |= {{"training": {{"rounds": 7}}, "monitoring": {{"drifted_features": 40}}}}
app.main()
"""


def test_what_a_stack_changes_changes_here(running: Running, tmp_path: Path) -> None:
    """A prefix, a hyperparameter and a threshold, changed in a stack and deployed anew, with local/ as it is."""
    (tmp_path / "app.py").write_text(VARIANT.format(root=str(tools.ROOT)))
    (tmp_path / "cdk.json").write_text((tools.ROOT / "cdk.json").read_text())
    for _ in deploy.deploy(running.cloud, steps.ENVIRONMENT, folder=tmp_path):
        continue
    platform = Platform(running.cloud.session(), running.platform.prefix)

    replay = ingest.Replay("9", "1-1")
    ingest.send(platform, replay, tmp_path / "ledger.csv", running.cloud.environment(), print)
    wait_for("prefix", "objects", lambda: list(platform.keys("RawBucketName", "arrivals/")) or None, seconds=120)
    assert not list(platform.keys("RawBucketName", "flights/year=2013/month=09/"))

    trained = serving.train(platform, "before_departure", "2013-04-30", DAYS)
    package = serving.registered(platform, trained)
    assert trees(platform, package) == 7

    cloudwatch = platform.client("cloudwatch")
    alarm = platform.outputs["DriftAlarmName"]
    assert cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["Threshold"] == 40
    for violations, state in ((39, "OK"), (40, "ALARM")):
        put_violations(platform, violations)
        wait_for("threshold", state, lambda state=state: alarm_is(platform, state), seconds=120)


def trees(platform: Platform, package: str) -> int:
    """The number of trees in a model package's ONNX model."""
    described = platform.client("sagemaker").describe_model_package(ModelPackageName=package)
    uri = described["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    with tarfile.open(fileobj=io.BytesIO(platform.read(bucket, key))) as archive:
        name = next(name for name in archive.getnames() if name.endswith("model.onnx"))
        model = onnx.load(archive.extractfile(name))
    ensemble = next(node for node in model.graph.node if node.op_type.startswith("TreeEnsemble"))
    ids = next(attribute for attribute in ensemble.attribute if attribute.name == "nodes_treeids")
    return len(set(ids.ints))


def put_violations(platform: Platform, count: int) -> None:
    """What the drift job publishes."""
    data = {
        "MetricName": "drift_violations",
        "Dimensions": [{"Name": "Endpoint", "Value": platform.outputs["EndpointName"]}],
        "Value": count,
    }
    platform.client("cloudwatch").put_metric_data(Namespace="Millrace/ModelMonitor", MetricData=[data])


def alarm_is(platform: Platform, state: str) -> bool | None:
    """True when the drift alarm is in `state`."""
    alarms = platform.client("cloudwatch").describe_alarms(AlarmNames=[platform.outputs["DriftAlarmName"]])
    return True if alarms["MetricAlarms"][0]["StateValue"] == state else None


def test_without_the_event_source_nothing_lands(running: Running, impatient: None) -> None:
    name = running.platform.outputs["DeliveryStreamName"]
    running.platform.client("firehose").delete_delivery_stream(DeliveryStreamName=name)
    with broken("event source"):
        steps.replay(running.demo, running.platform, "8")


def test_destroy_leaves_nothing(running: Running) -> None:
    for _ in deploy.destroy(running.cloud):
        continue
    assert deploy.leftovers(running.cloud) == []


def test_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    state = tmp_path / "cloud"
    demo = subprocess.Popen(
        [sys.executable, "-m", "demo", "--state", str(state), "--folder", str(tmp_path / "demo")],
        cwd=tools.ROOT,
        env=os.environ | {"MILLRACE_PORT": str(tools.free_port())},
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for("start", "the deploy", lambda: True if (state / "deployment.json").exists() else None, seconds=120)
    demo.send_signal(signal.SIGINT)
    printed, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "nothing is left running" in printed
    commands = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in commands
