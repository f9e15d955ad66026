"""The training pipeline: Features -> Train -> Evaluate -> Gate -> Register."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml import contract
from ml.schema import FEATURE_SETS, SERVED_FEATURE_SET
from pipelines.steps import VERSION, Expression, Jobs, join, option, output_of, parameter, processing

JSON = "application/json"
APPROVAL = ("PendingManualApproval", "Approved", "Rejected")


@dataclass(frozen=True, kw_only=True)
class TrainingPipeline(Jobs):
    """What the stack gives.

    curated_uri          s3://bucket/flights/, partitioned by year, month and day
    model_package_group  where models are registered
    holdout_days         default of HoldoutDays
    minimum_auc          on the held-out days; a model below is not registered
    hyperparameters      ml.train.Hyperparameters by name; those left out have its defaults
    """

    curated_uri: str
    model_package_group: str
    holdout_days: int
    minimum_auc: float
    hyperparameters: Mapping[str, int | float | str]


def definition(given: TrainingPipeline) -> dict[str, Any]:
    """The PipelineDefinition. Its parameters:

    DataThrough          last day of curated flights to use, YYYY-MM-DD, or latest
    HoldoutDays          last days with data, kept for the evaluation
    FeatureSet           before_departure; any other is an experiment and is never registered
    ModelApprovalStatus  of the registered package
    """
    return {
        "Version": VERSION,
        "Metadata": {},
        "Parameters": [
            {"Name": "DataThrough", "Type": "String", "DefaultValue": "latest"},
            {"Name": "HoldoutDays", "Type": "Integer", "DefaultValue": given.holdout_days},
            _choice("FeatureSet", SERVED_FEATURE_SET, FEATURE_SETS),
            _choice("ModelApprovalStatus", APPROVAL[0], APPROVAL),
        ],
        "Steps": [_features(given), _train(given), _evaluate(given), _gate(given)],
    }


def _choice(name: str, default: str, values: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "String", "DefaultValue": default, "EnumValues": list(values)}


def _features(given: TrainingPipeline) -> dict[str, Any]:
    return processing(
        given,
        "Features",
        "ml.features",
        inputs={"curated": (given.curated_uri, contract.CURATED_INPUT)},
        outputs={
            "train": contract.TRAIN_OUTPUT,
            "holdout": contract.HOLDOUT_OUTPUT,
            "encoder": contract.ENCODER_OUTPUT,
            "baseline": contract.BASELINE_OUTPUT,
        },
        arguments=[
            option("data-through", parameter("DataThrough")),
            option("holdout-days", parameter("HoldoutDays")),
            option("feature-set", parameter("FeatureSet")),
        ],
    )


def _train(given: TrainingPipeline) -> dict[str, Any]:
    request = {
        "AlgorithmSpecification": {"TrainingImage": given.image_uri, "TrainingInputMode": "File"},
        "HyperParameters": {name: str(value) for name, value in given.hyperparameters.items()},
        "InputDataConfig": [_channel("train"), _channel("encoder")],
        "OutputDataConfig": {"S3OutputPath": given.output("Train"), "KmsKeyId": given.kms_key_id},
        "ResourceConfig": given.cluster,
        "RoleArn": given.role_arn,
        "StoppingCondition": given.stopping,
        "EnableNetworkIsolation": True,
        **given.vpc,
    }
    return {"Name": "Train", "Type": "Training", "Arguments": request}


def _channel(name: str) -> dict[str, Any]:
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": output_of("Features", name),
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def _evaluate(given: TrainingPipeline) -> dict[str, Any]:
    step = processing(
        given,
        "Evaluate",
        "ml.evaluate",
        inputs={
            "model": (_model(), contract.MODEL_INPUT),
            "holdout": (output_of("Features", "holdout"), contract.HOLDOUT_INPUT),
        },
        outputs={"evaluation": contract.EVALUATION_OUTPUT},
    )
    report = {"PropertyFileName": "evaluation", "OutputName": "evaluation", "FilePath": "evaluation.json"}
    return {**step, "PropertyFiles": [report]}


def _gate(given: TrainingPipeline) -> dict[str, Any]:
    evaluation = {"Get": "Steps.Evaluate.PropertyFiles.evaluation"}
    auc = {"Std:JsonGet": {"PropertyFile": evaluation, "Path": "metrics.auc.value"}}
    conditions = [
        {"Type": "GreaterThanOrEqualTo", "LeftValue": auc, "RightValue": given.minimum_auc},
        {"Type": "Equals", "LeftValue": parameter("FeatureSet"), "RightValue": SERVED_FEATURE_SET},
    ]
    arguments = {"Conditions": conditions, "IfSteps": [_register(given)], "ElseSteps": []}
    return {"Name": "Gate", "Type": "Condition", "Arguments": arguments}


def _register(given: TrainingPipeline) -> dict[str, Any]:
    baseline = {
        "Statistics": _source(output_of("Features", "baseline"), "statistics.json"),
        "Constraints": _source(output_of("Features", "baseline"), "constraints.json"),
    }
    evaluation = _source(output_of("Evaluate", "evaluation"), "evaluation.json")
    request = {
        "ModelPackageGroupName": given.model_package_group,
        "ModelApprovalStatus": parameter("ModelApprovalStatus"),
        "InferenceSpecification": {
            "Containers": [{"Image": given.image_uri, "ModelDataUrl": _model()}],
            "SupportedContentTypes": ["application/jsonlines", JSON],
            "SupportedResponseMIMETypes": ["application/jsonlines"],
        },
        "ModelMetrics": {"ModelQuality": {"Statistics": evaluation}, "ModelDataQuality": baseline},
        "DriftCheckBaselines": {"ModelDataQuality": baseline},
    }
    return {"Name": "Register", "Type": "RegisterModel", "Arguments": request}


def _model() -> Expression:
    return {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}


def _source(folder: Expression, file: str) -> dict[str, Any]:
    return {"ContentType": JSON, "S3Uri": join("/", folder, file)}
