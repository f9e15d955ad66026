"""What may fail once the platform runs is watched, and the rules of the loop start what they should, once."""

import json
import re
from typing import Any

import pytest
from moto.events.models import EventPattern

from checks.assembly import Assembly, Stack, references

HOUR, DAY, WEEK = 3600, 86_400, 604_800
ENDPOINT = "flight-delays"
WATCHED = {
    ("captured_rows", ENDPOINT),
    ("drift_violations", ENDPOINT),
    ("Invocation5XXErrors", f"{ENDPOINT} AllTraffic"),
    ("ModelLatency", f"{ENDPOINT} AllTraffic"),
    ("Errors", "serving/DeployModel"),
    ("ApproximateNumberOfMessagesVisible", "serving/FailedRollOuts"),
    ("ApproximateNumberOfMessagesVisible", "monitoring/UndeliveredAlarms"),
}


def test_models_requests_and_roll_outs_are_watched(assembly: Assembly) -> None:
    for environment, stacks in assembly.environments.items():
        alarms = _alarms(stacks["monitoring"]).values()
        watched = {
            (alarm["MetricName"], " ".join(_named(stacks, each["Value"]) for each in alarm["Dimensions"]))
            for alarm in alarms
        }
        assert (environment, watched) == (environment, WATCHED)


def test_people_are_told_of_each_alarm(assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        (topic,) = stacks["monitoring"].resources("AWS::SNS::Topic")
        assert all(alarm["AlarmActions"] == [{"Ref": topic}] for alarm in _alarms(stacks["monitoring"]).values())


def test_no_alarm_looks_back_further_than_cloudwatch_allows(assembly: Assembly) -> None:
    for stack in assembly.stacks:
        for alarm in _alarms(stack).values():
            assert alarm["Period"] * alarm["EvaluationPeriods"] <= (WEEK if alarm["Period"] >= HOUR else DAY)


def test_a_day_without_a_report_is_an_alarm(assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        schedule, alarm = _one(stacks["monitoring"], "Schedule"), _one(stacks["monitoring"], "MonitorSilent")
        assert schedule["ScheduleExpression"] == "cron(0 6 * * ? *)"
        assert DAY < alarm["Period"] * alarm["EvaluationPeriods"] <= DAY + 2 * HOUR
        assert (alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"], alarm["TreatMissingData"]) == (
            "SampleCount",
            "LessThanThreshold",
            1,
            "breaching",
        )


def test_drift_that_lasts_retrains_once(assembly: Assembly) -> None:
    """Between two reports the alarm keeps its state, and only its change to ALARM is an event."""
    for stacks in assembly.environments.values():
        stack = stacks["monitoring"]
        (drift,) = (name for name in stack.resources("AWS::CloudWatch::Alarm") if name.startswith("Drift"))
        assert _alarms(stack)[drift]["TreatMissingData"] == "ignore"
        pattern = _one(stack, "Retrain", "AWS::Events::Rule")["EventPattern"]
        assert pattern["resources"] == [{"Fn::GetAtt": [drift, "Arn"]}]
        assert pattern["detail"] == {"state": {"value": ["ALARM"]}}


def test_a_roll_out_that_is_rolled_back_reaches_the_queue_that_is_watched(assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        rule = _one(stacks["serving"], "RolledBack", "AWS::Events::Rule")
        assert rule["EventPattern"]["detail"]["stack-id"] == [{"Ref": "AWS::StackId"}]
        assert [_named(stacks, target["Arn"]) for target in rule["Targets"]] == ["serving/FailedRollOuts"]
        for status, told in (
            ("UPDATE_COMPLETE", False),
            ("UPDATE_ROLLBACK_COMPLETE", True),
            ("UPDATE_ROLLBACK_FAILED", True),
        ):
            detail = {"stack-id": "this", "status-details": {"status": status}}
            assert _matches(rule, "CloudFormation Stack Status Change", detail) is told


@pytest.mark.parametrize(
    ("change", "rolls_out"),
    [
        ({"ModelApprovalStatus": "Approved"}, True),  # registered so: nothing was updated
        ({"ModelApprovalStatus": "Approved", "UpdatedModelPackageFields": ["ModelApprovalStatus"]}, True),
        ({"ModelApprovalStatus": "Rejected", "UpdatedModelPackageFields": ["ModelApprovalStatus"]}, False),
        ({"ModelApprovalStatus": "Approved", "UpdatedModelPackageFields": ["CustomerMetadataProperties"]}, False),
        ({"ModelApprovalStatus": "PendingManualApproval"}, False),
    ],
)
def test_approvals_alone_start_a_roll_out(assembly: Assembly, change: dict[str, Any], rolls_out: bool) -> None:
    for stacks in assembly.environments.values():
        rule = _one(stacks["serving"], "PackageApproved", "AWS::Events::Rule")
        for group, ours in ((rule["EventPattern"]["detail"]["ModelPackageGroupName"][0], True), ("another", False)):
            detail = {"ModelPackageGroupName": group, **change}
            assert _matches(rule, "SageMaker Model Package State Change", detail) is (rolls_out and ours)


def _matches(rule: dict[str, Any], detail_type: str, detail: dict[str, Any]) -> bool:
    """Whether EventBridge lets an event through; the id of the rule's own stack is "this"."""
    pattern = json.loads(json.dumps(rule["EventPattern"]).replace('{"Ref": "AWS::StackId"}', '"this"'))
    event = {"source": pattern["source"][0], "detail-type": detail_type, "detail": detail}
    return EventPattern(None, pattern).matches_event(event)


def _alarms(stack: Stack) -> dict[str, dict[str, Any]]:
    return {name: alarm["Properties"] for name, alarm in stack.resources("AWS::CloudWatch::Alarm").items()}


def _one(stack: Stack, name: str, *types: str) -> dict[str, Any]:
    """The properties of the resource whose logical id is `name` and a hash."""
    (found,) = (
        each for key, each in stack.resources(*types).items() if re.fullmatch(rf"{name}[0-9A-F]{{8}}|{name}", key)
    )
    properties: dict[str, Any] = found["Properties"]
    return properties


def _named(stacks: dict[str, Stack], value: Any) -> str:
    """A name without the deployment's prefix; for a reference "layer/logical id", without the hash."""
    if isinstance(value, str):
        return value.rpartition(f"-{ENDPOINT}")[1].strip("-") or value
    (reference,) = references(value)
    for layer, stack in stacks.items():
        if stack.name == reference.stack_name:
            return _named({layer: stack}, stack.outputs[reference.target]["Value"])
        if not reference.stack_name and reference.target in stack.resources():
            return f"{layer}/{reference.target[:-8]}"
    raise AssertionError(f"{reference} names nothing")
