"""Judges captured rows against statistics.json and constraints.json, as Model Monitor would.

Format: docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ml.distributions import MISSING, MISTYPED, Column, distance, shares, statistics
from ml.requests import Row
from ml.schema import CALENDAR, DAY_OF_WEEK, Field, weekday

DRIFT_CHECK = "baseline_drift_check"

Violation = dict[str, str]
Document = Mapping[str, Any]


def features_of(row: Row) -> Row:
    """The row with the columns of the calendar replaced by the feature made of them; null where they make no date."""
    calendar = [field.name for field in CALENDAR]
    return {**{name: value for name, value in row.items() if name not in calendar}, DAY_OF_WEEK.name: _weekday(row)}


def _weekday(row: Row) -> int | None:
    try:
        return weekday(*(field.value(row.get(field.name)) for field in CALENDAR))
    except ValueError:
        return None


def columns_of(rows: Sequence[Row], constraints: Document) -> list[Column]:
    """The constrained features of the rows."""
    fields = [Field(feature["name"], feature["inferred_type"]) for feature in constraints["features"]]
    return [Column.of(field, [row.get(field.name) for row in rows]) for field in fields]


def thresholds(constraints: Document) -> dict[str, float]:
    """The distance each feature may have."""
    general = constraints["monitoring_config"]["distribution_constraints"]
    found = {}
    for feature in constraints["features"]:
        own = feature.get("monitoringConfigOverrides", {}).get("distribution_constraints", {})
        text = feature["inferred_type"] == "String"
        found[feature["name"]] = (general | own)["categorical_comparison_threshold" if text else "comparison_threshold"]
    return found


def distances(baseline: Document, live: Document) -> dict[str, float | None]:
    """How far each live feature is from the baseline's; None for one that has no values on a side."""
    by_name = {feature["name"]: feature for feature in baseline["features"]}
    return {feature["name"]: distance(by_name[feature["name"]], feature) for feature in live["features"]}


def drifted(apart: Mapping[str, float | None], allowed: Mapping[str, float]) -> list[Violation]:
    """A violation for every feature that is further away than it may be."""
    return [
        _violation(name, DRIFT_CHECK, f"Baseline drift distance: {far:.4f} exceeds threshold: {allowed[name]}")
        for name, far in apart.items()
        if far is not None and far > allowed[name]
    ]


def quality(columns: Sequence[Column], rows: Sequence[Row], live: Document, constraints: Document) -> list[Violation]:
    """Violations of everything but the distributions."""
    config = constraints["monitoring_config"]
    present = {name for row in rows for name in row}
    expected = [feature["name"] for feature in constraints["features"]]
    found = [
        *(_violation(name, "missing_column_check", "No request has it") for name in expected if name not in present),
        *(
            _violation(name, "extra_column_check", "The baseline has no such column")
            for name in sorted(present - set(expected))
        ),
    ]
    for column, feature, constraint in zip(columns, live["features"], constraints["features"], strict=True):
        name, complete, mistyped = feature["name"], 1 - column.share(MISSING), column.share(MISTYPED)
        if name in present and complete < constraint["completeness"]:
            text = f"Data completeness: {complete:.2%} is below the baseline's {constraint['completeness']:.2%}"
            found.append(_violation(name, "completeness_check", text))
        if mistyped > config["datatype_check_threshold"]:
            text = f"Data type: {mistyped:.2%} of the values are not {constraint['inferred_type']}"
            found.append(_violation(name, "data_type_check", text))
        domains = constraint.get("string_constraints", {}).get("domains")
        if domains is not None and (unknown := _unknown(feature, domains)) > config["domain_content_threshold"]:
            text = f"Unknown values: {unknown:.2%} of the values are not in the baseline's domain"
            found.append(_violation(name, "categorical_values_check", text))
    return found


def _unknown(feature: Document, domains: Sequence[str]) -> float:
    known = set(domains)
    return sum(share for value, share in shares(feature).items() if value not in known)


def _violation(feature: str, check: str, description: str) -> Violation:
    return {"feature_name": feature, "constraint_check_type": check, "description": description}


def judge(
    captured: Sequence[Row], baseline: Document, constraints: Document
) -> tuple[dict[str, Any], list[Violation], Document]:
    """The verdict, the violations and the statistics of captured rows.

    The verdict: {"drifted", "violations" (features too far away), "quality_violations" (all others), "rows",
    "features": {name: {"distance", "threshold"}}}.
    """
    rows = [features_of(row) for row in captured]
    columns = columns_of(rows, constraints)
    live = statistics(columns)
    allowed, apart = thresholds(constraints), distances(baseline, live)
    drift = drifted(apart, allowed)
    other = quality(columns, rows, live, constraints) if rows else []
    verdict = {
        "drifted": bool(drift),
        "violations": len(drift),
        "quality_violations": len(other),
        "rows": len(rows),
        "features": {
            name: {"distance": far if far is None else round(far, 4), "threshold": allowed[name]}
            for name, far in apart.items()
        },
    }
    return verdict, [*drift, *other], live
