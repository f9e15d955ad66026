"""The drift monitor: formats, distances, thresholds, what it reads of the captured, and what it makes of it."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from ml import baseline, captured, contract, drift, violations
from ml.captured import Window, collect, instant
from ml.distributions import KLL_K, Column, distance, sketch_levels, statistics
from ml.schema import Field

NUMBER, WHOLE, TEXT = Field("temp", "Fractional"), Field("hour", "Integral"), Field("carrier", "String")
FIELDS = (NUMBER, WHOLE, TEXT)
NOON = datetime(2026, 7, 10, 12, tzinfo=UTC)
HOUR = Window(NOON, NOON + timedelta(hours=1))
VALUES = {
    "temp": st.none() | st.floats(-1e9, 1e9),
    "hour": st.none() | st.integers(0, 23),
    "carrier": st.none() | st.text(max_size=2),
}
ROWS = st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=60)


def describe(rows: list[dict[str, Any]], folder: Path, days: int = 1) -> tuple[dict[str, Any], dict[str, Any]]:
    """statistics.json and constraints.json of rows, spread evenly over days."""
    columns = {field.name: [row[field.name] for row in rows] for field in FIELDS}
    baseline.write(columns, FIELDS, np.arange(len(rows)) * days // len(rows), folder)
    read = [json.loads((folder / name).read_text()) for name in (baseline.STATISTICS, baseline.CONSTRAINTS)]
    return read[0], read[1]


def weather(rows: int, shift: float, seed: int = 0) -> list[dict[str, Any]]:
    """Rows with a temperature around `shift`."""
    random = np.random.default_rng(seed)
    temperatures = random.normal(shift, 10, rows).tolist()
    return [{"temp": value, "hour": index % 24, "carrier": "UA"} for index, value in enumerate(temperatures)]


def apart(field: Field, one: list[Any], other: list[Any]) -> float | None:
    """The distance between two lists of values."""
    first, second = (statistics([Column.of(field, values)])["features"][0] for values in (one, other))
    return distance(first, second)


def record(body: str, time: datetime = NOON, **changed: Any) -> bytes:
    """A captured line."""
    data = {"observedContentType": "application/jsonlines", "mode": "INPUT", "data": body, "encoding": "JSON"} | changed
    event = {"eventId": "e", "inferenceTime": time.isoformat().replace("+00:00", "Z")}
    return json.dumps({"captureData": {"endpointInput": data}, "eventMetadata": event, "eventVersion": "0"}).encode()


@pytest.mark.parametrize("count", [1, 2, KLL_K, 100_000])
def test_a_sketch_stands_for_all_values(count: int) -> None:
    values = np.random.default_rng(1).normal(size=count)
    levels = sketch_levels(values)
    assert sum(len(level) * 2**power for power, level in enumerate(levels)) == count
    assert set(np.concatenate(levels)) <= set(values)


def test_the_distance_is_that_of_the_distributions() -> None:
    random = np.random.default_rng(2)
    one, other = random.normal(size=50_000), random.normal(0.5, size=50_000)
    found = apart(NUMBER, one.tolist(), other.tolist())
    assert found == pytest.approx(0.1974 - 1.8 * (2 / 50_000) ** 0.5, abs=0.01)  # 2 * Phi(0.25) - 1
    assert apart(TEXT, ["a"] * 500 + ["b"] * 500, ["a"] * 1000) == pytest.approx(0.5 - 1.8 * (2 / 1000) ** 0.5)
    assert apart(NUMBER, [1.0], [2.0]) == 0.0  # two samples of one say nothing
    assert apart(NUMBER, [None], [2.0]) is None


def test_statistics_have_model_monitors_fields() -> None:
    content = statistics([Column.of(NUMBER, [1, 2, 3, None, "x"]), Column.of(TEXT, ["b", "a", "b"])])
    numbers, text = content["features"]
    assert content["dataset"] == {"item_count": 5}
    assert numbers["numerical_statistics"] | {"distribution": 0} == {
        "common": {"num_present": 3, "num_missing": 1},
        "mean": 2.0,
        "sum": 6.0,
        "std_dev": pytest.approx((2 / 3) ** 0.5),
        "min": 1.0,
        "max": 3.0,
        "distribution": 0,
    }
    kll = numbers["numerical_statistics"]["distribution"]["kll"]
    assert len(kll["buckets"]) == 10
    assert kll["buckets"][0] == {"lower_bound": 1.0, "upper_bound": 1.2, "count": 1}
    assert kll["sketch"]["parameters"] == {"c": 0.64, "k": 2048}
    assert [sorted(level) for level in kll["sketch"]["data"]] == [[1.0, 2.0, 3.0]]
    assert text == {
        "name": "carrier",
        "inferred_type": "String",
        "string_statistics": {
            "common": {"num_present": 3, "num_missing": 0},
            "distinct_count": 2,
            "distribution": {"categorical": {"buckets": [{"value": "a", "count": 1}, {"value": "b", "count": 2}]}},
        },
    }


@settings(max_examples=40)
@given(rows=ROWS)
def test_the_training_data_does_not_violate_its_own_baseline(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    known, constraints = describe(rows, tmp_path_factory.mktemp("baseline"))
    verdict, found, _ = violations.judge(rows, known, constraints)
    assert [one for one in found if one["feature_name"] != "day_of_week"] == []
    assert verdict["drifted"] is False


@settings(max_examples=20)
@given(shift=st.floats(20, 1000), seed=st.integers(0, 99))
def test_shifted_data_drifts_in_that_feature_alone(
    tmp_path_factory: pytest.TempPathFactory, shift: float, seed: int
) -> None:
    known, constraints = describe(weather(1000, 40), tmp_path_factory.mktemp("baseline"), days=60)
    verdict, found, _ = violations.judge(weather(1000, 40 + shift, seed), known, constraints)
    assert [one["feature_name"] for one in found if one["constraint_check_type"] == "baseline_drift_check"] == ["temp"]
    assert verdict["violations"] == 1
    assert not violations.judge(weather(1000, 40, seed), known, constraints)[0]["drifted"]


def test_the_threshold_is_the_widest_fortnight_of_the_window_and_a_quarter() -> None:
    random = np.random.default_rng(3)
    day = np.repeat(np.arange(56), 200)
    usual = random.normal(0, 10, len(day))
    assert threshold(usual, day) == baseline.SMALLEST
    heat = usual + 10 * ((day >= 21) & (day < 35))  # one fortnight that no calendar block would show
    expected = 2 * 0.6915 - 1  # the distance of normals one standard deviation apart
    assert threshold(heat, day) == pytest.approx(baseline.MARGIN * expected, abs=0.02)
    seasons = np.where(day < 42, 0.0, 100.0)
    assert threshold(seasons, day) > 1  # it has seen both: nothing is drift any more
    many = np.arange(len(day), dtype=float)  # more different values than are compared one by one
    assert threshold(many, day) > 1


def threshold(values: Any, day: Any) -> float:
    """The threshold of a numeric feature."""
    return max(baseline.SMALLEST, baseline.MARGIN * baseline.widest(Column.of(NUMBER, values.tolist()), day))


def test_short_windows_have_shorter_blocks() -> None:
    assert [baseline.block_days(np.arange(days)) for days in (1, 2, 9, 28, 90)] == [1, 1, 4, 14, 14]


def test_every_check_of_model_monitor_is_made(tmp_path: Path) -> None:
    known, constraints = describe(weather(1000, 40), tmp_path)
    rows: list[dict[str, Any]] = [{"temp": None, "hour": "noon", "carrier": "XX", "gate": 1} for _ in range(500)]
    _, found, live = violations.judge(rows, known, constraints)
    named = {(one["feature_name"], one["constraint_check_type"]) for one in found}
    assert named >= {
        ("temp", "completeness_check"),
        ("hour", "data_type_check"),
        ("carrier", "categorical_values_check"),
        ("carrier", "baseline_drift_check"),
        ("gate", "extra_column_check"),
    }
    assert live["features"][0]["numerical_statistics"] == {"common": {"num_present": 0, "num_missing": 500}}
    without = [{name: row[name] for name in ("hour", "carrier")} for row in rows]
    _, found, _ = violations.judge(without, known, constraints)
    assert ("temp", "missing_column_check") in {(one["feature_name"], one["constraint_check_type"]) for one in found}


def test_the_calendar_becomes_the_day_of_the_week() -> None:
    row = {"year": 2013, "month": 7, "day": 4, "hour": 5}
    assert violations.features_of(row) == {"hour": 5, "day_of_week": 4}
    assert violations.features_of({"day": "x", "hour": 5}) == {"hour": 5, "day_of_week": None}


def test_records_are_chosen_by_the_time_they_were_answered() -> None:
    times = [NOON - timedelta(seconds=1), NOON, NOON + timedelta(minutes=59), NOON + timedelta(hours=1)]
    found = collect([record(f'{{"n": {number}}}', time) for number, time in enumerate(times)], HOUR)
    assert found.rows == [{"n": 1}, {"n": 2}]
    assert found.requests == 2 and not found.unreadable


def test_requests_that_say_that_they_lack_columns_are_counted_apart() -> None:
    line = json.loads(record('{"n": 1, "temp": null}'))
    line["eventMetadata"]["customAttributes"] = [captured.INCOMPLETE]
    found = collect([json.dumps(line).encode(), record('{"n": 2}')], HOUR)
    assert (found.rows, found.requests, found.incomplete) == ([{"n": 2}], 1, 1)


def test_base64_and_json_bodies_are_read() -> None:
    encoded = base64.b64encode(b'{"n": 1}\n{"n": 2}').decode()
    lines = [record(encoded, encoding="BASE64"), record('[{"n": 3}]', observedContentType="application/json")]
    assert collect(lines, HOUR).rows == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_bad_lines_are_counted_by_reason() -> None:
    bad = [b"{", b"[]", b"{}", record("nonsense"), record("rubbish"), record("%", encoding="BASE64"), b"\xff"]
    found = collect([*bad, record('{"n": 1}'), b"[" * 100_000], HOUR)
    assert found.rows == [{"n": 1}]
    assert found.unreadable == {captured.NOT_JSON: 3, captured.NO_CAPTURE: 3, captured.NO_REQUEST: 2}


# Requests of other forms than JSON objects, with parts that a parser's message would quote.
RUBBISH = st.text(min_size=9) | st.text(min_size=9).map(json.dumps) | st.just('{"n": -Infinity}')


@settings(max_examples=200)
@given(body=RUBBISH, field=st.sampled_from(["data", "observedContentType", "encoding"]))
def test_no_text_of_a_request_is_reported(body: str, field: str) -> None:
    line = record(body) if field == "data" else record("{}", **{field: body})
    reported = json.dumps(dict(collect([line, body.encode("utf-8", "replace")], HOUR).unreadable))
    reasons = {captured.NOT_JSON, captured.NO_CAPTURE, captured.NO_REQUEST}
    parts = {body[start : start + 9] for start in range(len(body) - 8)}
    # A generated body may quote the reasons themselves: Hypothesis draws from the constants of the code.
    assert not [part for part in parts if part in reported and not any(part in reason for reason in reasons)]
    assert set(json.loads(reported)) <= reasons


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150)
@given(
    path=st.sampled_from([(), ("captureData",), ("captureData", "endpointInput"), ("eventMetadata",)]),
    value=JSON_VALUES,
)
def test_no_line_breaks_the_reader(path: tuple[str, ...], value: Any) -> None:
    line: Any = json.loads(record('{"n": 1}'))
    if path:
        parent = line[path[0]] if len(path) > 1 else line
        parent[path[-1]] = value
    found = collect([json.dumps(line if path else value).encode()], HOUR)
    assert found.requests + sum(found.unreadable.values()) == 1


@settings(max_examples=100)
@given(
    field=st.sampled_from(["observedContentType", "data", "encoding", "inferenceTime", "customAttributes"]),
    value=JSON_VALUES,
)
def test_no_field_breaks_the_reader(field: str, value: Any) -> None:
    line = json.loads(record('{"n": 1}'))
    of_event = field in ("inferenceTime", "customAttributes")
    (line["eventMetadata"] if of_event else line["captureData"]["endpointInput"])[field] = value
    found = collect([json.dumps(line).encode()], HOUR)
    assert found.requests + sum(found.unreadable.values()) == 1


def test_windows_default_to_what_the_thresholds_are_for() -> None:
    assert drift.window_of("", "", 14, NOON) == Window(NOON - timedelta(days=14), NOON)
    assert drift.window_of("2026-07-10T14:00:00+02:00", "2026-07-10T12:30", 14, NOON).start == NOON
    with pytest.raises(ValueError, match="not later"):
        drift.window_of("2026-07-10T12:00:00Z", "2026-07-10T12:00:00Z", 14, NOON)
    assert instant("2026-07-10T12:00:00.123Z").microsecond == 123_000


@pytest.fixture
def aws() -> Iterator[dict[str, Any]]:
    """Clients of an account with the buckets of a deployment."""
    with mock_aws():
        clients = {name: boto3.client(name) for name in ("s3", "sagemaker", "cloudwatch")}
        for bucket in ("captured", "models"):
            clients["s3"].create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield clients


class Registry:
    """The answers of SageMaker's Describe operations, from endpoint to package."""

    def __init__(self, container: dict[str, str], package: dict[str, Any]) -> None:
        self._container, self._package = container, package

    def describe_endpoint(self, EndpointName: str) -> dict[str, Any]:
        return {"EndpointConfigName": f"{EndpointName}-config"}

    def describe_endpoint_config(self, EndpointConfigName: str) -> dict[str, Any]:
        return {"ProductionVariants": [{"ModelName": f"{EndpointConfigName}-model"}]}

    def describe_model(self, ModelName: str) -> dict[str, Any]:
        assert ModelName == "flights-config-model"
        return {"PrimaryContainer": self._container}

    def describe_model_package(self, ModelPackageName: str) -> dict[str, Any]:
        assert ModelPackageName == "arn:package/1"
        return self._package


