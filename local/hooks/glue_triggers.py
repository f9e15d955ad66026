"""Glue's triggers and workflows: MiniStack 1.5.33 stores them and fires none, and knows no GetWorkflowRun.

An EVENT trigger collects the events that EventBridge sends its workflow and fires at BatchSize of them, or BatchWindow
seconds after the first. While the workflow runs (MaxConcurrentRuns times, once when it has none) events go on
collecting for the next firing. EVENT and ON_DEMAND triggers work as created, CONDITIONAL ones once activated, none
while deactivated. A crawler or Python shell job counts as succeeded when it is started. Not here: SCHEDULED triggers,
StopWorkflowRun, run properties, a graph's edges.
"""

import contextvars
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, json_response
from ministack.services import glue

from local.hooks import swap

Answer = tuple[int, dict[str, str], bytes]
Handler = Callable[[dict[str, Any]], Answer]
Trigger = dict[str, Any]
COUNTED = {"SUCCEEDED": "SucceededActions", "STOPPED": "StoppedActions", "TIMEOUT": "TimeoutActions"}
lock = threading.RLock()
events: dict[tuple[str, str], list[dict[str, Any]]] = {}  # by (account, workflow)
due: set[tuple[str, str]] = set()  # those whose batch is complete but whose workflow still runs
loose: dict[str, dict[str, str]] = {}  # trigger outside a workflow -> job -> state since it fired last


@dataclass
class Progress:
    """A workflow run under way."""

    run: dict[str, Any]
    waiting_for: set[str] = field(default_factory=set)  # ids of job runs
    states: dict[str, str] = field(default_factory=dict)  # of jobs and crawlers
    fired: set[str] = field(default_factory=set)  # names of triggers


running: dict[str, Progress] = {}  # by the id of each job run waited for


def of_workflow(name: str, *types: str) -> list[Trigger]:
    """The live triggers of these types in a workflow; "" for those outside."""
    return [
        trigger
        for trigger in glue._triggers.values()
        if (trigger.get("WorkflowName") or "") == name and trigger["Type"] in types and live(trigger)
    ]


def live(trigger: Trigger) -> bool:
    """Whether a trigger fires at all."""
    always = trigger["Type"] in ("EVENT", "ON_DEMAND")
    return trigger["State"] != "DEACTIVATED" if always else trigger["State"] == "ACTIVATED"


def notify_event(workflow_name: str, event: dict[str, Any]) -> None:
    """Take an event for a workflow, as glue:NotifyEvent does. It is lost when no EVENT trigger is live."""
    triggers = of_workflow(workflow_name, "EVENT")
    if not triggers:
        return
    condition = triggers[0].get("EventBatchingCondition") or {}
    with lock:
        collected = events.setdefault((get_account_id(), workflow_name), [])
        collected.append(event)
        if len(collected) == int(condition.get("BatchSize", 1)):
            fire_events(workflow_name, collected)
        elif len(collected) == 1:
            context, window = contextvars.copy_context(), float(condition.get("BatchWindow", 900))
            timer = threading.Timer(window, context.run, (fire_events, workflow_name, collected))
            timer.daemon = True
            timer.start()


def fire_events(workflow_name: str, batch: list[dict[str, Any]] | None = None) -> None:
    """Start the workflow for the events collected, or leave it to the end of the run that is under way.

    A timer gives its `batch`: nothing is done when that was fired already.
    """
    key = (get_account_id(), workflow_name)
    with lock:
        if not events.get(key) or (batch is not None and events[key] is not batch):
            return
        if full(workflow_name, default=1):
            due.add(key)
            return
        due.discard(key)
        del events[key]
    start(workflow_name, of_workflow(workflow_name, "EVENT"))


def full(workflow_name: str, default: int = 0) -> bool:
    """Whether as many runs are under way as MaxConcurrentRuns allows; `default` when it is not set, 0 for any."""
    most = int(glue._workflows[workflow_name].get("MaxConcurrentRuns") or default)
    active = sum(run["Status"] == "RUNNING" for run in glue._workflow_runs.get(workflow_name, []))
    return bool(most) and active >= most


def start(workflow_name: str, triggers: list[Trigger]) -> str:
    """Begin a workflow run with these triggers' actions and return its id."""
    _, _, body = create_run({"Name": workflow_name})
    run_id: str = json.loads(body)["RunId"]
    run = next(run for run in glue._workflow_runs[workflow_name] if run["WorkflowRunId"] == run_id)
    progress = Progress(run)
    with lock:
        for trigger in triggers:
            act(trigger, progress)
        settle(progress)
    return run_id


def act(trigger: Trigger, progress: Progress | None) -> None:
    """Start a trigger's jobs and crawlers."""
    extra = {}
    if progress:
        progress.fired.add(trigger["Name"])
        extra = {"--WORKFLOW_NAME": progress.run["Name"], "--WORKFLOW_RUN_ID": progress.run["WorkflowRunId"]}
    for action in trigger["Actions"]:
        name = action.get("JobName") or action["CrawlerName"]
        if "JobName" in action:
            given = {"Arguments": {**action.get("Arguments", {}), **extra}, "TriggerName": trigger["Name"]}
            timeout = {"Timeout": action["Timeout"]} if action.get("Timeout") else {}
            status, _, body = glue._start_job_run({"JobName": name, **given, **timeout})
        else:
            status, _, body = glue._start_crawler({"Name": name})
        if progress:
            followed = name in glue._jobs and "JobName" in action and glue._is_spark_job(glue._jobs[name])
            progress.run["Statistics"]["TotalActions"] += 1
            if status < 300 and followed:
                job_run = json.loads(body)["JobRunId"]
                progress.waiting_for.add(job_run)
                running[job_run] = progress
            else:
                count(progress, name, "SUCCEEDED" if status < 300 else "FAILED")


