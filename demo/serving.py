"""The demo's second part: a model is trained, approved and rolled out, and answers for flights it has not seen."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from demo.platform import LinkBrokenError, Platform, Show, wait_for

APPROVAL_SECONDS = 60  # from an approval to the update of the serving stack
ROLL_OUT_SECONDS = 300
FLIGHTS_PER_REQUEST = 200
LATENCY_REQUESTS = 500
LATE_MINUTES = 15
CURVE_POINTS = 200
# April's AUC of plain XGBoost, 200 trees, trained on January to March: less means that something was lost on the way.
APRIL_FLOOR = {"before_departure": 0.633, "at_departure": 0.879}

# What a client knows of a flight before it departs; weather is that of the scheduled hour.
TEXTS = ("carrier", "origin", "dest")
# fmt: off
NUMBERS = (
    "year", "month", "day", "hour", "minute", "sched_arr_time", "distance",
    "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib",
)
# fmt: on


@dataclass
class Scored:
    """Flights with what the platform answered for them and what came true."""

    probability: list[float] = field(default_factory=list)
    late: list[bool] = field(default_factory=list)
    captured: int = 0  # requests, each of which leaves a captured record

    @property
    def auc(self) -> float:
        """Area under the ROC curve: the share of (late, punctual) pairs in the right order; ties count half."""
        score, late = np.array(self.probability), np.array(self.late)
        order = np.argsort(score, kind="stable")
        _, group, size = np.unique(score[order], return_inverse=True, return_counts=True)
        rank = np.empty(len(score))
        rank[order] = (np.cumsum(size) - (size - 1) / 2)[group]
        positives = late.sum()
        return float((rank[late].sum() - positives * (positives + 1) / 2) / (positives * (~late).sum()))

    def where(self, chosen: Sequence[bool]) -> "Scored":
        """Only the flights of which `chosen` is true."""
        kept = [index for index, wanted in enumerate(chosen) if wanted]
        return Scored([self.probability[index] for index in kept], [self.late[index] for index in kept])

    @property
    def curve(self) -> list[list[float]]:
        """Points (false positive rate, true positive rate) of the ROC curve, at most CURVE_POINTS."""
        late = np.array(self.late)[np.argsort(-np.array(self.probability), kind="stable")]
        true, false = np.cumsum(late) / late.sum(), np.cumsum(~late) / (~late).sum()
        at = np.unique(np.linspace(0, len(late) - 1, CURVE_POINTS - 1).astype(int))
        return [[0.0, 0.0], *([round(float(false[i]), 4), round(float(true[i]), 4)] for i in at)]


def train(platform: Platform, feature_set: str, through: str, holdout_days: int) -> str:
    """Start a training run on flights up to `through`, judged on the last days; returns the execution's ARN."""
    return platform.run_pipeline(
        "TrainingPipelineName",
        {"FeatureSet": feature_set, "DataThrough": through, "HoldoutDays": str(holdout_days)},
    )


def registered(platform: Platform, execution: str) -> str:
    """The model package an execution registered. Raises LinkBrokenError when its gate let none through."""
    platform.pipeline_ended(execution, "training pipeline")
    step = platform.steps(execution).get("Register")
    if not step:
        metrics = evaluation(platform, execution)["metrics"]
        raise LinkBrokenError("gate", f"{execution} registered nothing; the evaluation says {metrics}")
    return step["Metadata"]["RegisterModel"]["Arn"]


def evaluation(platform: Platform, execution: str) -> dict[str, Any]:
    """The evaluation that an execution wrote."""
    return platform.report(execution, "Evaluate", "evaluation.json")


def hold_to_floor(auc: dict[str, float]) -> None:
    """Raises LinkBrokenError when a feature set's AUC on the whole of April is below its floor."""
    for feature_set, floor in APRIL_FLOOR.items():
        if auc[feature_set] < floor:
            raise LinkBrokenError(
                "model",
                f"April's AUC {feature_set} is {auc[feature_set]:.3f}, below the {floor} of plain XGBoost: "
                "compare the features and the training job's hyperparameters with those of the last good run",
            )


def approve(platform: Platform, package: str) -> None:
    """What a person does in the console."""
    platform.client("sagemaker").update_model_package(
        ModelPackageArn=package, ModelApprovalStatus="Approved", ApprovalDescription="approved in the demo"
    )


