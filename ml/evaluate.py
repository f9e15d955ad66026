"""Processing job: judges the model, exactly as it would be served, on the held-out rows -> evaluation.json."""

import json
import logging
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import log_loss, roc_auc_score

from ml import contract
from ml.features import described, values
from ml.model import Model
from ml.schema import LABEL

REPORT = "evaluation.json"


def judge(model: Model, holdout: pa.Table) -> dict[str, Any]:
    """{"metrics": {name: {"value": number}}, "data": what the model learnt from and what judged it}.

    Raises ValueError when the held-out rows have one outcome only, for which no AUC exists.
    """
    late = holdout[LABEL].to_numpy()
    if len(np.unique(late)) < 2:
        raise ValueError(f"the {len(late)} held-out rows are all late or all punctual; hold out more days")
    probability = model.predict(values(holdout, model.columns)).astype(np.float64)
    metrics = {
        "auc": roc_auc_score(late, probability),
        "logloss": log_loss(late, probability),
        "base_rate": late.mean(),
        "rows": len(late),
    }
    return {
        "metrics": {name: {"value": np.asarray(value).item()} for name, value in metrics.items()},
        "feature_set": model.encoder.feature_set,
        "data": {"train": model.encoder.trained_on, "holdout": described(holdout)},
    }


def unpack(archive: Path, folder: Path) -> None:
    """Extract a training job's model.tar.gz."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")  # nothing outside the folder, no links


def evaluate() -> dict[str, Any]:
    """The processing job; returns the report it writes."""
    with TemporaryDirectory() as folder:
        unpack(contract.path(contract.MODEL_INPUT) / "model.tar.gz", Path(folder))
        report = judge(Model(Path(folder)), pq.read_table(contract.path(contract.HOLDOUT_INPUT)))
    (contract.output_folder(contract.EVALUATION_OUTPUT) / REPORT).write_text(json.dumps(report, indent=1))
    return report


def main() -> None:
    """Run the processing job."""
    with contract.job(contract.PROCESSING_MESSAGE):
        logging.info(json.dumps(evaluate()))


if __name__ == "__main__":
    main()
