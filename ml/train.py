"""Training job: encoded rows -> XGBoost -> an ONNX model, saved with its encoder once the two agree."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import xgboost
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

from ml import contract
from ml.encoder import FILE as ENCODER_FILE
from ml.encoder import Encoder
from ml.model import INPUT, MODEL_FILE, probabilities, session
from ml.schema import LABEL

SAMPLE_ROWS = 5_000
TOLERANCE = 1e-5  # both compute in float32; sums over hundreds of trees differ by less

Matrix = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Hyperparameters:
    """XGBoost's. The defaults were chosen on flights of January to March, judged on April and on July."""

    n_estimators: int = 200
    max_depth: int = 6
    learning_rate: float = 0.05
    min_child_weight: float = 50.0
    subsample: float = 0.8
    colsample_bytree: float = 0.5
    seed: int = 0

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> "Hyperparameters":
        """From SageMaker's strings. Raises ValueError that names a wrong one and those there are."""
        types = {name: type(default) for name, default in asdict(cls()).items()}
        if unknown := sorted(given.keys() - types.keys()):
            raise ValueError(f"unknown hyperparameters {', '.join(unknown)}; there are {', '.join(types)}")
        values: dict[str, Any] = {}
        for name, text in given.items():
            try:
                values[name] = types[name](text)
            except ValueError:
                raise ValueError(f"hyperparameter {name} is {text!r}; it must be {types[name].__name__}") from None
        return cls(**values)


def fit(matrix: Matrix, labels: Labels, given: Hyperparameters) -> xgboost.Booster:
    """Train on rows x features and labels of 0 and 1. Raises ValueError when there is nothing to tell apart."""
    if len(np.unique(labels)) < 2:
        raise ValueError(f"the {len(labels)} training rows are all late or all punctual; train on more days")
    settings = {"objective": "binary:logistic", "tree_method": "hist", **asdict(given)}
    rounds = settings.pop("n_estimators")
    return xgboost.train(settings, xgboost.DMatrix(matrix, labels), num_boost_round=rounds)


def export(booster: xgboost.Booster, sample: Matrix) -> bytes:
    """The booster as ONNX. Raises RuntimeError when it answers otherwise than the booster on `sample`."""
    shape = [(INPUT, FloatTensorType([None, sample.shape[1]]))]
    graph: bytes = convert_xgboost(booster, initial_types=shape).SerializeToString()
    difference = np.abs(probabilities(session(graph), sample) - booster.predict(xgboost.DMatrix(sample))).max()
    if not difference <= TOLERANCE:
        raise RuntimeError(f"the ONNX model differs from XGBoost's by {difference:.2g}, more than {TOLERANCE:.0e}")
    return graph


def train() -> dict[str, Any]:
    """The training job; returns what it logs."""
    given = Hyperparameters.parse(json.loads(contract.path(contract.HYPERPARAMETERS).read_text()))
    encoder = Encoder.load(contract.path(contract.ENCODER_CHANNEL))
    table = pq.read_table(contract.path(contract.TRAIN_CHANNEL))
    matrix = np.column_stack([table[feature.name].to_numpy() for feature in encoder.features])
    labels = table[LABEL].to_numpy()

    booster = fit(matrix, labels, given)
    graph = export(booster, matrix[:SAMPLE_ROWS])

    folder = contract.output_folder(contract.MODEL)
    (folder / MODEL_FILE).write_bytes(graph)
    shutil.copy(contract.path(contract.ENCODER_CHANNEL) / ENCODER_FILE, folder / ENCODER_FILE)
    return {"rows": len(labels), "late": float(labels.mean()), **asdict(given)}


def main() -> None:
    """Run the training job."""
    with contract.job(contract.TRAINING_FAILURE):
        logging.info(json.dumps(train()))


if __name__ == "__main__":
    main()
