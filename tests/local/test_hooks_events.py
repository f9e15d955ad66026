"""Contract tests of local/hooks/events.py: alarms, rules and their targets, as AWS documents them."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.local
SECONDS = 60.0


def eventually(ask: Callable[[], Any]) -> Any:
    """The first true answer, within SECONDS: what is asked about happens in other threads of the local cloud."""
    deadline = time.monotonic() + SECONDS
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


@pytest.fixture(scope="module")
def inbox(client: Any) -> Callable[[str], Callable[[], list[dict[str, Any]]]]:
    """Makes a queue and answers (arn, receive): receive() takes the messages that have arrived, decoded."""
    sqs = client("sqs")

    def make(name: str) -> Any:
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

        def receive() -> list[dict[str, Any]]:
            messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return [json.loads(message["Body"]) for message in messages]

        return arn, receive

    return make


@pytest.fixture(scope="module")
def rule(client: Any) -> Callable[..., None]:
    """Makes a rule with one target: rule(name, pattern, target, state)."""
    events = client("events")

    def make(name: str, pattern: dict[str, Any], target: dict[str, Any], state: str = "ENABLED") -> None:
        events.put_rule(Name=name, EventPattern=json.dumps(pattern), State=state)
        events.put_targets(Rule=name, Targets=[{"Id": "1", **target}])

    return make


def test_alarm_reaches_people_and_the_bus_within_seconds(client: Any, inbox: Any, rule: Any) -> None:
    """The alarm's SNS action and the state change event, each once."""
    cloudwatch, sns = client("cloudwatch"), client("sns")
    mail, mails = inbox("mail")
    bus, changes = inbox("bus")
    topic = sns.create_topic(Name="drift")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=mail)
    cloudwatch.put_metric_alarm(
        AlarmName="drift",
        Namespace="Monitor",
        MetricName="violations",
        Dimensions=[{"Name": "Endpoint", "Value": "e"}],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=3,
        AlarmActions=[topic],
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )
    rule(
        "on-drift",
        {
            "source": ["aws.cloudwatch"],
            "detail-type": ["CloudWatch Alarm State Change"],
            "detail": {"alarmName": ["drift"], "state": {"value": ["ALARM"]}},
        },
        {"Arn": bus},
    )

    def report(violations: int) -> str:
        data = {"MetricName": "violations", "Value": violations, "Dimensions": [{"Name": "Endpoint", "Value": "e"}]}
        cloudwatch.put_metric_data(Namespace="Monitor", MetricData=[data])
        return cloudwatch.describe_alarms(AlarmNames=["drift"])["MetricAlarms"][0]["StateValue"]

    assert [report(0), report(3), report(4)] == ["OK", "ALARM", "ALARM"]
    (change,) = eventually(changes)
    assert change["resources"] == [cloudwatch.describe_alarms(AlarmNames=["drift"])["MetricAlarms"][0]["AlarmArn"]]
    assert (change["detail"]["previousState"]["value"], change["detail"]["state"]["value"]) == ("OK", "ALARM")
    (letter,) = eventually(mails)
    assert json.loads(letter["Message"])["NewStateValue"] == "ALARM"

    cloudwatch.disable_alarm_actions(AlarmNames=["drift"])
    cloudwatch.set_alarm_state(AlarmName="drift", StateValue="OK", StateReason="test")
    cloudwatch.set_alarm_state(AlarmName="drift", StateValue="ALARM", StateReason="test")
    assert len(eventually(changes)) == 1, "the bus hears of alarms whose actions are disabled"
    assert mails() == []
    cloudwatch.delete_alarms(AlarmNames=["drift"])


