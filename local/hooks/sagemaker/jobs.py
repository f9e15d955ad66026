"""Training and processing jobs, after AWS's container contracts. Each runs on a thread of its own.

Without effect here: roles, VPCs, KMS keys, instance types, metric definitions, profiler and debugger rules.
"""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ministack.core.concurrency import spawn_background

from local.hooks.sagemaker import api, containers, store
from local.hooks.sagemaker.api import operation
from local.hooks.sagemaker.containers import ContainerError
from local.hooks.sagemaker.store import Record, invalid

HOSTS = {"current_host": "localhost", "hosts": ["localhost"]}  # SageMaker's own name, algo-1, does not resolve here
_running: dict[str, containers.Container] = {}  # job ARN -> its container
_threads: dict[str, threading.Thread] = {}  # job ARN -> what runs it


class Stopped(Exception):
    """The job ended because it was told to, or because it ran too long."""


@operation("CreateTrainingJob")
def create_training_job(request: Record) -> Record:
    """Start a training job."""
    folder = f"{request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{request['TrainingJobName']}/output"
    model = {"S3ModelArtifacts": f"{folder}/model.tar.gz"}
    return _create("TrainingJob", request, _train, SecondaryStatus="Starting", ModelArtifacts=model)


@operation("CreateProcessingJob")
def create_processing_job(request: Record) -> Record:
    """Start a processing job."""
    if not request["AppSpecification"].get("ContainerEntrypoint"):
        raise invalid("CreateProcessingJob: the local cloud needs a ContainerEntrypoint, images here have none.")
    return _create("ProcessingJob", request, _process)


def _create(noun: str, request: Record, work: Callable[[Record], None], **fields: Any) -> Record:
    record = store.create(noun, request[f"{noun}Name"], request, **fields)
    api.status(noun, record, "InProgress")
    arn = record[f"{noun}Arn"]
    _threads[arn] = spawn_background(_supervise, noun, record, work, thread_name=f"sagemaker-{noun}")
    return {f"{noun}Arn": arn}


def stop(noun: str, reference: str) -> Record:
    """Stop a job. Raises a ValidationException when it isn't running, as on AWS."""
    record = store.find(noun, reference)
    if record[f"{noun}Status"] != "InProgress":
        raise invalid(f"{reference} is {record[f'{noun}Status']}: only a job InProgress can be stopped.")
    api.status(noun, record, "Stopping")
    if container := _running.get(record[f"{noun}Arn"]):
        spawn_background(container.stop, thread_name="sagemaker-stop")
    return {}


api.OPERATIONS["StopTrainingJob"] = lambda request: stop("TrainingJob", request["TrainingJobName"])
api.OPERATIONS["StopProcessingJob"] = lambda request: stop("ProcessingJob", request["ProcessingJobName"])


def ended(noun: str, arn: str) -> Record:
    """A job's record, once it has ended."""
    _threads[arn].join()
    return store.find(noun, arn)


def _supervise(noun: str, record: Record, work: Callable[[Record], None]) -> None:
    """Run a job to its end and record how it ended."""
    edge = f"{noun.removesuffix('Job')}{{}}Time".format
    record[edge("Start")] = time.time()
    status, reason = "Failed", "InternalServerError: the local cloud's log says more."
    try:
        work(record)
        status, reason = "Completed", ""
    except Stopped as stopped:
        status, reason = "Stopped", str(stopped)
    except ContainerError as error:
        reason = str(error)[:1024]
    finally:
        also = {"FailureReason": reason} if reason else {}
        api.status(noun, record, status, SecondaryStatus=status, **{edge("End"): time.time()}, **also)