def wait_until_served(platform: Platform, package: str) -> datetime:
    """Wait until the approval rule has put `package` into service; returns when the roll-out was complete."""
    formation = platform.client("cloudformation")
    name = f"{platform.prefix}-serving"

    def stack() -> dict[str, Any]:
        return formation.describe_stacks(StackName=name)["Stacks"][0]

    def updating() -> bool | None:
        given = {item["ParameterKey"]: item["ParameterValue"] for item in stack()["Parameters"]}
        return True if given["ModelPackageArn"] == package else None

    wait_for("approval rule", f"the update of {name} to {package}", updating, seconds=APPROVAL_SECONDS)

    def updated() -> dict[str, Any] | None:
        found = stack()
        return None if found["StackStatus"].endswith("IN_PROGRESS") else found

    found = wait_for("roll-out", f"the end of the update of {name}", updated, seconds=ROLL_OUT_SECONDS)
    if found["StackStatus"] != "UPDATE_COMPLETE":
        raise LinkBrokenError("roll-out", f"{name} is {found['StackStatus']}: {found.get('StackStatusReason')}")
    endpoint, held = _serving(platform)
    if endpoint["EndpointStatus"] != "InService" or held != package:
        raise LinkBrokenError(
            "roll-out", f"the endpoint is {endpoint['EndpointStatus']} and serves {held}, not {package}"
        )
    return endpoint["LastModifiedTime"]


def _serving(platform: Platform) -> tuple[dict[str, Any], str | None]:
    """The endpoint's description, and the model package behind it."""
    sagemaker = platform.client("sagemaker")
    endpoint = sagemaker.describe_endpoint(EndpointName=platform.outputs["EndpointName"])
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    return endpoint, model["PrimaryContainer"].get("ModelPackageName")


def flights(platform: Platform, where: str) -> list[dict[str, Any]]:
    """Curated flights that arrived, as the client's requests plus "arr_delay"."""
    columns = ", ".join((*TEXTS, *NUMBERS, "arr_delay"))
    rows = platform.query(
        f"SELECT {columns} FROM {platform.outputs['CuratedTableName']} "  # noqa: S608
        f"WHERE {where} AND arr_delay IS NOT NULL"
    )
    return [_typed(row) for row in rows]


def _typed(row: dict[str, str]) -> dict[str, Any]:
    typed: dict[str, Any] = {name: row[name] or None for name in TEXTS}
    return typed | {name: float(row[name]) if row[name] else None for name in (*NUMBERS, "arr_delay")}


def score(platform: Platform, rows: Sequence[dict[str, Any]], show: Show) -> Scored:
    """Ask the predict function for every flight, many in a request."""
    scored = Scored()
    for batch in _batches(rows, FLIGHTS_PER_REQUEST):
        scored.probability += predict(platform, batch)
        scored.late += [row["arr_delay"] > LATE_MINUTES for row in batch]
        scored.captured += 1
        show(f"{len(scored.late):,} of {len(rows):,} flights answered")
    return scored


def predict(platform: Platform, batch: Sequence[dict[str, Any]]) -> list[float]:
    """The probabilities that these flights arrive late, from the predict function."""
    answer = platform.client("lambda").invoke(
        FunctionName=platform.outputs["PredictFunctionName"], Payload=json.dumps({"body": _body(batch)})
    )
    payload = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise LinkBrokenError("predict function", payload.get("errorMessage", str(payload)))
    return payload["predictions"]


def _body(batch: Sequence[dict[str, Any]]) -> str:
    return "\n".join(json.dumps({name: value for name, value in row.items() if name != "arr_delay"}) for row in batch)


def _batches(rows: Sequence[dict[str, Any]], size: int) -> Iterator[Sequence[dict[str, Any]]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def latency(platform: Platform, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Milliseconds of single-flight requests to the endpoint itself, one after the other, after a warm-up."""
    runtime = platform.client("sagemaker-runtime")
    taken = []
    for row in [*rows[:20], *rows[:LATENCY_REQUESTS]]:
        body = _body([row])
        started = time.perf_counter()
        runtime.invoke_endpoint(
            EndpointName=platform.outputs["EndpointName"], ContentType="application/jsonlines", Body=body
        )["Body"].read()
        taken.append((time.perf_counter() - started) * 1000)
    counted = taken[20:]
    p50, p99 = np.percentile(counted, [50, 99])
    return {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2), "requests": len(counted)}
