"""Training and processing jobs, after AWS's container contracts. Each runs on a thread of its own.

Without effect here: roles, VPCs, KMS keys, instance types and counts.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.hooks.sagemaker import api, containers, store
from local.hooks.sagemaker.api import operation
from local.hooks.sagemaker.store import Record, SageMakerError, invalid


@operation(
    "CreateTrainingJob",
    "TrainingJobName RoleArn AlgorithmSpecification HyperParameters Environment InputDataConfig OutputDataConfig "
    "ResourceConfig StoppingCondition EnableNetworkIsolation VpcConfig Tags",
)
def create_training_job(request: Record) -> Record:
    """Start a training job."""
    folder = f"{request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{request['TrainingJobName']}/output"
    return _create("TrainingJob", request, _train, ModelArtifacts={"S3ModelArtifacts": f"{folder}/model.tar.gz"})


@operation(
    "CreateProcessingJob",
    "ProcessingJobName RoleArn AppSpecification Environment ProcessingInputs ProcessingOutputConfig "
    "ProcessingResources StoppingCondition NetworkConfig Tags",
)
def create_processing_job(request: Record) -> Record:
    """Start a processing job."""
    if "ContainerEntrypoint" not in request["AppSpecification"]:
        raise invalid("CreateProcessingJob: the local cloud needs a ContainerEntrypoint, images here have none.")
    return _create("ProcessingJob", request, _process)


def _create(noun: str, request: Record, work: Callable[[Record], None], **fields: Any) -> Record:
    """Store a job and start what does its work."""
    record = store.create(noun, request[f"{noun}Name"], request, **fields)

    def ended(reason: str) -> None:
        status = ("Stopped" if reason.startswith("MaxRuntimeExceeded") else "Failed") if reason else "Completed"
        api.change(noun, record, status, FailureReason=reason or None)

    api.change(noun, record, "InProgress")
    store.work(record[f"{noun}Arn"], lambda: work(record), ended)
    return record


def _execute(noun: str, record: Record, image: str, argv: list[str], base: Path, said: Path) -> None:
    """Run the container to its end. Raises SageMakerError, with what it left in the file `said` if it failed."""
    group, stream = f"/aws/sagemaker/{noun}s", f"{record[f'{noun}Name']}/algo-1-{int(time.time())}"
    container = containers.start(image, argv, record.get("Environment", {}), base, (group, stream))
    limit = record.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
    try:
        code = container.process.wait(limit)
    except subprocess.TimeoutExpired:
        raise SageMakerError("MaxRuntimeExceeded", f"its MaxRuntimeInSeconds, {limit}, are over.") from None
    finally:
        container.end()
    if code:
        message = said.read_text(errors="replace") if said.exists() else "\n".join(container.tail)
        raise SageMakerError("AlgorithmError", f"{message[-800:]}, exit code: {code}. Log: {group} {stream}")


def _train(record: Record) -> None:
    """docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html"""
    base = containers.fresh_folder("training", record["TrainingJobName"])
    for name in ("model", "output", "input/config"):
        (base / name).mkdir(parents=True)
    for channel in record.get("InputDataConfig", ()):
        folder = base / "input/data" / channel["ChannelName"]
        folder.mkdir(parents=True)
        containers.download(channel["DataSource"]["S3DataSource"]["S3Uri"], folder)
    (base / "input/config/hyperparameters.json").write_text(json.dumps(record.get("HyperParameters", {})))
    algorithm = record["AlgorithmSpecification"]
    argv = [*algorithm.get("ContainerEntrypoint", ["train"]), *algorithm.get("ContainerArguments", ())]
    _execute("TrainingJob", record, algorithm["TrainingImage"], argv, base, base / "output/failure")
    containers.pack(record["ModelArtifacts"]["S3ModelArtifacts"], base / "model")
    shutil.rmtree(base)  # a failed job's folder stays, to look into


def _process(record: Record) -> None:
    """docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html"""
    base = containers.fresh_folder("processing", record["ProcessingJobName"])

    def folder(path: str) -> Path:
        found = base / path.removeprefix("/opt/ml").lstrip("/")
        found.mkdir(parents=True, exist_ok=True)
        return found

    for name in ("config", "output"):
        (base / name).mkdir()
    (base / "config/processingjobconfig.json").write_text(json.dumps(api.describe("ProcessingJob", record)))
    for item in record.get("ProcessingInputs", ()):
        containers.download(item["S3Input"]["S3Uri"], folder(item["S3Input"]["LocalPath"]))
    outputs = [item["S3Output"] for item in record.get("ProcessingOutputConfig", {}).get("Outputs", ())]
    results = [(output["S3Uri"], folder(output["LocalPath"])) for output in outputs]
    app = record["AppSpecification"]
    argv = [*app["ContainerEntrypoint"], *app.get("ContainerArguments", ())]
    _execute("ProcessingJob", record, app["ImageUri"], argv, base, base / "output/message")
    for uri, found in results:
        containers.upload(uri, found)
    shutil.rmtree(base)
