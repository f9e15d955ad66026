"""Processing job: curated flights -> training and held-out rows, the encoder, and the baseline of the drift monitor."""

import argparse
import json
import logging
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from ml import baseline, contract
from ml.encoder import Encoder
from ml.schema import ARRIVAL_DELAY, CALENDAR, FEATURE_SETS, LABEL, LATE_MINUTES, Field, columns_of, derive

LATEST = "latest"
DATE = "date"  # yyyymmdd, an int: sorts and compares as the dates do

_ARROW_TYPES = {"Integral": pa.float64(), "Fractional": pa.float64(), "String": pa.string()}
_PARTITIONING = ds.partitioning(pa.schema([(field.name, pa.int32()) for field in CALENDAR]), flavor="hive")


def read(curated: Path, through: str, fields: Sequence[Field]) -> pa.Table:
    """Rows of the curated folder up to and including a day ("YYYY-MM-DD" or "latest").

    Columns: `fields`, the arrival delay and DATE. Raises ValueError when there are none or a column is missing.
    """
    names = [field.name for field in fields] + [ARRIVAL_DELAY]
    dataset = ds.dataset(curated, format="parquet", partitioning=_PARTITIONING)
    if not dataset.files:
        raise ValueError(f"there are no curated flights in {_source()}; run the Glue workflow first")
    if missing := sorted(set(names) - set(dataset.schema.names)):
        raise ValueError(f"the flights in {_source()} lack the columns {', '.join(missing)}; run the Glue job again")
    day = ds.field("year") * 10_000 + ds.field("month") * 100 + ds.field("day")
    chosen = None if through == LATEST else day <= _yyyymmdd(through)
    table = dataset.to_table(columns={**{name: ds.field(name) for name in names}, DATE: day}, filter=chosen)
    if not table.num_rows:
        first = described(dataset.to_table(columns={DATE: day}))["from"]
        raise ValueError(
            f"no curated flights on or before DataThrough {through}: those in {_source()} begin on {first}; "
            f"give that day or a later one, or {LATEST!r}"
        )
    types = [_ARROW_TYPES[field.kind] for field in fields] + [pa.float64(), pa.int32()]
    return table.cast(pa.schema(zip([*names, DATE], types, strict=True)))


def _source() -> str:
    return contract.source(contract.CURATED_INPUT)


def _yyyymmdd(text: str) -> int:
    try:
        return int(date.fromisoformat(text).strftime("%Y%m%d"))
    except ValueError:
        raise ValueError(f"DataThrough is {text!r}; it must be YYYY-MM-DD or {LATEST!r}") from None


def split(table: pa.Table, holdout_days: int) -> tuple[pa.Table, pa.Table]:
    """Rows before and rows of the last `holdout_days` days that have data. Raises ValueError when none are before."""
    days = np.unique(table[DATE].to_numpy())
    if not 1 <= holdout_days < len(days):
        raise ValueError(
            f"HoldoutDays is {holdout_days}; it must be 1 to {len(days) - 1}, for {len(days)} days have flights"
        )
    held_out = pc.greater_equal(table[DATE], pa.scalar(days[-holdout_days], pa.int32()))
    return table.filter(pc.invert(held_out)), table.filter(held_out)


def labelled(table: pa.Table) -> pa.Table:
    """The rows that arrived, with the label in place of the delay. Raises ValueError when none has."""
    arrived = table.filter(pc.is_valid(table[ARRIVAL_DELAY]))
    if not arrived.num_rows:
        window = described(table)
        raise ValueError(
            f"none of the {window['rows']} flights from {window['from']} through {window['through']} in {_source()} "
            f"has {ARRIVAL_DELAY}: nothing to learn from or to test with; choose another DataThrough or HoldoutDays"
        )
    late = pc.greater(arrived[ARRIVAL_DELAY], LATE_MINUTES).cast(pa.int8())
    return arrived.drop_columns([ARRIVAL_DELAY]).append_column(LABEL, late)


def values(table: pa.Table, fields: Sequence[Field]) -> dict[str, Sequence[Any]]:
    """The columns as the encoder takes them."""
    return {field.name: table[field.name].to_pylist() for field in fields}


def described(table: pa.Table) -> dict[str, Any]:
    """What a table covers: {"from", "through": "YYYY-MM-DD", "days", "rows"}."""
    days = np.unique(table[DATE].to_numpy())
    first, last = (date.fromisoformat(str(day)).isoformat() for day in (days[0], days[-1]))
    return {"from": first, "through": last, "days": len(days), "rows": table.num_rows}


def prepare(through: str, holdout_days: int, feature_set: str) -> dict[str, Any]:
    """The processing job; returns what it logs."""
    features = FEATURE_SETS[feature_set]
    fields = columns_of(features)
    window, held_out = split(read(contract.path(contract.CURATED_INPUT), through, fields), holdout_days)
    train, holdout = labelled(window), labelled(held_out)

    seen = values(window, fields)
    encoder = Encoder.fit(feature_set, seen, described(train))
    encoder.save(contract.output_folder(contract.ENCODER_OUTPUT))

    matrix = encoder.encode(values(train, fields))
    encoded = {feature.name: matrix[:, position] for position, feature in enumerate(features)}
    pq.write_table(
        pa.table({**encoded, LABEL: train[LABEL]}), contract.output_folder(contract.TRAIN_OUTPUT) / "train.parquet"
    )
    # Raw, so that the evaluation goes through the encoder as a request does.
    pq.write_table(holdout, contract.output_folder(contract.HOLDOUT_OUTPUT) / "holdout.parquet")
    # All flights of the window: requests come for those that will be cancelled too.
    baseline.write(derive(seen), features, window[DATE].to_numpy(), contract.output_folder(contract.BASELINE_OUTPUT))
    return {"train": described(train), "holdout": described(holdout), "feature_set": feature_set}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the processing job."""
    parser = argparse.ArgumentParser(prog="python3 -m ml.features", description=__doc__)
    parser.add_argument("--data-through", required=True, help="YYYY-MM-DD, the last day to use, or latest")
    parser.add_argument("--holdout-days", required=True, type=int, help="last days with data, kept for evaluation")
    parser.add_argument("--feature-set", required=True, choices=FEATURE_SETS)
    given = parser.parse_args(arguments)
    with contract.job(contract.PROCESSING_MESSAGE):
        logging.info(json.dumps(prepare(given.data_through, given.holdout_days, given.feature_set)))


if __name__ == "__main__":
    main()
