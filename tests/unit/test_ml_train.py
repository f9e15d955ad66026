"""Training: hyperparameters, the ONNX model against XGBoost's, and what a failure leaves behind."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost

from ml import contract, model, train
from ml.encoder import Encoder
from ml.schema import FEATURE_SETS
from ml.train import Hyperparameters

FEATURES = FEATURE_SETS["before_departure"]
SMALL = Hyperparameters(n_estimators=20, max_depth=4, min_child_weight=1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep XGBoost's threads from spinning for cores that other tests use."""
    with xgboost.config_context(nthread=1):
        yield


def rows(count: int, late: float) -> tuple[train.Matrix, train.Labels]:
    """Random rows with gaps, of which about a share `late` is positive."""
    random = np.random.default_rng(count)
    matrix = random.normal(size=(count, len(FEATURES))).astype(np.float32)
    score = matrix[:, 0] + random.normal(size=count)
    labels = (score > np.quantile(score, 1 - late)).astype(np.int8)
    matrix[random.random(matrix.shape) < 0.2] = np.nan
    return matrix, labels


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch, hyperparameters: dict[str, str]) -> None:
    """SageMaker's folders of a training job."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(folder))
    for name in (contract.TRAIN_CHANNEL, contract.ENCODER_CHANNEL, "input/config"):
        (folder / name).mkdir(parents=True)
    contract.path(contract.HYPERPARAMETERS).write_text(json.dumps(hyperparameters))
    texts = [feature.name for feature in FEATURES if feature.kind == "String"]
    Encoder("before_departure", FEATURES, {name: ["a"] for name in texts}, {}).save(folder / contract.ENCODER_CHANNEL)
    matrix, labels = rows(400, 0.2)
    table = {feature.name: matrix[:, position] for position, feature in enumerate(FEATURES)}
    pq.write_table(pa.table({**table, "late": labels}), folder / contract.TRAIN_CHANNEL / "train.parquet")


@pytest.mark.parametrize("late", [0.5, 0.05])
def test_onnx_answers_as_xgboost_does(late: float) -> None:
    matrix, labels = rows(800, late)
    booster = train.fit(matrix, labels, SMALL)
    answered = model.probabilities(model.session(train.export(booster, matrix)), matrix)
    np.testing.assert_allclose(answered, booster.predict(xgboost.DMatrix(matrix)), atol=1e-6)
    assert answered[labels == 1].mean() > answered[labels == 0].mean()


def test_a_model_that_differs_is_not_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, labels = rows(400, 0.3)
    booster = train.fit(matrix, labels, SMALL)
    monkeypatch.setattr(train, "TOLERANCE", -1.0)
    with pytest.raises(RuntimeError, match="differs from XGBoost's"):
        train.export(booster, matrix)


def test_the_job_saves_a_model_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, monkeypatch, {"n_estimators": "5", "learning_rate": "0.3"})
    train.main()
    loaded = model.load(contract.path(contract.MODEL))
    assert isinstance(loaded, model.Model)
    columns = {field.name: [None if field.kind == "String" else 1] for field in loaded.columns}
    assert 0 < loaded.predict(columns)[0] < 1
    assert not contract.path(contract.TRAINING_FAILURE).exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rounds": "5"}, "unknown hyperparameters rounds; there are n_estimators, max_depth"),
        ({"max_depth": "6.5"}, "hyperparameter max_depth is '6.5'; it must be int"),
        ({"learning_rate": "fast"}, "hyperparameter learning_rate is 'fast'; it must be float"),
    ],
)
def test_a_failure_is_written_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], message: str
) -> None:
    prepare(tmp_path, monkeypatch, given)
    with pytest.raises(ValueError, match="hyperparameter"):
        train.main()
    assert message in contract.path(contract.TRAINING_FAILURE).read_text()


def test_one_outcome_is_nothing_to_learn_from() -> None:
    with pytest.raises(ValueError, match="all late or all punctual"):
        train.fit(np.zeros((3, 2), np.float32), np.ones(3, np.int8), SMALL)
