"""Tests of the demo's report: the page says what the report says, whole, escaped, and alone."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest

from demo import report

HOSTILE = "<script>alert('1')</script> & \"quoted\""
# Dictionaries of which no single key has to be there.
OPEN = ("records_quarantined", "seconds", "deployed", "roc", "features")
VOID = ("meta", "br")


def roc(auc: float) -> list[list[float]]:
    """The curve of two normal distributions of scores that has this area."""
    normal = NormalDist()
    distance = normal.inv_cdf(auc) * 2**0.5
    rates = [point / 100 for point in range(1, 100)]
    return [[0, 0], *([rate, normal.cdf(distance + normal.inv_cdf(rate))] for rate in rates), [1, 1]]


def drift(features: dict[str, tuple[float, ...]], month: int) -> dict[str, Any]:
    """What the monitor found in a month, the number of a column of `features`."""
    found = {name: {"distance": numbers[month], "threshold": numbers[0]} for name, numbers in features.items()}
    violations = sum(feature["distance"] > feature["threshold"] for feature in found.values())
    return {"drifted": violations >= 3, "violations": violations, "features": found}


def sample() -> dict[str, Any]:
    """A report as a run of five months would give it."""
    features = {  # threshold, distance in April and in July
        "temp": (0.3, 0.214, 0.712),
        "dewp": (0.3, 0.173, 0.688),
        "humid": (0.25, 0.121, 0.301),
        "hour": (0.15, 0.031, 0.042),
        "pressure": (0.15, 0.108, 0.163),
        "visib": (0.15, 0.052, 0.071),
        "precip": (0.15, 0.047, 0.058),
        "wind_speed": (0.15, 0.066, 0.149),
        "distance": (0.15, 0.012, 0.023),
        "dest": (0.15, 0.038, 0.064),
        "carrier": (0.15, 0.029, 0.041),
        "origin": (0.15, 0.017, 0.022),
        "month": (0.9, 0.801, 0.994),
    }
    loop = [
        (0, "drift metric published", "drift_violations 5 for endpoint millrace-sandbox-flights"),
        (1.2, "alarm in ALARM", "5 violations, threshold 3; SNS told people, EventBridge told the pipeline"),
        (2.0, "training pipeline started", "through 2013-07-16, approved without a person in sandbox"),
        (31.5, "model package registered", "version 2, AUC 0.752 on 17 to 31 July"),
        (31.9, "stack update started", "millrace-sandbox-serving with its previous template"),
        (47.3, "endpoint in service", "answers with version 2"),
    ]
    start = datetime(2026, 11, 22, 20, 14, 3, tzinfo=UTC)
    return {
        "generated_at": "2026-11-22T20:16:40+00:00",
        "environment": "sandbox",
        "millrace_version": "0.1.0",
        "versions": {
            "Python": "3.11.7",
            "CDK CLI": "2.1148.1",
            "MiniStack": "1.5.33",
            "Spark": "3.5.6",
            "XGBoost": "3.2.0",
            "ONNX Runtime": "1.32.0",
            "DuckDB": "2.0.0",
        },
        "seconds_total": 312.4,
        "records_expected": 139_544,
        "records_sent": 139_544,
        "records_curated": 138_135,
        "records_quarantined": {
            "broken_json": 281,
            "missing_field": 290,
            "wrong_type": 268,
            "impossible_value": 274,
            "unexpected_field": 282,
            "oversize": 14,
        },
        "records_duplicate": 698,
        "weather": {"expected": 11_000, "sent": 11_000, "landed": 10_890, "quarantined": 110, "duplicate": 9},
        "accounting_problems": [],
        "months": [
            {"year": 2013, "month": month, "flights": flights, "weather": flights, "planes": 20_000, "airports": 24_000}
            for month, flights in {1: 26_732, 2: 24_698, 3: 28_545, 4: 28_051, 7: 30_109}.items()
        ],
        "seconds": {
            "synthesize": 8.1,
            "start the local cloud": 2.3,
            "deploy": 71.9,
            "send": 58.2,
            "curate": 49.6,
            "train and register": 34.0,
            "roll out": 16.8,
            "send requests": 12.2,
            "monitor": 11.7,
            "drift to new model": 47.6,
        },
        "resources": {
            "deployed": {
                "AWS::S3::Bucket": 7,
                "AWS::S3::BucketPolicy": 7,
                "AWS::IAM::Role": 21,
                "AWS::IAM::Policy": 17,
                "AWS::KMS::Key": 1,
                "AWS::Kinesis::Stream": 1,
                "AWS::KinesisFirehose::DeliveryStream": 1,
                "AWS::Lambda::Function": 6,
                "AWS::Lambda::Permission": 5,
                "AWS::Logs::LogGroup": 9,
                "AWS::Glue::Database": 1,
                "AWS::Glue::Table": 2,
                "AWS::Glue::Job": 1,
                "AWS::Glue::Workflow": 1,
                "AWS::Glue::Trigger": 2,
                "AWS::Athena::WorkGroup": 1,
                "AWS::Events::Rule": 5,
                "AWS::SageMaker::Model": 1,
                "AWS::SageMaker::EndpointConfig": 1,
                "AWS::SageMaker::Endpoint": 1,
                "AWS::SageMaker::Pipeline": 2,
                "AWS::SageMaker::ModelPackageGroup": 1,
                "AWS::CloudWatch::Alarm": 3,
                "AWS::SNS::Topic": 1,
                "AWS::CodeBuild::Project": 1,
                "AWS::ECR::Repository": 1,
                "Custom::S3AutoDeleteObjects": 7,
            },
            "not_created": [],
        },
        "model": {
            "served": "before_departure",
            "why": "The departure delay gives a better answer, but only once it is too late to ask.",
            "package": "arn:aws:sagemaker:eu-west-1:111111111111:model-package/millrace-sandbox-flights/2",
            "auc_april": {"before_departure": 0.641, "at_departure": 0.883},
            "auc_april_floor": {"before_departure": 0.633, "at_departure": 0.879},
            "auc_july": {"frozen": 0.685, "retrained": 0.752},
            "july_window": "17 to 31 July",
            "roc": {
                "april_before_departure": roc(0.641),
                "april_at_departure": roc(0.883),
                "july_frozen": roc(0.685),
                "july_retrained": roc(0.752),
            },
        },
        "drift": {
            "april": drift(features, 1),
            "july": drift(features, 2),
        },
        "endpoint": {"p50_ms": 6.1, "p99_ms": 20.2, "requests": 500, "captured": 800},
        "loop": [
            {"at": (start + timedelta(seconds=after)).isoformat(), "event": event, "detail": detail}
            for after, event, detail in loop
        ],
        "not_emulated": [
            "IAM decisions: every call is allowed, whatever the policies say",
            "Encryption at rest: keys are created and named, bytes are stored as they are",
            "Instance types, scaling and cold starts: jobs and endpoints are processes of this machine",
            "Network: VPCs, security groups and endpoints exist as records only",
        ],
    }


class Page(HTMLParser):
    """A page's text and attributes; an element that is closed wrongly or never is an error."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["title"]):
            self.words.append(data)


