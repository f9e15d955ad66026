"""Glue's workflows: MiniStack 1.5.33 stores their triggers and fires none.

An EVENT trigger collects the events that EventBridge sends its workflow and fires at BatchSize of them, or BatchWindow
seconds after the first. While the workflow runs (MaxConcurrentRuns times, once when it has none) events go on
collecting for the next firing. A trigger works as created, and not while it is deactivated. Not here: triggers of
other types, outside a workflow or of crawlers, which are refused; StopWorkflowRun, GetWorkflowRun (GetWorkflow has
the last run), run properties.
"""

import contextvars
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, error_response_json, json_response
from ministack.services import glue

from local.hooks import Answer, Handler, swap

COUNTED = {"SUCCEEDED": "SucceededActions", "STOPPED": "StoppedActions", "TIMEOUT": "TimeoutActions"}
lock = threading.RLock()


@dataclass(eq=False)
class Batch:
    """Events that start a workflow together, once there are enough or the first has waited long enough."""

    events: int = 0
    complete: bool = False


batches: AccountRegionScopedDict = AccountRegionScopedDict()  # by workflow
waited_for: dict[str, dict[str, Any]] = {}  # workflow runs by the id of each job run they wait for


def live_triggers(workflow: str) -> list[dict[str, Any]]:
    """A workflow's triggers that are not deactivated."""
    found = [trigger for trigger in glue._triggers.values() if trigger["WorkflowName"] == workflow]
    return [trigger for trigger in found if trigger["State"] != "DEACTIVATED" and workflow in glue._workflows]


def notify_event(workflow: str, _event: dict[str, Any]) -> None:
    """Take an event for a workflow, as glue:NotifyEvent does. It is lost when no trigger is live."""
    triggers = live_triggers(workflow)
    if not triggers:
        return
    condition = triggers[0].get("EventBatchingCondition") or {}
    with lock:
        batch = batches.setdefault(workflow, Batch())
        batch.events += 1
        if batch.events >= int(condition.get("BatchSize", 1)):
            complete(workflow, batch)
        elif batch.events == 1:
            context, window = contextvars.copy_context(), float(condition.get("BatchWindow", 900))
            timer = threading.Timer(window, context.run, (complete, workflow, batch))
            timer.daemon = True
            timer.start()


def complete(workflow: str, batch: Batch) -> None:
    """Close a batch, which starts the workflow now or at the end of the run that is under way."""
    with lock:
        batch.complete = True
        fire(workflow)


def fire(workflow: str) -> None:
    """Start a workflow whose batch is complete, unless it runs. A batch without a live trigger is dropped."""
    batch, triggers = batches.get(workflow), live_triggers(workflow)
    if batch and batch.complete and not (triggers and full(workflow, default=1)):
        del batches[workflow]
        if triggers:
            start(workflow, triggers)


def full(workflow: str, default: int = 0) -> bool:
    """Whether as many runs are under way as MaxConcurrentRuns allows; `default` when it is not set, 0 for any."""
    most = int(glue._workflows[workflow].get("MaxConcurrentRuns") or default)
    active = sum(run["Status"] == "RUNNING" for run in glue._workflow_runs.get(workflow, []))
    return bool(most) and active >= most


def start(workflow: str, triggers: list[dict[str, Any]]) -> str:
    """Begin a workflow run with these triggers' jobs and return its id."""
    with lock:
        create_run({"Name": workflow})
        run: dict[str, Any] = glue._workflow_runs[workflow][-1]
        own = {"--WORKFLOW_NAME": workflow, "--WORKFLOW_RUN_ID": run["WorkflowRunId"]}
        for trigger in triggers:
            for action in trigger["Actions"]:
                given = {"Arguments": action.get("Arguments", {}) | own, "TriggerName": trigger["Name"]}
                status, _, body = glue._start_job_run(action | given)
                run["Statistics"]["TotalActions"] += 1
                if status < 300:
                    run["Statistics"]["RunningActions"] += 1
                    waited_for[json.loads(body)["JobRunId"]] = run
                else:
                    run["Statistics"]["FailedActions"] += 1
        settle(run)
    return str(run["WorkflowRunId"])


def job_ended(job_run: dict[str, Any]) -> None:
    """Count the end of a job run for the workflow run that waits for it."""
    with lock:
        run = waited_for.pop(job_run["Id"], None)
        if run:
            run["Statistics"]["RunningActions"] -= 1
            run["Statistics"][COUNTED.get(job_run["JobRunState"], "FailedActions")] += 1
            settle(run)


def settle(run: dict[str, Any]) -> None:
    """End a workflow run that has no job left, and start the next when a batch waits for it."""
    if not run["Statistics"]["RunningActions"]:
        run.update(Status="COMPLETED", CompletedOn=int(time.time()))
        fire(run["Name"])


def interrupted(workflow: str) -> None:
    """End the runs that were under way when the cloud was stopped, with their jobs."""
    for run in glue._workflow_runs[workflow]:
        if run["Status"] == "RUNNING":
            run["Statistics"]["FailedActions"] += run["Statistics"]["RunningActions"]
            run["Statistics"]["RunningActions"] = 0
            settle(run)


def start_workflow_run(_original: Handler) -> Handler:
    def call(data: dict[str, Any]) -> Answer:
        """StartWorkflowRun: what its triggers start, without waiting for events."""
        name = data["Name"]
        if name not in glue._workflows:
            return error_response_json("EntityNotFoundException", f"Workflow {name} not found", 400)
        if full(name):
            return error_response_json("ConcurrentRunsExceededException", f"Concurrent runs exceeded for {name}", 400)
        return json_response({"RunId": start(name, live_triggers(name))})

    return call


def create_trigger(original: Handler) -> Handler:
    def call(data: dict[str, Any]) -> Answer:
        """CreateTrigger: refuse by name what would never fire here."""
        of_jobs = all("JobName" in action for action in data["Actions"])
        if data["Type"] == "EVENT" and data.get("WorkflowName") and of_jobs:
            return original(data)
        reason = f"{data['Type']} trigger {data['Name']}: the local cloud has EVENT triggers of a workflow's jobs alone"
        return error_response_json("InvalidInputException", reason, 400)

    return call


def install() -> None:
    """Fire EVENT triggers and run workflows."""
    global create_run
    create_run = glue._start_workflow_run
    swap(glue, "_start_workflow_run", start_workflow_run)
    swap(glue, "_create_trigger", create_trigger)


create_run: Handler
