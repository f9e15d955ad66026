"""Glue's Spark jobs: MiniStack 1.5.33 starts every run at once and reports SUCCEEDED; it never queues or stops one.

Also announces "Glue Job State Change" on the default event bus. Not here: retries (MaxRetries), job bookmarks,
notification thresholds; Python shell jobs are MiniStack's.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from ministack.core.concurrency import spawn_background
from ministack.core.responses import error_response_json, json_response, new_uuid
from ministack.services import cloudwatch_logs, eventbridge, glue

from local.hooks import glue_spark, glue_triggers, state_folder, swap
from local.hooks.glue_triggers import notify_event as notify_event  # EventBridge's rules call it here

Answer = tuple[int, dict[str, str], bytes]
Handler = Callable[[dict[str, Any]], Answer]
ACTIVE = ("STARTING", "RUNNING", "STOPPING")
SEVERITY = {"SUCCEEDED": "INFO", "STOPPED": "INFO"}
LOG_LIMIT = 5_000  # lines of a run's output kept in CloudWatch
lock = threading.RLock()
groups: dict[str, int] = {}  # run id -> process group


def start_job_run(original: Handler) -> Handler:
    def start(data: dict[str, Any]) -> Answer:
        """StartJobRun: at the job's MaxConcurrentRuns a run waits when queuing is on, else it is refused."""
        name = data["JobName"]
        job = glue._jobs.get(name)
        if not job or not glue._is_spark_job(job):
            return original(data)
        with lock:
            runs = glue._job_runs.setdefault(name, [])
            most = int((job.get("ExecutionProperty") or {}).get("MaxConcurrentRuns", 1))
            full = sum(run["JobRunState"] in ACTIVE for run in runs) >= most
            queued = data.get("JobRunQueuingEnabled", job.get("JobRunQueuingEnabled", False))
            if full and not queued:
                return error_response_json(
                    "ConcurrentRunsExceededException", f"Concurrent runs exceeded for {name}", 400
                )
            run = new_run(job, data) | {"JobRunState": "WAITING" if full else "STARTING"}
            runs.append(run)
        if not full:
            spawn_background(execute, run, thread_name=f"glue-{name}")
        return json_response({"JobRunId": run["Id"]})

    return start