def test_the_baseline_is_that_of_the_package_that_serves(aws: dict[str, Any]) -> None:
    for name in ("statistics", "constraints"):
        aws["s3"].put_object(Bucket="models", Key=f"run/{name}.json", Body=json.dumps({"is": name}))
    checks = {name.title(): {"S3Uri": f"s3://models/run/{name}.json"} for name in ("statistics", "constraints")}
    package = {"DriftCheckBaselines": {"ModelDataQuality": checks}}
    found = drift.baseline_of(Registry({"ModelPackageName": "arn:package/1"}, package), aws["s3"], "flights")
    assert found == ("arn:package/1", {"is": "statistics"}, {"is": "constraints"})
    with pytest.raises(RuntimeError, match="serves no model package but the baseline in the image"):
        drift.baseline_of(Registry({"Image": "ml:1"}, {}), aws["s3"], "flights")
    with pytest.raises(RuntimeError, match=r"arn:package/1 has no DriftCheckBaselines\.ModelDataQuality"):
        drift.baseline_of(Registry({"ModelPackageName": "arn:package/1"}, {}), aws["s3"], "flights")


def test_only_the_hours_of_the_window_are_read(aws: dict[str, Any]) -> None:
    hours = ["2026/07/09/23", "2026/07/10/10", "2026/07/10/11", "2026/07/10/12", "2026/07/10/14", "2026/07/10/15"]
    for variant in ("AllTraffic", "Canary"):
        for hour in hours:
            aws["s3"].put_object(Bucket="captured", Key=f"flights/{variant}/{hour}/00-00-000-x.jsonl", Body=b"")
    aws["s3"].put_object(Bucket="captured", Key="flights/AllTraffic/2026/07/10/12/_SUCCESS", Body=b"")
    keys = list(captured.keys_of(aws["s3"], "captured", "flights/", HOUR))
    assert keys == [
        f"flights/{variant}/{hour}/00-00-000-x.jsonl" for variant in ("AllTraffic", "Canary") for hour in hours[2:5]
    ]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: dict[str, Any]) -> dict[str, Any]:
    """A drift job in its container, of an endpoint whose model learnt from a temperature around 40."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    monkeypatch.delenv("AWS_DEFAULT_REGION")  # a processing container need not have it
    config = contract.path(contract.PROCESSING_JOB)
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"ProcessingJobArn": "arn:aws:sagemaker:eu-west-1:123456789012:processing-job/d"}))
    known, constraints = describe(weather(1000, 40), tmp_path, days=60)
    monkeypatch.setattr(drift, "baseline_of", lambda *_: ("arn:package/1", known, constraints))
    return aws


def capture(aws: dict[str, Any], body: bytes) -> None:
    """Put an object into the window's hour."""
    aws["s3"].put_object(Bucket="captured", Key="flights/AllTraffic/2026/07/10/12/00-00-000-x.jsonl", Body=body)