def test_new_objects_reach_enabled_rules_only(client: Any, inbox: Any, rule: Any) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="objects")
    to_bus: dict[str, Any] = {"EventBridgeConfiguration": {}}
    s3.put_bucket_notification_configuration(Bucket="objects", NotificationConfiguration=to_bus)
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": ["objects"]}, "object": {"key": [{"prefix": "flights/"}]}},
    }
    on, created = inbox("on")
    off, nothing = inbox("off")
    rule("on", pattern, {"Arn": on})
    rule("off", pattern, {"Arn": off}, "DISABLED")
    for key in ("flights/a", "other/b"):
        s3.put_object(Bucket="objects", Key=key, Body=b"x")
    (event,) = eventually(created)
    assert (event["detail"]["object"]["key"], event["detail"]["object"]["size"]) == ("flights/a", 1)
    assert nothing() == []
    for key in ("flights/a", "other/b"):
        s3.delete_object(Bucket="objects", Key=key)
    s3.delete_bucket(Bucket="objects")


def test_rule_starts_a_pipeline_with_the_events_values(client: Any, rule: Any) -> None:
    """SageMakerPipelineParameters: a literal, and a JSON path into the event."""
    sagemaker = client("sagemaker")
    parameters = [{"Name": name, "Type": "String", "DefaultValue": ""} for name in ("Status", "Alarm")]
    expected = {"Status": "Approved", "Alarm": "drift"}
    same = [{"Type": "Equals", "LeftValue": {"Get": f"Parameters.{k}"}, "RightValue": v} for k, v in expected.items()]
    compare = {"Conditions": same, "IfSteps": [], "ElseSteps": []}
    definition = {
        "Version": "2020-12-01",
        "Parameters": parameters,
        "Steps": [{"Name": "Compare", "Type": "Condition", "Arguments": compare}],
    }
    arn = sagemaker.create_pipeline(
        PipelineName="retrain",
        PipelineDefinition=json.dumps(definition),
        ClientRequestToken="t" * 32,
        RoleArn="arn:aws:iam::000000000000:role/pipeline",
    )["PipelineArn"]
    rule(
        "retrain",
        {"source": ["test.alarm"]},
        {
            "Arn": arn,
            "RoleArn": "arn:aws:iam::000000000000:role/events",
            "SageMakerPipelineParameters": {
                "PipelineParameterList": [
                    {"Name": "Status", "Value": "Approved"},
                    {"Name": "Alarm", "Value": "$.detail.alarmName"},
                ]
            },
        },
    )
    client("events").put_events(
        Entries=[{"Source": "test.alarm", "DetailType": "x", "Detail": json.dumps({"alarmName": "drift"})}]
    )
    (execution,) = eventually(
        lambda: sagemaker.list_pipeline_executions(PipelineName="retrain")["PipelineExecutionSummaries"]
    )

    def outcome() -> str:
        arn = execution["PipelineExecutionArn"]
        steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
        return "".join(step.get("Metadata", {}).get("Condition", {}).get("Outcome", "") for step in steps)

    assert eventually(outcome) == "True"
    sagemaker.delete_pipeline(PipelineName="retrain", ClientRequestToken="d" * 32)


def test_rule_starts_a_workflow(client: Any, rule: Any) -> None:
    """An EVENT trigger with a batch of one starts its workflow at the first event."""
    glue = client("glue")
    glue.create_workflow(Name="curate")
    glue.create_trigger(
        Name="curate",
        Type="EVENT",
        WorkflowName="curate",
        Actions=[{"JobName": "none"}],
        EventBatchingCondition={"BatchSize": 1},
    )
    rule(
        "curate",
        {"source": ["test.object"]},
        {
            "Arn": "arn:aws:glue:us-east-1:000000000000:workflow/curate",
            "RoleArn": "arn:aws:iam::000000000000:role/events",
        },
    )
    client("events").put_events(Entries=[{"Source": "test.object", "DetailType": "x", "Detail": "{}"}])
    assert eventually(lambda: glue.get_workflow(Name="curate")["Workflow"].get("LastRun"))
    glue.delete_trigger(Name="curate")
    glue.delete_workflow(Name="curate")
