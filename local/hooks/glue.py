"""Glue's Spark jobs: MiniStack 1.5.33 starts every run at once and reports SUCCEEDED; it never queues one.

Not here: jobs of other kinds (streaming, Python shell) and stopping a run, which are refused; retries (MaxRetries),
job bookmarks, job events on the event bus.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from ministack import app
from ministack.core.concurrency import spawn_background
from ministack.core.responses import error_response_json, json_response, new_uuid, request_scope
from ministack.services import codebuild, glue

from local.hooks import Answer, Handler, glue_spark, glue_triggers, state_folder, wrap

Run = dict[str, Any]  # a JobRun as the API shows it
ACTIVE = ("STARTING", "RUNNING")
LOG_LIMIT = 5_000  # lines of a run's output kept in CloudWatch
lock = threading.RLock()


def start_job_run(original: Handler, data: dict[str, Any]) -> Answer:
    """StartJobRun: at the job's MaxConcurrentRuns a run waits when queuing is on, else it is refused."""
    name = data["JobName"]
    job = glue._jobs.get(name)
    if not job:
        return original(data)
    if (kind := job["Command"]["Name"]) != "glueetl":
        return error_response_json("InvalidInputException", f"a {kind} job is not in the local cloud", 400)
    with lock:
        if full(name) and not data.get("JobRunQueuingEnabled", job.get("JobRunQueuingEnabled")):
            return error_response_json("ConcurrentRunsExceededException", f"{name} runs already", 400)
        run = new_run(job, data)
        glue._job_runs.setdefault(name, []).append(run)
        start_waiting(name)
    return json_response({"JobRunId": run["Id"]})


def new_run(job: dict[str, Any], data: dict[str, Any]) -> Run:
    """A run that waits to start."""
    now = int(time.time())
    return {
        "Id": f"jr_{new_uuid().replace('-', '')}",
        "JobName": job["Name"],
        "JobRunState": "WAITING",
        "TriggerName": data.get("TriggerName", ""),
        "StartedOn": now,
        "LastModifiedOn": now,
        "Arguments": data.get("Arguments", {}),
        "ExecutionTime": 0,
        "Timeout": int(data.get("Timeout") or job.get("Timeout") or 2880),
        "LogGroupName": "/aws-glue/jobs",
    }


def full(name: str) -> bool:
    """Whether as many runs are under way as the job's MaxConcurrentRuns."""
    most = int((glue._jobs[name].get("ExecutionProperty") or {}).get("MaxConcurrentRuns", 1))
    return sum(run["JobRunState"] in ACTIVE for run in glue._job_runs.get(name, [])) >= most


def start_waiting(name: str) -> None:
    """Start the runs that wait longest, as long as there is room."""
    with lock:
        for run in glue._job_runs.get(name, []):
            if run["JobRunState"] == "WAITING" and not full(name):
                run["JobRunState"] = "STARTING"
                spawn_background(execute, run, thread_name=f"glue-{name}")


def execute(run: Run) -> None:
    """Run a job's script to its end."""
    job, folder = glue._jobs[run["JobName"]], state_folder() / "jobs" / "glue" / run["Id"]
    folder.mkdir(parents=True)
    given = job.get("DefaultArguments", {}) | run["Arguments"] | job.get("NonOverridableArguments", {})
    arguments = given | {"--JOB_NAME": run["JobName"], "--JOB_RUN_ID": run["Id"]}
    run["JobRunState"] = "RUNNING"
    begun, state, message = time.monotonic(), "SUCCEEDED", ""
    try:
        words = {key: str(value) for key, value in arguments.items()}
        glue_spark.run(job, folder, words, run["Timeout"] * 60)
    except glue_spark.JobFailed as failure:
        state, message = failure.state, str(failure)
    except Exception as error:
        state, message = "FAILED", f"{type(error).__name__}: {error}"
        raise
    finally:
        for kind, file in (("output", "stdout.txt"), ("error", "stderr.txt")):
            if (folder / file).exists():
                write_log(f"/aws-glue/jobs/{kind}", run["Id"], (folder / file).read_text(errors="replace"))
        run["ExecutionTime"] = int(time.monotonic() - begun)
        finish(run, state, message)


def finish(run: Run, state: str, message: str) -> None:
    """Set a run's last state, start the next in the queue, tell the workflow."""
    with lock:
        now = int(time.time())
        run.update(JobRunState=state, ErrorMessage=message[:4000], CompletedOn=now, LastModifiedOn=now)
        start_waiting(run["JobName"])
    glue_triggers.ended(run["Id"], run["JobName"], state)


def end_interrupted(original: Callable[[], None]) -> None:
    """When the cloud starts again, before it answers: what was running has failed, and what waited starts."""
    original()
    for (account, region, workflow), _ in glue._workflow_runs.all_items():
        with request_scope(account, region):
            glue_triggers.interrupted(workflow)
    for (account, region, name), runs in glue._job_runs.all_items():
        with request_scope(account, region):
            for run in runs:
                if run["JobRunState"] in ACTIVE:
                    finish(run, "FAILED", "The local cloud was stopped while it ran")
            start_waiting(name)


def batch_stop_job_run(_original: Handler, _data: dict[str, Any]) -> Answer:
    """BatchStopJobRun: refused."""
    return error_response_json("InvalidInputException", "stopping a run is not in the local cloud", 400)


def write_log(group: str, stream: str, text: str) -> None:
    """Write a run's output to CloudWatch Logs, its last LOG_LIMIT lines."""
    log = codebuild._log_sink({"logs": {"groupName": group, "streamName": stream}})
    for line in text.splitlines()[-LOG_LIMIT:]:
        log(line)


def install() -> None:
    """Run Spark jobs, and the triggers and workflows that start them."""
    glue_spark.install()
    wrap(glue, "_start_job_run", start_job_run)
    wrap(glue, "_batch_stop_job_run", batch_stop_job_run)
    wrap(app, "_load_persisted_state", end_interrupted)
    glue_triggers.install()
