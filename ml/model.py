"""A model that answers: an ONNX graph with its encoder, or the baseline when there is none."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime

from ml.encoder import FILE as ENCODER_FILE
from ml.encoder import Columns, Encoder
from ml.schema import BASE_RATE, CALENDAR, FEATURE_SETS, SERVED_FEATURE_SET, Field, columns_of

MODEL_FILE = "model.onnx"
INPUT, PROBABILITIES = "features", "probabilities"


class Predictor(Protocol):
    """What can answer for flights."""

    @property
    def columns(self) -> Sequence[Field]:
        """The columns that `predict` needs."""

    def predict(self, columns: Columns) -> npt.NDArray[np.float32]:
        """The probability of a late arrival, one a row."""


class Model:
    """A trained model, as `ml.train` saves it."""

    def __init__(self, folder: Path) -> None:
        """Raises FileNotFoundError when the folder lacks the model or its encoder."""
        self.encoder = Encoder.load(folder)
        self.columns = self.encoder.columns
        graph = folder / MODEL_FILE
        if not graph.is_file():
            raise FileNotFoundError(f"{folder} has {ENCODER_FILE} but no {MODEL_FILE}: train the model again")
        self._session = session(graph.read_bytes())

    def predict(self, columns: Columns) -> npt.NDArray[np.float32]:
        """The probability of a late arrival, one a row."""
        return probabilities(self._session, self.encoder.encode(columns))


class Baseline:
    """Answers the base rate for every flight."""

    columns = columns_of(FEATURE_SETS[SERVED_FEATURE_SET])

    def predict(self, columns: Columns) -> npt.NDArray[np.float32]:
        """The base rate, once a row."""
        return np.full(len(columns[CALENDAR[0].name]), BASE_RATE, dtype=np.float32)


def load(folder: Path) -> Predictor:
    """The model in SageMaker's model folder; the baseline when it is empty, as it is for a Model without data.

    Raises FileNotFoundError for a folder with anything else in it, which must not pass for a model.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return Baseline()
    return Model(folder)


def session(graph: bytes) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session that computes on the calling thread: a tree ensemble of one row is too small to share."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def probabilities(graph: onnxruntime.InferenceSession, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The probability of the positive class, one a row of the encoder's matrix."""
    return graph.run([PROBABILITIES], {INPUT: matrix})[0][:, 1]
