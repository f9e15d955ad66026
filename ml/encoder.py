"""Turns columns of raw values into the model's input: one float32 a feature, NaN for what is unknown.

The same code encodes for training, evaluation and serving, so that they cannot come to differ.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.schema import FEATURE_SETS, Field, columns_of, derive

FILE = "encoder.json"
Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Encoder:
    """The features in the model's order and the categories of those that are text, as seen in training.

    `trained_on` describes the training rows: {"from", "through": "YYYY-MM-DD", "days", "rows"}.
    """

    feature_set: str
    features: tuple[Field, ...]
    categories: Mapping[str, Sequence[str]]
    trained_on: Mapping[str, Any]

    @classmethod
    def fit(cls, feature_set: str, columns: Columns, trained_on: Mapping[str, Any]) -> "Encoder":
        """Learn the categories from the training rows alone."""
        features = FEATURE_SETS[feature_set]
        texts = [feature.name for feature in features if feature.kind == "String"]
        seen = {name: sorted({value for value in columns[name] if value is not None}) for name in texts}
        return cls(feature_set, features, seen, trained_on)

    @property
    def columns(self) -> tuple[Field, ...]:
        """The columns that `encode` needs."""
        return columns_of(self.features)

    def encode(self, columns: Columns) -> npt.NDArray[np.float32]:
        """Rows x features. A category that training did not see is NaN, as null is: XGBoost's missing value."""
        values = derive(columns)
        matrix = np.empty((len(values[self.features[0].name]), len(self.features)), dtype=np.float32)
        for position, feature in enumerate(self.features):
            column = values[feature.name]
            if feature.kind == "String":
                codes = {category: code for code, category in enumerate(self.categories[feature.name])}
                column = [codes.get(value, np.nan) for value in column]
            matrix[:, position] = np.asarray(column, dtype=np.float64)  # None becomes NaN
        return matrix

    def save(self, folder: Path) -> None:
        """Write encoder.json."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, folder: Path) -> "Encoder":
        """Read encoder.json. Raises FileNotFoundError."""
        stored = json.loads((folder / FILE).read_text())
        return cls(**{**stored, "features": tuple(Field(**feature) for feature in stored["features"])})