def required(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every key that a report must have, in its first item where there are many."""
    if isinstance(value, list) and value:
        yield from required(value[0], (*path, 0))
    elif isinstance(value, dict) and path and path[-1] in OPEN:
        first = next(iter(value))
        yield from required(value[first], (*path, first))
    elif isinstance(value, dict):
        for key, child in value.items():
            yield (*path, key)
            yield from required(child, (*path, key))


def test_writes_the_report_and_a_page_that_shows_its_numbers(tmp_path: Path) -> None:
    data = sample()
    path = report.write(data, tmp_path / "build" / "demo")
    assert path == tmp_path / "build" / "demo" / "report.html"
    assert json.loads(path.with_suffix(".json").read_text()) == data

    shown = Page(path).text
    platform = "a platform of 107 deployed resources on this machine"
    assert f"139,544 events , 5 months of flights, went through {platform}" in shown
    assert "in 5 min 12 s . It cost $0 and needed no Docker" in shown
    assert "139,544 sent = 138,135 curated + 1,395 quarantined + 14 refused ✓ every event is accounted for" in shown
    assert "has 139,544 flights on the days replayed, one event each. 698 events were sent twice" in shown
    assert "it has 11,000 hours: 11,000 sent = 10,890 landed + 110 quarantined or refused; 9 were sent twice." in shown
    assert "100.0 % found their weather, 72.4 % found their plane, 86.9 % found their airport of arrival." in shown
    assert "plain XGBoost with 200 trees, 0.633 and 0.879." in shown
    for month in data["months"]:
        assert f"{month['flights']:,}" in shown
    for reason, count in data["records_quarantined"].items():
        assert reason == "oversize" or f"{count} {reason}" in shown
    for auc in [*data["model"]["auc_april"].values(), *data["model"]["auc_july"].values()]:
        assert f"{auc:.3f}" in shown
    for name, feature in data["drift"]["july"]["features"].items():
        april = data["drift"]["april"]["features"][name]
        assert f"{name} {april['distance']:.3f} {feature['distance']:.3f} {feature['threshold']:.3f}" in shown
    for step, seconds in data["seconds"].items():
        assert f"{step} {seconds} s" in shown
    for entry in data["loop"]:
        assert f"{entry['event']} {entry['detail']}" in shown
    assert "20:14:34 +29.5 s model package registered" in shown
    assert "p50 6.1 ms p99 20.2 ms" in shown
    assert "IAM 38 Policy 17 Role 21" in shown
    assert data["not_emulated"][-1] in shown
    assert (
        "Python 3.11.7" in shown and "by AWS's CDK CLI 2.1148.1" in shown and "MiniStack 1.5.33, an emulator" in shown
    )


def test_features_are_sorted_by_how_far_july_is_beyond_the_threshold(tmp_path: Path) -> None:
    text = Page(report.write(sample(), tmp_path)).text
    places = [text.index(f" {name} 0.") for name in ("temp", "dewp", "humid", "month", "pressure", "origin")]
    assert places == sorted(places)


def test_page_loads_nothing(tmp_path: Path) -> None:
    path = report.write(sample(), tmp_path)
    assert {name for name, _ in Page(path).attributes}.isdisjoint({"src", "href", "srcset", "action", "data"})
    assert not re.search(r"https?:|url\(|@import|<script|<link|<img", path.read_text())


def test_text_is_escaped(tmp_path: Path) -> None:
    data = sample()
    data["model"] |= {"why": HOSTILE, "package": HOSTILE, "july_window": HOSTILE}
    data |= {"environment": HOSTILE, "not_emulated": [HOSTILE], "accounting_problems": [HOSTILE]}
    data["loop"][0] |= {"event": HOSTILE, "detail": HOSTILE}
    data["seconds"][HOSTILE] = 1.0
    data["resources"] = {"deployed": {HOSTILE: 1}, "not_created": [HOSTILE]}
    data["records_quarantined"][HOSTILE] = 0
    for month in data["drift"].values():
        month["features"][HOSTILE] = {"distance": 0.1, "threshold": 0.2}
    path = report.write(data, tmp_path)
    assert "<script" not in path.read_text()
    # Each once, the reason twice: in the picture and in the list that phones show.
    assert Page(path).text.count(HOSTILE) == 14


@pytest.mark.parametrize("path", list(required(sample())), ids=lambda path: ".".join(map(str, path)))
def test_missing_key_is_named_and_nothing_is_written(path: tuple[str | int, ...], tmp_path: Path) -> None:
    data = sample()
    parent: Any = data
    for key in path[:-1]:
        parent = parent[key]
    del parent[path[-1]]
    with pytest.raises(KeyError, match=str(path[-1])):
        report.write(data, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_part_of_april_has_no_floor(tmp_path: Path) -> None:
    data = sample()
    data["model"]["auc_april_floor"] = None
    assert "plain XGBoost" not in Page(report.write(data, tmp_path)).text


def test_events_unaccounted_for_are_said(tmp_path: Path) -> None:
    data = sample()
    data["records_curated"] -= 3
    data["accounting_problems"] = ["EV-1 is nowhere", "EV-2 is nowhere", "EV-3 is nowhere"]
    text = Page(report.write(data, tmp_path)).text
    assert "✗ 3 unaccounted for" in text
    assert "EV-2 is nowhere" in text
    assert "✓" not in text


def test_resources_not_created_are_named(tmp_path: Path) -> None:
    data = sample()
    assert "created every one" in Page(report.write(data, tmp_path)).text
    data["resources"]["not_created"] = ["AWS::SageMaker::MonitoringSchedule"]
    text = Page(report.write(data, tmp_path)).text
    assert "Not created by the local cloud: AWS::SageMaker::MonitoringSchedule" in text
    assert "created every one" not in text


def test_curve_may_be_missing(tmp_path: Path) -> None:
    data = sample()
    del data["model"]["roc"]["april_at_departure"]
    text = Page(report.write(data, tmp_path)).text
    assert "knows the departure delay (as its training evaluated it) 0.883" in text


def test_number_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    data = sample()
    data["model"]["auc_july"]["retrained"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        report.write(data, tmp_path / "new")
    assert not (tmp_path / "new").exists()
