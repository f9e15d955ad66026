"""statistics.json in Model Monitor's format, and the distance between two of its distributions.

Format: docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-statistics.html
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from datasketches import kll_doubles_sketch

from ml.schema import Field

KLL_C, KLL_K = 0.64, 2048  # Model Monitor's own; a rank is then exact to about 0.001
BUCKETS = 10  # Model Monitor's own
_SKETCH_HEADER = 20  # bytes before the level offsets: datasketches-cpp, kll/include/kll_sketch_impl.hpp

Feature = Mapping[str, Any]  # an entry of "features" in statistics.json


PRESENT, MISSING, MISTYPED = range(3)


@dataclass(frozen=True)
class Column:
    """One feature: the values of its type (float64, or str objects) and the state of every row."""

    field: Field
    values: npt.NDArray[Any]
    states: npt.NDArray[np.int8]

    @classmethod
    def of(cls, field: Field, raw: Sequence[Any]) -> "Column":
        """Sort raw JSON values, one a row, into those of the type, those that are missing and those of another type."""
        values: list[Any] = []
        states = np.full(len(raw), PRESENT, dtype=np.int8)
        for row, item in enumerate(raw):
            try:
                value = field.value(item)
            except ValueError:
                states[row] = MISTYPED
                continue
            if value is None:
                states[row] = MISSING
            else:
                values.append(value)
        return cls(field, np.array(values, dtype=object if field.kind == "String" else np.float64), states)

    def count(self, state: int) -> int:
        """How many rows are in a state."""
        return int((self.states == state).sum())

    def share(self, state: int) -> float:
        """The share of rows in a state; 0 for no rows."""
        return self.count(state) / max(1, len(self.states))


def statistics(columns: Sequence[Column]) -> dict[str, Any]:
    """The content of statistics.json."""
    return {
        "version": 0,
        "dataset": {"item_count": max((len(column.states) for column in columns), default=0)},
        "features": [_feature(column) for column in columns],
    }


def _feature(column: Column) -> dict[str, Any]:
    common = {"num_present": len(column.values), "num_missing": column.count(MISSING)}
    name = {"name": column.field.name, "inferred_type": column.field.kind}
    if column.field.kind == "String":
        found, counts = np.unique(column.values, return_counts=True)
        buckets = [{"value": str(v), "count": int(n)} for v, n in zip(found, counts, strict=True)]
        distribution = {"categorical": {"buckets": buckets}}
        return {
            **name,
            "string_statistics": {"common": common, "distinct_count": len(found), "distribution": distribution},
        }
    return {**name, "numerical_statistics": {"common": common, **_numbers(column.values)}}


def _numbers(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    if not len(values):
        return {}
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):  # too close for the buckets to have bounds of their own
        half = max(0.5, 1e-6 * abs(low))
        low, high = low - half, high + half
    counts, edges = np.histogram(values, bins=BUCKETS, range=(low, high))
    buckets = [
        {"lower_bound": float(lower), "upper_bound": float(upper), "count": int(count)}
        for (lower, upper), count in zip(pairwise(edges), counts, strict=True)
    ]
    sketch = {"parameters": {"c": KLL_C, "k": KLL_K}, "data": sketch_levels(values)}
    return {
        "mean": float(values.mean()),
        "sum": float(values.sum()),
        "std_dev": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
        "distribution": {"kll": {"buckets": buckets, "sketch": sketch}},
    }


def sketch_levels(values: npt.NDArray[np.float64]) -> list[list[float]]:
    """A KLL sketch as Model Monitor stores it: lists of values, each in the i-th standing for 2**i of the input."""
    sketch = kll_doubles_sketch(KLL_K)
    sketch.update(np.ascontiguousarray(values, dtype=np.float64))
    if sketch.n == 1:  # has a serialized form of its own
        return [[float(values[0])]]
    data = sketch.serialize()
    levels = data[18]
    starts = struct.unpack_from(f"<{levels}I", data, _SKETCH_HEADER)
    items = np.frombuffer(data, dtype="<f8", offset=_SKETCH_HEADER + 4 * levels)[2:]  # the first two: min and max
    bounds = [start - starts[0] for start in starts] + [len(items)]
    return [items[low:high].tolist() for low, high in pairwise(bounds)]


def distance(one: Feature, other: Feature) -> float | None:
    """How far two distributions of a feature are apart, 0 to 1; None when one has no values.

    Numbers: the largest difference between the distribution functions (Kolmogorov-Smirnov). Text: the largest
    difference between the shares of a category. From each, what samples of these sizes differ by alone is taken off:
    Model Monitor's "Robust" comparison, as in its engine's
    github.com/awslabs/deequ/blob/master/src/main/scala/com/amazon/deequ/analyzers/Distance.scala
    """
    sizes = present(one), present(other)
    if not all(sizes):
        return None
    apart = _categories_apart(one, other) if "string_statistics" in one else _numbers_apart(one, other)
    return max(0.0, apart - 1.8 * math.sqrt(sum(sizes) / math.prod(sizes)))


def present(feature: Feature) -> int:
    """How many values a feature's statistics are of."""
    kind = "string_statistics" if "string_statistics" in feature else "numerical_statistics"
    return int(feature[kind]["common"]["num_present"])


def shares(feature: Feature) -> dict[str, float]:
    """The share of each category of a text feature."""
    buckets = feature["string_statistics"]["distribution"]["categorical"]["buckets"]
    total = sum(bucket["count"] for bucket in buckets)
    return {bucket["value"]: bucket["count"] / total for bucket in buckets}


def _categories_apart(one: Feature, other: Feature) -> float:
    first, second = shares(one), shares(other)
    return max(abs(first.get(value, 0) - second.get(value, 0)) for value in first | second)


def _numbers_apart(one: Feature, other: Feature) -> float:
    first, second = _weighted(one), _weighted(other)
    at = np.union1d(first[0], second[0])
    return float(np.abs(_cumulative(*first, at) - _cumulative(*second, at)).max())


def _weighted(feature: Feature) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The sketch's values in order, and the share of the input up to and including each."""
    data = feature["numerical_statistics"]["distribution"]["kll"]["sketch"]["data"]
    values = np.concatenate([np.asarray(level, dtype=np.float64) for level in data])
    weights = np.concatenate([np.full(len(level), 2.0**power) for power, level in enumerate(data)])
    order = np.argsort(values)
    return values[order], np.cumsum(weights[order]) / weights.sum()


def _cumulative(
    values: npt.NDArray[np.float64], share: npt.NDArray[np.float64], at: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The distribution function of weighted values at `at`."""
    return np.concatenate([[0.0], share])[np.searchsorted(values, at, side="right")]
