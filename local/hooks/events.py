"""Event routes that MiniStack 1.5.33 drops: rules to Glue workflows and SageMaker pipelines, alarms to EventBridge."""

import json
from collections.abc import Callable
from typing import Any

from ministack.core.concurrency import spawn_background
from ministack.services import cloudwatch, eventbridge, lambda_svc

from local.hooks import client, wrap
from local.hooks.glue_triggers import notify_event

Item = dict[str, Any]


def install() -> None:
    """Route targets by their ARN and alarm state changes to the default bus."""
    wrap(eventbridge, "_invoke_target", route)
    wrap(cloudwatch, "_dispatch_alarm_actions", announce)


def route(original: Callable[..., None], target: Item, event: Item, rule: Item, view: Any = None) -> None:
    """Deliver to the two kinds of target that MiniStack doesn't know, in the background; leave others to it."""
    service, _, resource = target["Arn"].removeprefix("arn:aws:").partition(":")
    kind, _, name = resource.rpartition(":")[2].partition("/")
    delivered = (view or eventbridge._pattern_event_view(event)).event_with_detail()
    match service, kind:
        case "glue", "workflow":
            spawn_background(notify_event, name, delivered, thread_name="event-to-workflow")
        case "sagemaker", "pipeline":
            spawn_background(start_pipeline, name, target, delivered, thread_name="event-to-pipeline")
        case _:
            original(target, event, rule, view)


def start_pipeline(name: str, target: Item, event: Item) -> None:
    """StartPipelineExecution with the target's parameters; a value "$.detail.x" is read from the event."""
    given = target.get("SageMakerPipelineParameters", {}).get("PipelineParameterList", [])
    resolve = eventbridge._resolve_http_parameter
    client("sagemaker").start_pipeline_execution(
        PipelineName=name,
        ClientRequestToken=f"{event['id']:-<32}"[:128],  # one event starts one execution, and a token has 32 at least
        PipelineParameters=[{"Name": item["Name"], "Value": resolve(item["Value"], event)} for item in given],
    )


def announce(original: Callable[..., None], alarm: Item, old_state: str, new_state: str, reason: str) -> None:
    """Put "CloudWatch Alarm State Change" on the bus besides the alarm's actions, as AWS does for every alarm."""
    original(alarm, old_state, new_state, reason)
    now = lambda_svc._now_iso()  # in the spelling of alarms too
    detail = {
        "alarmName": alarm["AlarmName"],
        "previousState": {"value": old_state, "timestamp": now},
        "state": {"value": new_state, "reason": reason, "timestamp": now},
    }
    emit("aws.cloudwatch", "CloudWatch Alarm State Change", detail, alarm["AlarmArn"])


def emit(source: str, kind: str, detail: Item, *resources: str) -> None:
    """Put a service's own event on the default bus."""
    entry = {"Source": source, "DetailType": kind, "Detail": json.dumps(detail), "Resources": [*resources]}
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
