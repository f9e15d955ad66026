"""The baseline of the drift monitor: statistics.json and constraints.json in Model Monitor's formats.

How far may live requests be from the training rows before the model is out of its depth? Weather alone makes any two
weeks of one winter differ by half of what a distance can be, so that a fixed threshold either sleeps or cries wolf.
The training window says itself what is usual: every run of two weeks of it is compared with the rest of it, and
1.25 times the largest distance seen is the threshold of that feature, at least 0.1.

- Two weeks hold each day of the week twice and several weather systems; a quarter holds six of them. Windows of less
  are further apart by chance alone: judge two weeks of requests or more.
- 1.25 leaves room for a fortnight a little stranger than the strangest of the window, of which a quarter has seen few.
- 0.1 is Model Monitor's own default threshold. Without it a feature as stable as the mix of carriers, whose
  fortnights differ by 0.01, would alarm at a change of timetable, or at a month with five Mondays.
- A window of winter and two weeks of July differs so much within itself that the threshold of its temperature passes
  1: no temperature is drift any more, for a model that has learnt from both.

Completeness follows the same rule: it may fall below the window's by 1.25 times the largest fall in any two weeks, and
by 0.1 at least.

Format: docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-constraints.html
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.distributions import MISSING, PRESENT, Column, statistics
from ml.schema import Field

STATISTICS, CONSTRAINTS = "statistics.json", "constraints.json"
BLOCK_DAYS = 14
MARGIN = 1.25
SMALLEST = 0.1
_BINS = 1_000  # of a numeric feature; its fortnights are compared at these values alone

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def write(
    columns: Mapping[str, Sequence[Any]], features: Sequence[Field], dates: npt.NDArray[Any], folder: Path
) -> None:
    """Write statistics.json and constraints.json of training rows: values by feature, and the date of each row."""
    sorted_out = [Column.of(feature, columns[feature.name]) for feature in features]
    (folder / STATISTICS).write_text(json.dumps(statistics(sorted_out)))
    _, day = np.unique(dates, return_inverse=True)
    described = [_constraint(column, day) for column in sorted_out]
    (folder / CONSTRAINTS).write_text(json.dumps(constraints(described, day), indent=1))


def constraints(features: Sequence[Mapping[str, Any]], day: Ints) -> dict[str, Any]:
    """The content of constraints.json; `day` numbers the days of the rows from 0."""
    return {
        "version": 0,
        "features": list(features),
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Enabled",
            "datatype_check_threshold": SMALLEST,
            "domain_content_threshold": SMALLEST,
            "distribution_constraints": {
                "perform_comparison": "Enabled",
                "comparison_threshold": SMALLEST,
                "comparison_method": "Robust",
                "categorical_comparison_threshold": SMALLEST,
                "categorical_drift_method": "LInfinity",
            },
        },
        "window_days": block_days(day),  # ours: what the thresholds are for
    }


def _constraint(column: Column, day: Ints) -> dict[str, Any]:
    text = column.field.kind == "String"
    threshold = max(SMALLEST, MARGIN * widest(column, day))
    about = (
        {"string_constraints": {"domains": sorted(set(column.values.tolist()))}}
        if text
        else {"num_constraints": {"is_non_negative": bool((column.values >= 0).all())}}
    )
    key = "categorical_comparison_threshold" if text else "comparison_threshold"
    return {
        "name": column.field.name,
        "inferred_type": column.field.kind,
        "completeness": least_complete(column, day),
        **about,
        "monitoringConfigOverrides": {"distribution_constraints": {key: round(threshold, 4)}},
    }


def block_days(day: Ints) -> int:
    """The days in a block: a fortnight, or half of a window that is shorter than two."""
    return int(max(1, min(BLOCK_DAYS, (day.max() + 1) // 2)))


def in_blocks(counts: Floats, days: int) -> Floats:
    """Sums over every run of `days` rows of a days x bins matrix."""
    running = np.vstack([np.zeros((1, counts.shape[1])), counts.cumsum(axis=0)])
    return running[days:] - running[:-days]


def widest(column: Column, day: Ints) -> float:
    """The largest distance between any block of the window and the rest of it; 0 when there is no rest."""
    text = column.field.kind == "String"
    found, code = np.unique(column.values, return_inverse=True)
    bins = len(found)
    if not text and bins > _BINS:
        edges = np.unique(np.quantile(column.values, np.linspace(0, 1, _BINS + 1)[1:-1]))
        code, bins = np.searchsorted(edges, column.values), len(edges) + 1
    counts = by_day(day[column.states == PRESENT] * bins + code, int(day.max()) + 1, bins)
    inside = in_blocks(counts, block_days(day))
    outside = counts.sum(axis=0) - inside
    both = (inside.sum(axis=1) > 0) & (outside.sum(axis=1) > 0)
    apart = _share(inside[both]) - _share(outside[both])
    if not text:
        apart = apart.cumsum(axis=1)
    return float(np.abs(apart).max(initial=0.0))


def least_complete(column: Column, day: Ints) -> float:
    """The completeness below which requests are incomplete."""
    missing = column.states == MISSING
    counts = by_day(day * 2 + missing, int(day.max()) + 1, 2)
    inside = in_blocks(counts, block_days(day))
    usual = 1 - column.share(MISSING)
    fall = usual - (inside[:, 0] / inside.sum(axis=1)).min()
    return round(max(0.0, usual - max(SMALLEST, MARGIN * fall)), 4)


def by_day(cell: Ints, days: int, bins: int) -> Floats:
    """Counts, days x bins, of cells numbered `day * bins + bin`."""
    return np.bincount(cell, minlength=days * bins).reshape(days, bins).astype(np.float64)


def _share(counts: Floats) -> Floats:
    return counts / counts.sum(axis=1, keepdims=True)
