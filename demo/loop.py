"""The demo's third part: July arrives, and the platform notices, retrains and replaces its model by itself."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from demo import serving
from demo.platform import Happened, LinkBrokenError, Platform, utc_now, wait_for

ALARM_SECONDS = 120  # an alarm's period of a minute, and its evaluation
NOTICE_SECONDS = 30
START_SECONDS = 60


class Inbox:
    """A queue subscribed to the topic of an output: how the demo reads what people would be told."""

    def __init__(self, platform: Platform, output: str = "AlertTopicArn") -> None:
        self._sqs = platform.client("sqs")
        self._sns = platform.client("sns")
        topic = platform.outputs[output]
        self._url = self._sqs.create_queue(QueueName=f"{platform.prefix}-demo-inbox")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        allow = {
            "Version": "2012-10-17",
            "Statement": {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
            },
        }
        self._sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": json.dumps(allow)})
        self._subscription = self._sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True
        )["SubscriptionArn"]

    def notice(self, alarm: str) -> Happened | None:
        """The notice that `alarm` went off, if it has come."""
        for envelope in self.envelopes():
            told = json.loads(envelope["Message"])
            if told.get("AlarmName") == alarm and told.get("NewStateValue") == "ALARM":
                at = datetime.fromisoformat(envelope["Timestamp"])
                return Happened(at, "alarm action: people are told", told["NewStateReason"])
        return None

    def envelopes(self) -> Iterator[dict[str, Any]]:
        """What has come since it was last asked for, as SNS sends it."""
        for message in self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages", []):
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
            yield json.loads(message["Body"])

    def close(self) -> None:
        """Unsubscribe and delete the queue."""
        self._sns.unsubscribe(SubscriptionArn=self._subscription)
        self._sqs.delete_queue(QueueUrl=self._url)


def monitor(platform: Platform, since: datetime, requests: int) -> tuple[dict[str, Any], datetime]:
    """Run the drift monitor on what was captured from `since` until now; returns its verdict and when it began.

    The verdict is the drift job's report: `{"drifted", "violations", "features": {name: {"distance", "threshold"}}}`.

    The schedule does the same every day; the demo need not wait for it. Raises LinkBrokenError when it did not see each
    of the `requests` that were answered meanwhile.
    """
    execution = platform.run_pipeline(
        "MonitorPipelineName", {"WindowStart": since.isoformat(), "WindowEnd": utc_now().isoformat()}
    )
    ended = platform.pipeline_ended(execution, "drift monitor")
    verdict = platform.report(execution, "Drift", "drift.json")
    if verdict["requests"] != requests:
        raise LinkBrokenError("capture", f"the monitor saw {verdict['requests']} of {requests} requests")
    return verdict, ended["CreationTime"]


def wait_until_calm(platform: Platform) -> None:
    """Wait until an earlier alarm is over: only an alarm that goes off anew tells and retrains."""
    name = platform.outputs["DriftAlarmName"]

    def calm() -> bool | None:
        alarm = platform.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]
        return None if alarm["StateValue"] == "ALARM" else True

    wait_for("drift alarm", f"the end of {name}'s earlier alarm", calm, seconds=ALARM_SECONDS)


def wait_for_alarm(platform: Platform, since: datetime) -> Happened:
    """Wait until the drift alarm has gone off after `since`."""
    name = platform.outputs["DriftAlarmName"]
    since = since.replace(microsecond=0)  # an alarm's history may be told in whole seconds

    def went_off() -> Happened | None:
        history = platform.client("cloudwatch").describe_alarm_history(AlarmName=name, HistoryItemType="StateUpdate")
        for item in history["AlarmHistoryItems"]:
            if item["Timestamp"] >= since and "to ALARM" in item["HistorySummary"]:
                return Happened(item["Timestamp"], "drift alarm goes off", item["HistorySummary"])
        return None

    return wait_for("drift alarm", f"{name} in state ALARM", went_off, seconds=ALARM_SECONDS)


def wait_for_notice(platform: Platform, inbox: Inbox) -> Happened:
    """Wait for the alarm's notice."""
    name = platform.outputs["DriftAlarmName"]
    return wait_for("alarm action", f"the notice of {name}", lambda: inbox.notice(name), seconds=NOTICE_SECONDS)


def wait_for_retraining(platform: Platform, since: datetime) -> tuple[str, list[Happened]]:
    """Wait until the retrain rule's execution has registered a package; returns the package and what happened."""
    sagemaker = platform.client("sagemaker")
    name = platform.outputs["TrainingPipelineName"]

    def started() -> dict[str, Any] | None:
        found = sagemaker.list_pipeline_executions(PipelineName=name, SortBy="CreationTime", SortOrder="Descending")
        return next((run for run in found["PipelineExecutionSummaries"] if run["StartTime"] >= since), None)

    run = wait_for("retrain rule", f"an execution of {name} after the alarm", started, seconds=START_SECONDS)
    execution = run["PipelineExecutionArn"]
    package = serving.registered(platform, execution)
    described = sagemaker.describe_model_package(ModelPackageName=package)
    if described["ModelApprovalStatus"] != "Approved":
        raise LinkBrokenError("retrain rule", f"{package} is {described['ModelApprovalStatus']}, not Approved")
    auc = serving.evaluation(platform, execution)["metrics"]["auc"]["value"]
    number = described["ModelPackageVersion"]
    return package, [
        Happened(run["StartTime"], "retraining starts", f"execution {execution.rpartition('/')[2]}"),
        Happened(
            described["CreationTime"],
            "new package registered and approved",
            f"version {number}, held-out AUC {auc:.3f}",
        ),
    ]
