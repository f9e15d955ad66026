"""Glue's workflows: MiniStack 1.5.33 stores their triggers and fires none.

An EVENT trigger collects the events that EventBridge sends its workflow and fires at BatchSize of them, or BatchWindow
seconds after the first. While the workflow runs (MaxConcurrentRuns times, once when it has none) events go on
collecting for the next firing. A trigger works as created, and not while it is deactivated. Not here: triggers outside
a workflow, which are refused; StopWorkflowRun, GetWorkflowRun (GetWorkflow has the last run), run properties.

A run begins with the trigger that is no CONDITIONAL one; those fire, once a run, when jobs and crawlers of it end as
their predicates say. StartWorkflowRun starts a SCHEDULED or ON_DEMAND workflow: no schedule does.
"""

import contextvars
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, error_response_json, json_response
from ministack.services import glue

from local.hooks import Answer, Handler, wrap

COUNTED = {"SUCCEEDED": "SucceededActions", "STOPPED": "StoppedActions", "TIMEOUT": "TimeoutActions"}
lock = threading.RLock()
create_run: Handler = glue._start_workflow_run  # as MiniStack has it


@dataclass(eq=False)
class Batch:
    """Events that start a workflow together, once there are enough or the first has waited long enough."""

    events: int = 0
    complete: bool = False


batches: AccountRegionScopedDict = AccountRegionScopedDict()  # by workflow
waited_for: dict[str, dict[str, Any]] = {}  # workflow runs by what they wait for: a job run's id, a crawler's name
ended_as: dict[str, dict[str, str]] = {}  # by workflow run: how its jobs and crawlers ended, and what has fired


def live_triggers(workflow: str, conditional: bool = False) -> list[dict[str, Any]]:
    """A workflow's triggers that are not deactivated: those that begin a run, or the conditional ones."""
    found = [trigger for trigger in glue._triggers.values() if trigger["WorkflowName"] == workflow]
    live = [trigger for trigger in found if trigger["State"] != "DEACTIVATED" and workflow in glue._workflows]
    return [trigger for trigger in live if (trigger["Type"] == "CONDITIONAL") == conditional]


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
    """Begin a workflow run with these triggers and return its id."""
    with lock:
        create_run({"Name": workflow})
        run: dict[str, Any] = glue._workflow_runs[workflow][-1]
        ended_as[run["WorkflowRunId"]] = {}
        act(run, triggers)
    return str(run["WorkflowRunId"])


def act(run: dict[str, Any], triggers: list[dict[str, Any]]) -> None:
    """Start the jobs and crawlers of triggers for a workflow run, which ends when none is left."""
    own = {"--WORKFLOW_NAME": run["Name"], "--WORKFLOW_RUN_ID": run["WorkflowRunId"]}
    for trigger in triggers:
        ended_as[run["WorkflowRunId"]][trigger["Name"]] = "FIRED"
        for action in trigger["Actions"]:
            if crawler := action.get("CrawlerName"):
                status, _, body = glue._start_crawler({"Name": crawler})
            else:
                given = {"Arguments": action.get("Arguments", {}) | own, "TriggerName": trigger["Name"]}
                status, _, body = glue._start_job_run(action | given)
            run["Statistics"]["TotalActions"] += 1
            if status < 300:
                run["Statistics"]["RunningActions"] += 1
                waited_for[crawler or json.loads(body)["JobRunId"]] = run
            else:
                run["Statistics"]["FailedActions"] += 1
    settle(run)


def ended(waited: str, name: str, state: str) -> None:
    """A job run, by its id, or a crawler has ended: count it, and fire the triggers that waited for it."""
    with lock:
        run = waited_for.pop(waited, None)
        if run:
            run["Statistics"]["RunningActions"] -= 1
            run["Statistics"][COUNTED.get(state, "FailedActions")] += 1
            known = ended_as[run["WorkflowRunId"]]
            known[name] = state
            waiting = live_triggers(run["Name"], conditional=True)
            act(run, [each for each in waiting if each["Name"] not in known and met(each["Predicate"], known)])


def met(predicate: dict[str, Any], known: dict[str, str]) -> bool:
    """Whether jobs and crawlers have ended as a predicate says: all of its conditions, or with ANY one."""
    names = [each.get("JobName") or each["CrawlerName"] for each in predicate["Conditions"]]
    states = [each.get("State") or each["CrawlState"] for each in predicate["Conditions"]]
    found = [known.get(name) == state for name, state in zip(names, states, strict=True)]
    return any(found) if predicate.get("Logical") == "ANY" else all(found)


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


def start_workflow_run(_original: Handler, data: dict[str, Any]) -> Answer:
    """StartWorkflowRun: what its triggers start, without waiting for events."""
    name = data["Name"]
    if name not in glue._workflows:
        return error_response_json("EntityNotFoundException", f"Workflow {name} not found", 400)
    if full(name):
        return error_response_json("ConcurrentRunsExceededException", f"Concurrent runs exceeded for {name}", 400)
    return json_response({"RunId": start(name, live_triggers(name))})


def create_trigger(original: Handler, data: dict[str, Any]) -> Answer:
    """CreateTrigger: refuse by name what would never fire here."""
    if data.get("WorkflowName"):
        return original(data)
    reason = f"{data['Type']} trigger {data['Name']}: the local cloud has triggers of workflows alone"
    return error_response_json("InvalidInputException", reason, 400)


def install() -> None:
    """Fire triggers and run workflows."""
    wrap(glue, "_start_workflow_run", start_workflow_run)
    wrap(glue, "_create_trigger", create_trigger)
