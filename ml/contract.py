"""What the jobs agree on with those who start and watch them: SageMaker's paths, the failure message, the metrics.

Paths are relative to /opt/ml, or to SAGEMAKER_BASE_DIR when that is set. Sources:
docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html and
docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HYPERPARAMETERS = "input/config/hyperparameters.json"
TRAIN_CHANNEL = "input/data/train"
ENCODER_CHANNEL = "input/data/encoder"
MODEL = "model"
TRAINING_FAILURE = "output/failure"

PROCESSING_JOB = "config/processingjobconfig.json"
CURATED_INPUT = "processing/input/curated"
MODEL_INPUT = "processing/input/model"
HOLDOUT_INPUT = "processing/input/holdout"
TRAIN_OUTPUT = "processing/output/train"
HOLDOUT_OUTPUT = "processing/output/holdout"
ENCODER_OUTPUT = "processing/output/encoder"
BASELINE_OUTPUT = "processing/output/baseline"
EVALUATION_OUTPUT = "processing/output/evaluation"
DRIFT_OUTPUT = "processing/output/drift"
PROCESSING_MESSAGE = "output/message"

METRIC_NAMESPACE = "Millrace/ModelMonitor"
ROWS_METRIC = "captured_rows"  # of every report
VIOLATIONS_METRIC = "drift_violations"
DISTANCE_METRIC = "drift_distance"

_MESSAGE_CHARACTERS = 1024  # SageMaker cuts a failure reason there


def path(relative: str) -> Path:
    """Where one of the paths above is in this container."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / relative


def output_folder(relative: str) -> Path:
    """The folder of an output, made if SageMaker has not."""
    folder = path(relative)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def source(relative: str) -> str:
    """Where SageMaker took an input of the processing job from, for messages; its folder when that is not told."""
    folder, config = path(relative), path(PROCESSING_JOB)
    inputs = json.loads(config.read_text()).get("ProcessingInputs", ()) if config.exists() else ()
    uris = {item["S3Input"]["LocalPath"]: item["S3Input"]["S3Uri"] for item in inputs}
    return str(uris.get(f"/opt/ml/{relative}", folder))


def region() -> str:
    """The region of the processing job that runs this. Raises FileNotFoundError outside of one."""
    # boto3 ignores AWS_REGION, which is all that the container's environment may have.
    arn = json.loads(path(PROCESSING_JOB).read_text())["ProcessingJobArn"]
    return str(arn.split(":")[3])


@contextmanager
def job(message: str) -> Iterator[None]:
    """Run a job: INFO goes to its log, and the reason of a failure to `message`, which SageMaker shows to people."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        yield
    except Exception as error:
        target = path(message)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{type(error).__name__}: {error}"[:_MESSAGE_CHARACTERS])
        raise