def run() -> dict[str, Any]:
    """Run the job on the hour; what drift.json says."""
    window = ["--window-start=2026-07-10T12:00:00Z", "--window-end=2026-07-10T13:00:00Z"]
    drift.main(["--endpoint-name", "flights", "--captured-uri", "s3://captured/flights/", *window])
    report: dict[str, Any] = json.loads((contract.path(contract.DRIFT_OUTPUT) / drift.REPORT).read_text())
    return report


def published(aws: dict[str, Any]) -> dict[tuple[str, ...], float]:
    """The metrics in CloudWatch: {(name, value of each dimension): value}."""
    found: dict[tuple[str, ...], float] = {}
    for metric in aws["cloudwatch"].list_metrics(Namespace="Millrace/ModelMonitor")["Metrics"]:
        now = datetime.now(UTC)
        points = aws["cloudwatch"].get_metric_statistics(
            **{name: metric[name] for name in ("Namespace", "MetricName", "Dimensions")},
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(hours=1),
            Period=7200,
            Statistics=["Maximum"],
        )["Datapoints"]
        key = (metric["MetricName"], *(dimension["Value"] for dimension in metric["Dimensions"]))
        found[key] = points[0]["Maximum"]
    return found


def test_the_job_reports_and_publishes_drift(job: dict[str, Any]) -> None:
    body = "\n".join(json.dumps(row) for row in weather(500, 90))
    capture(job, record(body) + b"\n{broken\n")
    report = run()
    assert report["window"] == {"start": "2026-07-10T12:00:00+00:00", "end": "2026-07-10T13:00:00+00:00"}
    assert (report["rows"], report["requests"], report["unreadable"]) == (500, 1, {captured.NOT_JSON: 1})
    assert report["drifted"] is True and report["violations"] == 1
    assert report["features"]["temp"]["distance"] > report["features"]["temp"]["threshold"]
    found = json.loads((contract.path(contract.DRIFT_OUTPUT) / "constraint_violations.json").read_text())["violations"]
    assert found[0].keys() == {"feature_name", "constraint_check_type", "description"}
    expected: dict[tuple[str, ...], float] = {
        ("drift_violations", "flights"): 1,
        ("quality_violations", "flights"): 1,  # the rows carry no date, hence no day of the week in the baseline
        ("captured_rows", "flights"): 500,
        ("unreadable_captures", "flights"): 1,
        **{("drift_distance", "flights", name): value["distance"] for name, value in report["features"].items()},
    }
    assert published(job) == expected


def test_an_empty_window_has_no_verdict(job: dict[str, Any]) -> None:
    assert run()["rows"] == 0
    assert published(job) == {("captured_rows", "flights"): 0, ("unreadable_captures", "flights"): 0}


def test_a_window_of_rubbish_fails(job: dict[str, Any]) -> None:
    capture(job, b"{broken\n" * 3)
    with pytest.raises(RuntimeError, match="none of the captured lines can be read"):
        run()
    assert captured.NOT_JSON in contract.path(contract.PROCESSING_MESSAGE).read_text()