def count(progress: Progress, name: str, state: str) -> None:
    """Note how an action ended."""
    progress.states[name] = state
    progress.run["Statistics"][COUNTED.get(state, "FailedActions")] += 1


def settle(progress: Progress) -> None:
    """Fire the conditional triggers whose predicate holds now; complete the run when nothing is left to wait for."""
    for trigger in of_workflow(progress.run["Name"], "CONDITIONAL"):
        if trigger["Name"] not in progress.fired and holds(trigger, progress.states):
            act(trigger, progress)
            settle(progress)
            return
    progress.run["Statistics"]["RunningActions"] = len(progress.waiting_for)
    if not progress.waiting_for:
        progress.run.update(Status="COMPLETED", CompletedOn=int(time.time()))
        if (get_account_id(), progress.run["Name"]) in due:
            fire_events(progress.run["Name"])


def holds(trigger: Trigger, states: dict[str, str]) -> bool:
    """Whether a trigger's predicate holds for the states of jobs and crawlers."""
    predicate = trigger["Predicate"]
    met = [
        states.get(condition.get("JobName") or condition["CrawlerName"])
        == (condition.get("State") or condition["CrawlState"])
        for condition in predicate["Conditions"]
    ]
    return any(met) if predicate.get("Logical") == "ANY" else all(met)


def job_ended(job_run: dict[str, Any]) -> None:
    """Go on with the workflow run that waits for a job run, or with the triggers outside workflows."""
    name, state = job_run["JobName"], job_run["JobRunState"]
    with lock:
        progress = running.pop(job_run["Id"], None)
        if progress:
            progress.waiting_for.discard(job_run["Id"])
            count(progress, name, state)
            settle(progress)
            return
        for trigger in of_workflow("", "CONDITIONAL"):
            states = loose.setdefault(trigger["Name"], {})
            states[name] = state
            if holds(trigger, states):
                del loose[trigger["Name"]]
                act(trigger, None)


def fire(trigger: Trigger) -> None:
    """Fire one trigger now: its workflow when it is in one, else its actions."""
    if trigger.get("WorkflowName"):
        start(trigger["WorkflowName"], [trigger])
    else:
        act(trigger, None)


def start_workflow_run(_original: Handler) -> Handler:
    def call(data: dict[str, Any]) -> Answer:
        """StartWorkflowRun: its first triggers, of whatever type."""
        name = data["Name"]
        if name not in glue._workflows:
            return error_response_json("EntityNotFoundException", f"Workflow {name} not found", 400)
        if full(name):
            return error_response_json("ConcurrentRunsExceededException", f"Concurrent runs exceeded for {name}", 400)
        return json_response({"RunId": start(name, of_workflow(name, "ON_DEMAND", "EVENT"))})

    return call


def start_trigger(original: Handler) -> Handler:
    def call(data: dict[str, Any]) -> Answer:
        """StartTrigger: an ON_DEMAND one fires, another is activated."""
        trigger = glue._triggers.get(data["Name"])
        if not trigger or trigger["Type"] != "ON_DEMAND":
            return original(data)
        fire(trigger)
        return json_response({"Name": data["Name"]})

    return call


def workflow_runs(original: Callable[..., Answer]) -> Callable[..., Answer]:
    def call(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer:
        """GetWorkflowRun and GetWorkflowRuns; everything else is MiniStack's."""
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        if action not in ("GetWorkflowRun", "GetWorkflowRuns"):
            return original(method, path, headers, body, query)
        data = json.loads(body)
        runs = [
            run | ({"Graph": graph(data["Name"])} if data.get("IncludeGraph") else {})
            for run in glue._workflow_runs.get(data["Name"], [])
        ]
        if action == "GetWorkflowRuns":
            return json_response({"Runs": runs[::-1]})
        for run in runs:
            if run["WorkflowRunId"] == data["RunId"]:
                return json_response({"Run": run})
        return error_response_json("EntityNotFoundException", f"Workflow run {data['RunId']} not found", 400)

    return call


def graph(workflow_name: str) -> dict[str, Any]:
    """The workflow's triggers and jobs as nodes, without edges."""
    triggers = [trigger for trigger in glue._triggers.values() if trigger.get("WorkflowName") == workflow_name]
    jobs = {action["JobName"] for trigger in triggers for action in trigger["Actions"] if "JobName" in action}
    nodes = [{"Type": "TRIGGER", "Name": t["Name"], "TriggerDetails": {"Trigger": t}} for t in triggers]
    runs = [{"Type": "JOB", "Name": n, "JobDetails": {"JobRuns": glue._job_runs.get(n, [])}} for n in sorted(jobs)]
    return {"Nodes": [node | {"UniqueId": str(index)} for index, node in enumerate(nodes + runs)], "Edges": []}


def install() -> None:
    """Fire triggers, answer for workflow runs."""
    global create_run
    create_run = glue._start_workflow_run
    swap(glue, "_start_workflow_run", start_workflow_run)
    swap(glue, "_start_trigger", start_trigger)
    swap(glue, "_handle_request_sync", workflow_runs)


create_run: Handler
