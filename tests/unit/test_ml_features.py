"""From curated Parquet to the model's input: what is chosen, how it is split, what the encoder does not know."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import contract, features
from ml.encoder import Encoder
from ml.schema import DAY_OF_WEEK, FEATURE_SETS, columns_of, weekday
from schemas.flights import CURATED_COLUMNS, PARTITION_KEYS

FEATURES = FEATURE_SETS["at_departure"]
FIELDS = columns_of(FEATURES)
DAYS = [date(2013, 1, 30) + timedelta(days=n) for n in (0, 1, 2, 9, 10)]  # over the end of a month, with a gap


def flight(day: date, **known: Any) -> dict[str, Any]:
    """A curated row."""
    row = {field.name: "AA" if field.kind == "String" else 1.0 for field in FIELDS}
    return {**row, "year": day.year, "month": f"{day.month:02d}", "day": f"{day.day:02d}", "arr_delay": 0.0} | known


def curate(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as the Glue job does; the base folder of the job."""
    keys = pa.schema([("year", pa.int32()), ("month", pa.string()), ("day", pa.string())])
    target = folder / contract.CURATED_INPUT
    ds.write_dataset(
        pa.Table.from_pylist(rows), target, format="parquet", partitioning=ds.partitioning(keys, flavor="hive")
    )
    return target


def encoder(**columns: list[Any]) -> tuple[Encoder, dict[str, list[Any]]]:
    """An encoder fit on one row per day, with those columns instead."""
    rows = [{field.name: flight(day)[field.name] for field in FIELDS} for day in DAYS]
    table = {field.name: [row[field.name] for row in rows] for field in FIELDS} | columns
    return Encoder.fit("at_departure", table, {}), table


def test_the_features_are_made_of_curated_columns_of_the_same_types() -> None:
    curated = dict(CURATED_COLUMNS + PARTITION_KEYS)
    kinds = {"string": {"String"}, "int": {"Integral"}, "double": {"Fractional"}}
    for field in FIELDS:
        assert field.kind in kinds[curated[field.name]], field
    assert FEATURE_SETS["before_departure"] == tuple(f for f in FEATURES if f.name != "dep_delay")


def test_days_are_chosen_and_the_last_with_data_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [flight(day, arr_delay=delay) for day in DAYS for delay in (0.0, 15.0, 15.5, None)]
    curate(tmp_path, rows)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    features.main(["--data-through=2013-02-08", "--holdout-days=2", "--feature-set=before_departure"])

    train = pq.read_table(contract.path(contract.TRAIN_OUTPUT))
    holdout = pq.read_table(contract.path(contract.HOLDOUT_OUTPUT))
    assert train.column_names == [feature.name for feature in FEATURE_SETS["before_departure"]] + ["late"]
    assert sorted(set(holdout["date"].to_pylist())) == [20130201, 20130208]  # the days between have no data
    assert train.num_rows == holdout.num_rows == 6  # a null delay has no label
    assert train["late"].to_pylist() == [0, 0, 1] * 2  # late is more than 15 minutes
    assert train["day_of_week"].to_pylist() == [3.0] * 3 + [4.0] * 3
    known = Encoder.load(contract.path(contract.ENCODER_OUTPUT))
    assert known.trained_on == {"from": "2013-01-30", "through": "2013-01-31", "days": 2, "rows": 6}
    statistics = json.loads((contract.path(contract.BASELINE_OUTPUT) / "statistics.json").read_text())
    assert statistics["dataset"]["item_count"] == 8  # requests come for flights that get cancelled too


@pytest.mark.parametrize(
    ("through", "days", "message"),
    [
        (
            "2012-12-31",
            1,
            "no curated flights on or before DataThrough 2012-12-31: those in s3://lake/flights/ begin on 2013-01-30; "
            "give that day or a later one, or 'latest'",
        ),
        ("yesterday", 1, "DataThrough is 'yesterday'; it must be YYYY-MM-DD or 'latest'"),
        ("latest", 5, "HoldoutDays is 5; it must be 1 to 4"),
        ("latest", 0, "HoldoutDays is 0"),
    ],
)
def test_what_can_not_be_chosen_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, through: str, days: int, message: str
) -> None:
    curate(tmp_path, [flight(day) for day in DAYS])
    configure(tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=message):
        features.main([f"--data-through={through}", f"--holdout-days={days}", "--feature-set=before_departure"])
    assert message in contract.path(contract.PROCESSING_MESSAGE).read_text()


def configure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `folder` that of a processing job, with what SageMaker tells it."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(folder))
    s3_input = {"LocalPath": f"/opt/ml/{contract.CURATED_INPUT}", "S3Uri": "s3://lake/flights/"}
    config = contract.path(contract.PROCESSING_JOB)
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"ProcessingInputs": [{"InputName": "curated", "S3Input": s3_input}]}))


def test_a_window_in_which_nothing_arrived_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curate(tmp_path, [flight(day, arr_delay=None if day == DAYS[0] else 0.0) for day in DAYS])
    configure(tmp_path, monkeypatch)
    message = "none of the 1 flights from 2013-01-30 through 2013-01-30 in s3://lake/flights/ has arr_delay"
    with pytest.raises(ValueError, match=message):
        features.main(["--data-through=2013-01-31", "--holdout-days=1", "--feature-set=before_departure"])


def test_missing_data_and_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no curated flights in .*{contract.CURATED_INPUT}; run the Glue workflow"):
        features.read(tmp_path, "latest", FIELDS)
    rows = [{name: value for name, value in flight(DAYS[0]).items() if name not in ("temp", "visib")}]
    with pytest.raises(ValueError, match="lack the columns temp, visib"):
        features.read(curate(tmp_path, rows), "latest", FIELDS)


def test_unknown_and_null_categories_are_missing_values() -> None:
    known, table = encoder(carrier=["UA", "AA", None, "UA", "DL"])
    assert known.categories["carrier"] == ["AA", "DL", "UA"]
    encoded = known.encode({**table, "carrier": ["UA", "XX", None, "DL", "AA"]})[:, 0]
    np.testing.assert_array_equal(encoded, [2, np.nan, np.nan, 1, 0])


def test_null_numbers_and_dates_are_missing_values() -> None:
    known, table = encoder(temp=[None, 1.5, float("nan"), 2, 3], day=[None, 31, 1, 8, 9])
    encoded = known.encode(table)
    names = [feature.name for feature in FEATURES]
    np.testing.assert_array_equal(encoded[:, names.index("temp")], [np.nan, 1.5, np.nan, 2, 3])
    assert np.isnan(encoded[0, names.index("day_of_week")])


@settings(max_examples=30)
@given(carriers=st.lists(st.none() | st.text(max_size=3), min_size=5, max_size=5))
def test_a_saved_encoder_encodes_the_same(tmp_path_factory: pytest.TempPathFactory, carriers: list[Any]) -> None:
    known, table = encoder(carrier=carriers)
    folder = tmp_path_factory.mktemp("encoder")
    known.save(folder)
    read = Encoder.load(folder)
    assert read == known
    np.testing.assert_array_equal(read.encode(table), known.encode(table))


def test_the_day_of_the_week_is_iso() -> None:
    assert [weekday(2013, 7, day) for day in (1, 7)] == [1, 7]
    assert weekday(2013.0, 7.0, 4.0) == 4
    assert weekday(2013, None, 4) is None
    with pytest.raises(ValueError, match="month"):
        weekday(2013, 13, 1)
    assert DAY_OF_WEEK in FEATURES and DAY_OF_WEEK not in FIELDS
