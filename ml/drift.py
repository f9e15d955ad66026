"""Processing job: compares captured requests with the baseline of the model that serves, and publishes how far apart.

Writes statistics.json and constraint_violations.json in Model Monitor's formats, and drift.json with each feature's
distance and threshold. Publishes to CloudWatch, each with the dimension Endpoint:

drift_distance       of each Feature, a second dimension: 0 for alike, 1 for nothing in common
drift_violations     features whose distance passes their threshold
quality_violations   other violations: types, completeness, columns, categories. Retraining does not cure these
captured_rows        rows that were compared
unreadable_captures  captured lines that could not be read
"""

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3

from ml import contract
from ml.baseline import STATISTICS
from ml.captured import Window, instant, read
from ml.violations import judge

QUALITY, UNREADABLE = "quality_violations", "unreadable_captures"
VIOLATIONS_FILE, REPORT = "constraint_violations.json", "drift.json"

Document = Mapping[str, Any]


def baseline_of(sagemaker: Any, s3: Any, endpoint: str) -> tuple[str, Document, Document]:
    """The package that an endpoint serves, with its statistics and its constraints.

    Raises RuntimeError when the endpoint serves no package, or one without a baseline.
    """
    config = sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    variant = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"][0]
    container = sagemaker.describe_model(ModelName=variant["ModelName"]).get("PrimaryContainer", {})
    package = container.get("ModelPackageName")
    if not package:
        raise RuntimeError(
            f"endpoint {endpoint} serves no model package but the baseline in the image, which has no training data "
            "to compare requests with; train a model, approve it, and run the monitor again"
        )
    described = sagemaker.describe_model_package(ModelPackageName=package)
    checks = described.get("DriftCheckBaselines", {}).get("ModelDataQuality", {})
    if not {"Statistics", "Constraints"} <= checks.keys():
        raise RuntimeError(
            f"model package {package} has no DriftCheckBaselines.ModelDataQuality; "
            "register models through the training pipeline"
        )
    return package, _document(s3, checks["Statistics"]["S3Uri"]), _document(s3, checks["Constraints"]["S3Uri"])


def _document(s3: Any, uri: str) -> Document:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    content: Document = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    return content


def window_of(start: str, end: str, days: int, now: datetime) -> Window:
    """The window of the parameters; empty ones mean: until `now`, from `days` before the end."""
    until = instant(end) if end else now
    return Window(instant(start) if start else until - timedelta(days=days), until)


def metrics(endpoint: str, report: Document) -> list[dict[str, Any]]:
    """The report as CloudWatch's MetricData. Without rows there is no verdict, hence no metric of one."""
    of_endpoint = {"Name": "Endpoint", "Value": endpoint}
    counts = {contract.ROWS_METRIC: report["rows"], UNREADABLE: sum(report["unreadable"].values())}
    if report["rows"]:
        counts |= {contract.VIOLATIONS_METRIC: report["violations"], QUALITY: report["quality_violations"]}
    data = [
        {"MetricName": name, "Dimensions": [of_endpoint], "Value": float(value), "Unit": "Count"}
        for name, value in counts.items()
    ]
    for name, feature in report["features"].items():
        if feature["distance"] is not None:
            dimensions = [of_endpoint, {"Name": "Feature", "Value": name}]
            data.append(
                {
                    "MetricName": contract.DISTANCE_METRIC,
                    "Dimensions": dimensions,
                    "Value": feature["distance"],
                    "Unit": "None",
                }
            )
    return data


def monitor(endpoint: str, captured_uri: str, start: str, end: str) -> dict[str, Any]:
    """The processing job; returns the report it writes. Raises RuntimeError when nothing captured can be read."""
    session = boto3.Session(region_name=contract.region())
    s3 = session.client("s3")
    package, baseline, constraints = baseline_of(session.client("sagemaker"), s3, endpoint)
    window = window_of(start, end, constraints["window_days"], datetime.now(UTC))
    captured = read(s3, captured_uri, window)
    if captured.unreadable and not captured.requests:
        raise RuntimeError(f"none of the captured lines can be read: {dict(captured.unreadable)}")
    verdict, violations, live = judge(captured.rows, baseline, constraints)
    report = {
        "endpoint": endpoint,
        "model_package": package,
        "window": {"start": window.start.isoformat(), "end": window.end.isoformat()},
        "requests": captured.requests,
        "incomplete": captured.incomplete,
        "unreadable": dict(captured.unreadable),
        **verdict,
    }
    folder = contract.output_folder(contract.DRIFT_OUTPUT)
    (folder / STATISTICS).write_text(json.dumps(live))
    (folder / VIOLATIONS_FILE).write_text(json.dumps({"violations": violations}, indent=1))
    (folder / REPORT).write_text(json.dumps(report, indent=1))
    session.client("cloudwatch").put_metric_data(
        Namespace=contract.METRIC_NAMESPACE, MetricData=metrics(endpoint, report)
    )
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the processing job."""
    parser = argparse.ArgumentParser(prog="python3 -m ml.drift", description=__doc__)
    parser.add_argument("--endpoint-name", required=True)
    parser.add_argument("--captured-uri", required=True, help="s3://bucket/endpoint/, above the variants' folders")
    parser.add_argument(
        "--window-start", default="", help="ISO 8601; default: as long before the end as the thresholds are for"
    )
    parser.add_argument("--window-end", default="", help="ISO 8601; default: now")
    given = parser.parse_args(arguments)
    with contract.job(contract.PROCESSING_MESSAGE):
        report = monitor(given.endpoint_name, given.captured_uri, given.window_start, given.window_end)
        logging.info(json.dumps(report))


if __name__ == "__main__":
    main()
