"""Event routes that MiniStack 1.5.33 drops: rules to Glue workflows and SageMaker pipelines, alarms to EventBridge.

Its alarms also read a metric of any dimensions; here they read their own.
"""

import json
import operator
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from local.hooks import client, swap

OPERATORS = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


def install() -> None:
    """Route targets by their ARN and alarm state changes to the default bus."""
    from ministack.services import cloudwatch, eventbridge

    swap(eventbridge, "_invoke_target", route)
    swap(cloudwatch, "_dispatch_alarm_actions", announce)
    swap(cloudwatch, "_evaluate_alarm", lambda _: evaluate)


def route(original: Callable[..., None]) -> Callable[..., None]:
    """Deliver to the two kinds of target that MiniStack doesn't know, in the background; leave others to it."""
    from ministack.core.concurrency import spawn_background
    from ministack.services import eventbridge

    def invoke(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
        service, _, resource = target["Arn"].removeprefix("arn:aws:").partition(":")
        kind, _, name = resource.rpartition(":")[2].partition("/")
        delivered = (view or eventbridge._pattern_event_view(event)).event_with_detail()
        match service, kind:
            case "glue", "workflow":
                from local.hooks import glue

                spawn_background(glue.notify_event, name, delivered, thread_name="event-to-workflow")
            case "sagemaker", "pipeline":
                spawn_background(start_pipeline, name, target, delivered, thread_name="event-to-pipeline")
            case _:
                original(target, event, rule, view)

    return invoke


def start_pipeline(name: str, target: dict[str, Any], event: dict[str, Any]) -> None:
    """StartPipelineExecution with the target's parameters; a value "$.detail.x" is read from the event."""
    from ministack.services.eventbridge import _resolve_http_parameter as resolve

    given = target.get("SageMakerPipelineParameters", {}).get("PipelineParameterList", [])
    client("sagemaker").start_pipeline_execution(
        PipelineName=name,
        ClientRequestToken=f"{event['id']:-<32}"[:128],  # one event starts one execution, and a token has 32 at least
        PipelineParameters=[{"Name": item["Name"], "Value": resolve(item["Value"], event)} for item in given],
    )


def announce(original: Callable[..., None]) -> Callable[..., None]:
    """Put "CloudWatch Alarm State Change" on the bus besides the alarm's actions, as AWS does for every alarm."""
    from ministack.services import eventbridge

    def dispatch(alarm: dict[str, Any], old_state: str, new_state: str, reason: str) -> None:
        original(alarm, old_state, new_state, reason)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
        metric = {
            "namespace": alarm.get("Namespace"),
            "name": alarm.get("MetricName"),
            "dimensions": {item["Name"]: item["Value"] for item in alarm.get("Dimensions", [])},
        }
        stat = {"metric": metric, "period": alarm.get("Period"), "stat": alarm.get("Statistic")}
        detail = {
            "alarmName": alarm["AlarmName"],
            "configuration": {
                "description": alarm.get("AlarmDescription", ""),
                "metrics": [{"id": "m1", "metricStat": stat, "returnData": True}],
            },
            "previousState": {"value": old_state, "timestamp": now},
            "state": {"value": new_state, "reason": reason, "timestamp": now},
        }
        eventbridge._put_events(
            {
                "Entries": [
                    {
                        "Source": "aws.cloudwatch",
                        "DetailType": "CloudWatch Alarm State Change",
                        "Resources": [alarm["AlarmArn"]],
                        "Detail": json.dumps(detail),
                    }
                ]
            },
            allow_aws_source=True,
        )

    return dispatch


def evaluate(alarm: dict[str, Any]) -> None:
    """Set a metric alarm's state from its own metric's points of the last evaluation periods; none changes nothing."""
    from ministack.services import cloudwatch

    breaches = OPERATORS.get(alarm.get("ComparisonOperator", ""))
    dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(alarm.get("Dimensions") or []))
    points = cloudwatch._metrics.get((alarm.get("Namespace"), alarm.get("MetricName"), dimensions), [])
    since = time.time() - alarm.get("Period", 60) * alarm.get("EvaluationPeriods", 1)
    recent = [point for point in points if point["Timestamp"] >= since]
    if not recent or breaches is None:
        return
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
    value = cloudwatch._stat_value(cloudwatch._calc_stats(recent), statistic, recent)
    old, new = alarm["StateValue"], "ALARM" if breaches(value, alarm["Threshold"]) else "OK"
    if new == old:
        return
    reason = f"Threshold Crossed: {statistic} {value} {alarm['ComparisonOperator']} {alarm['Threshold']}"
    alarm |= {"StateValue": new, "StateReason": reason, "StateUpdatedTimestamp": int(time.time())}
    cloudwatch._record_history(alarm["AlarmName"], old, new, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old, new, reason)
    cloudwatch._evaluate_parent_alarms(alarm)