def new_run(job: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """A JobRun as the API shows it."""
    now, size = int(time.time()), ("GlueVersion", "WorkerType", "NumberOfWorkers", "MaxCapacity")
    return {
        "Id": f"jr_{new_uuid().replace('-', '')}",
        "Attempt": 0,
        "JobName": job["Name"],
        "TriggerName": data.get("TriggerName", ""),
        "StartedOn": now,
        "LastModifiedOn": now,
        "Arguments": data.get("Arguments", {}),
        "PredecessorRuns": [],
        "ExecutionTime": 0,
        "Timeout": int(data.get("Timeout") or job.get("Timeout") or 2880),
        "LogGroupName": "/aws-glue/jobs",
    } | {key: job[key] for key in size if job.get(key) is not None}


def execute(run: dict[str, Any]) -> None:
    """Run a job's script to its end, then start the run that waits longest."""
    job, folder = glue._jobs[run["JobName"]], state_folder() / "jobs" / "glue" / run["Id"]
    folder.mkdir(parents=True)
    arguments = {
        **job.get("DefaultArguments", {}),
        **run["Arguments"],
        **job.get("NonOverridableArguments", {}),
        "--JOB_NAME": run["JobName"],
        "--JOB_RUN_ID": run["Id"],
    }

    def started(group: int) -> None:
        with lock:
            groups[run["Id"]] = group
            if run["JobRunState"] == "STOPPING":
                glue_spark.kill(group)
            else:
                run["JobRunState"] = "RUNNING"

    begun, state, message = time.monotonic(), "SUCCEEDED", ""
    try:
        words = {key: str(value) for key, value in arguments.items()}
        glue_spark.run(job, folder, words, run["Timeout"] * 60, started)
    except glue_spark.JobFailed as failure:
        state, message = failure.state, str(failure)
    except Exception as error:
        state, message = "FAILED", f"{type(error).__name__}: {error}"
        raise
    finally:
        groups.pop(run["Id"], None)
        for kind, file in (("output", "stdout.txt"), ("error", "stderr.txt")):
            if (folder / file).exists():
                write_log(f"/aws-glue/jobs/{kind}", run["Id"], (folder / file).read_text(errors="replace"))
        finish(run, state, message, int(time.monotonic() - begun))


def finish(run: dict[str, Any], state: str, message: str, seconds: int) -> None:
    """Set a run's last state, start the next in the queue, tell the event bus and the triggers."""
    with lock:
        if run["JobRunState"] == "STOPPING":
            state, message = "STOPPED", ""
        now = int(time.time())
        run.update(JobRunState=state, ErrorMessage=message[:4000], CompletedOn=now, LastModifiedOn=now)
        run["ExecutionTime"] = seconds
        waiting = [other for other in glue._job_runs.get(run["JobName"], []) if other["JobRunState"] == "WAITING"]
        if waiting:
            waiting[0]["JobRunState"] = "STARTING"
            spawn_background(execute, waiting[0], thread_name=f"glue-{run['JobName']}")
    announce(run)
    glue_triggers.job_ended(run)


def announce(run: dict[str, Any]) -> None:
    """Put https://docs.aws.amazon.com/glue/latest/dg/automating-awsglue-with-cloudwatch-events.html's event."""
    detail = {
        "jobName": run["JobName"],
        "severity": SEVERITY.get(run["JobRunState"], "ERROR"),
        "state": run["JobRunState"],
        "jobRunId": run["Id"],
        "message": run["ErrorMessage"] or f"Job run {run['JobRunState'].lower()}",
    }
    entry = {"Source": "aws.glue", "DetailType": "Glue Job State Change", "Detail": json.dumps(detail)}
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def batch_stop_job_run(original: Handler) -> Handler:
    def stop(data: dict[str, Any]) -> Answer:
        """BatchStopJobRun: a waiting run is stopped at once, a running one with its JVM."""
        job = glue._jobs.get(data["JobName"])
        if not job or not glue._is_spark_job(job):
            return original(data)
        done, errors = [], []
        for run_id in data["JobRunIds"]:
            about = {"JobName": job["Name"], "JobRunId": run_id}
            with lock:
                run = next((run for run in glue._job_runs[job["Name"]] if run["Id"] == run_id), None)
                state = run["JobRunState"] if run else ""
                if run and state in ACTIVE:
                    run["JobRunState"] = "STOPPING"
                    if run_id in groups:
                        glue_spark.kill(groups[run_id])
                elif run and state == "WAITING":
                    run["JobRunState"] = "STOPPED"
            if run and state in (*ACTIVE, "WAITING"):
                done.append(about)
            else:
                code = "InvalidInputException" if run else "EntityNotFoundException"
                detail = {"ErrorCode": code, "ErrorMessage": f"Job run {run_id} is {state or 'unknown'}"}
                errors.append(about | {"ErrorDetail": detail})
        return json_response({"SuccessfulSubmissions": done, "Errors": errors})

    return stop


def write_log(group: str, stream: str, text: str) -> None:
    """Write a run's output to CloudWatch Logs, its last LOG_LIMIT lines."""
    place = {"logGroupName": group, "logStreamName": stream}
    cloudwatch_logs._create_log_group(place)  # answers an error when it exists
    cloudwatch_logs._create_log_stream(place)
    now = int(time.time() * 1000)
    lines = [{"timestamp": now, "message": line} for line in text.splitlines()[-LOG_LIMIT:]]
    cloudwatch_logs._put_log_events(place | {"logEvents": lines})


def install() -> None:
    """Run Spark jobs, and the triggers and workflows that start them."""
    glue_spark.install()
    swap(glue, "_start_job_run", start_job_run)
    swap(glue, "_batch_stop_job_run", batch_stop_job_run)
    glue_triggers.install()
