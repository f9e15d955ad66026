"""The monitor pipeline: one job that compares captured requests with the serving model's training data."""

from dataclasses import dataclass
from typing import Any

from ml import contract
from pipelines.steps import VERSION, Jobs, option, parameter, processing

METRIC_NAMESPACE = contract.METRIC_NAMESPACE
ROWS_METRIC = contract.ROWS_METRIC  # dimension Endpoint, as the next
VIOLATIONS_METRIC = contract.VIOLATIONS_METRIC
DISTANCE_METRIC = contract.DISTANCE_METRIC  # dimensions Endpoint and Feature


@dataclass(frozen=True, kw_only=True)
class MonitorPipeline(Jobs):
    """What the stack gives.

    endpoint_name  the endpoint whose model's baseline is looked up
    captured_uri   s3://bucket/endpoint/, above the folders of the endpoint's variants
    """

    endpoint_name: str
    captured_uri: str


def definition(given: MonitorPipeline) -> dict[str, Any]:
    """The PipelineDefinition. Its parameters, ISO 8601 and UTC unless they name an offset:

    WindowStart  first requests to judge; empty: as many days before the end as the thresholds are for, a fortnight
    WindowEnd    end of the window; empty: now
    """
    # Not a processing input: SageMaker would copy every request ever captured, and the window needs a few folders.
    # Not isolated: it asks SageMaker for the baseline and CloudWatch to keep the metrics.
    drift = processing(
        given,
        "Drift",
        "ml.drift",
        inputs={},
        outputs={"drift": contract.DRIFT_OUTPUT},
        arguments=[
            "--endpoint-name",
            given.endpoint_name,
            "--captured-uri",
            given.captured_uri,
            option("window-start", parameter("WindowStart")),
            option("window-end", parameter("WindowEnd")),
        ],
        isolated=False,
    )
    parameters = [{"Name": name, "Type": "String", "DefaultValue": ""} for name in ("WindowStart", "WindowEnd")]
    return {"Version": VERSION, "Metadata": {}, "Parameters": parameters, "Steps": [drift]}