def _execute(noun: str, record: Record, image: str, argv: list[str], base: Path, said: Path) -> None:
    """Run the container to its end. Raises Stopped, or ContainerError with what it left in the file `said`."""
    arn, group = record[f"{noun}Arn"], f"/aws/sagemaker/{noun}s"
    stream = f"{record[f'{noun}Name']}/algo-1-{int(time.time())}"
    environment = {"TRAINING_JOB_NAME": base.name, "TRAINING_JOB_ARN": arn} if noun == "TrainingJob" else {}
    container = containers.start(image, argv, environment | record.get("Environment", {}), base, (group, stream))
    _running[arn] = container
    limit = record.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
    try:
        if record[f"{noun}Status"] == "Stopping":  # told so before there was a container to stop
            raise Stopped
        code = container.wait(limit)
    except subprocess.TimeoutExpired:
        raise Stopped(f"MaxRuntimeExceeded: it ran longer than its MaxRuntimeInSeconds, {limit}.") from None
    finally:
        del _running[arn]
        if container.process.returncode is None:
            container.stop()
    if record[f"{noun}Status"] == "Stopping":
        raise Stopped
    if code:
        message = said.read_text(errors="replace") if said.exists() else "\n".join(container.tail)
        raise ContainerError(f"AlgorithmError: {message[-800:]}, exit code: {code}. Log: {group} {stream}")


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _train(record: Record) -> None:
    """docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html"""
    base = containers.fresh_folder("training", record["TrainingJobName"])
    for name in ("input/data", "model", "output/data"):
        (base / name).mkdir(parents=True)
    channels = record.get("InputDataConfig", [])
    for channel in channels:
        folder = base / "input/data" / channel["ChannelName"]
        folder.mkdir()
        containers.download(channel["DataSource"]["S3DataSource"]["S3Uri"], folder)
    kept = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    instance = record["ResourceConfig"].get("InstanceType")
    config = base / "input/config"
    _write(config / "hyperparameters.json", record.get("HyperParameters", {}))
    _write(
        config / "inputdataconfig.json",
        {
            channel["ChannelName"]: kept | {key: channel[key] for key in ("ContentType",) if key in channel}
            for channel in channels
        },
    )
    _write(
        config / "resourceconfig.json",
        {
            **HOSTS,
            "current_instance_type": instance,
            "current_group_name": "homogeneousCluster",
            "network_interface_name": "lo",
            "instance_groups": [
                {"instance_group_name": "homogeneousCluster", "instance_type": instance, "hosts": HOSTS["hosts"]}
            ],
        },
    )
    algorithm = record["AlgorithmSpecification"]
    argv = [*algorithm.get("ContainerEntrypoint", ()), *algorithm.get("ContainerArguments", ())] or ["train"]
    _execute("TrainingJob", record, algorithm["TrainingImage"], argv, base, base / "output/failure")
    artifacts = record["ModelArtifacts"]["S3ModelArtifacts"]
    containers.pack(artifacts, base / "model")
    if any((base / "output/data").iterdir()):
        containers.pack(artifacts.replace("model.tar.gz", "output.tar.gz"), base / "output/data")
    shutil.rmtree(base)  # a failed job's folder stays, to look into


def _process(record: Record) -> None:
    """docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html"""
    base = containers.fresh_folder("processing", record["ProcessingJobName"])

    def folder(path: str) -> Path:
        if not path.startswith("/opt/ml/processing/"):
            raise ContainerError(f"ClientError: LocalPath {path!r} does not start with /opt/ml/processing/.")
        found = base / path.removeprefix("/opt/ml/")
        found.mkdir(parents=True, exist_ok=True)
        return found

    _write(base / "config/resourceconfig.json", HOSTS)
    _write(base / "config/processingjobconfig.json", api.describe("ProcessingJob", record))
    (base / "output").mkdir()
    for item in record.get("ProcessingInputs", ()):
        containers.download(item["S3Input"]["S3Uri"], folder(item["S3Input"]["LocalPath"]))
    outputs = [item["S3Output"] for item in record.get("ProcessingOutputConfig", {}).get("Outputs", ())]
    results = [(output["S3Uri"], folder(output["LocalPath"])) for output in outputs]
    app, message = record["AppSpecification"], base / "output/message"
    argv = [*app["ContainerEntrypoint"], *app.get("ContainerArguments", ())]
    _execute("ProcessingJob", record, app["ImageUri"], argv, base, message)
    if message.exists():
        record["ExitMessage"] = message.read_text(errors="replace")[:1024]
    for uri, found in results:
        containers.upload(uri, found)
    shutil.rmtree(base)
