"""The pipeline definitions: every request is valid for its API, and the steps follow each other."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from ml import contract, train
from ml.evaluate import REPORT
from pipelines import monitor, training
from pipelines.monitor import MonitorPipeline
from pipelines.training import TrainingPipeline

VPC = {"SecurityGroupIds": ["sg-0123456789abcdef0"], "Subnets": ["subnet-0123456789abcdef0"]}
JOBS: dict[str, Any] = {
    "image_uri": "${Token[Image.1]}",
    "role_arn": "arn:aws:iam::123456789012:role/jobs-role",
    "kms_key_id": "${Token[Key.2]}",
    "instance_type": "ml.m7i.large",
    "volume_gb": 10,
    "max_runtime_seconds": 3600,
}
TRAINING = TrainingPipeline(
    **JOBS,
    output_uri="s3://models/pipelines/millrace-training",
    curated_uri="s3://curated/flights/",
    model_package_group="millrace-flight-delays",
    holdout_days=15,
    minimum_auc=0.6,
    hyperparameters={"n_estimators": 200, "learning_rate": 0.05},
)
MONITOR = MonitorPipeline(
    **JOBS,
    output_uri="s3://models/monitoring/millrace-monitor",
    endpoint_name="millrace-flight-delays",
    captured_uri="s3://captured/millrace-flight-delays/",
)
OPERATIONS = {
    "Processing": ("CreateProcessingJob", {"ProcessingJobName": "pipelines-1-Step"}),
    "Training": ("CreateTrainingJob", {"TrainingJobName": "pipelines-1-Step"}),
    "RegisterModel": ("CreateModelPackage", {}),
}
SAGEMAKER = botocore.session.get_session().get_service_model("sagemaker")


def steps_of(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All steps, those inside conditions after their condition."""
    for step in steps:
        yield step
        for branch in ("IfSteps", "ElseSteps"):
            yield from steps_of(step["Arguments"].get(branch, []))


def named(definition: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The steps by name."""
    return {step["Name"]: step for step in steps_of(definition["Steps"])}


def resolved(value: Any, parameters: dict[str, str]) -> Any:
    """A request as SageMaker makes it, with text for what only a run knows."""
    if isinstance(value, list):
        return [resolved(item, parameters) for item in value]
    if not isinstance(value, dict):
        return value
    if "Get" in value:
        return parameters.get(value["Get"].removeprefix("Parameters."), f"<{value['Get']}>")
    if "Std:Join" in value:
        return value["Std:Join"]["On"].join(resolved(value["Std:Join"]["Values"], parameters))
    return {key: resolved(item, parameters) for key, item in value.items()}


def requests(definition: dict[str, Any], **parameters: str) -> dict[str, dict[str, Any]]:
    """The request of every step that calls an API."""
    values = {item["Name"]: str(item["DefaultValue"]) for item in definition["Parameters"]} | parameters
    return {
        name: resolved(step["Arguments"], values)
        for name, step in named(definition).items()
        if step["Type"] in OPERATIONS
    }


@pytest.mark.parametrize("vpc", [None, VPC])
@pytest.mark.parametrize(
    ("build", "given"), [(training.definition, TRAINING), (monitor.definition, MONITOR)], ids=["training", "monitor"]
)
def test_every_request_is_valid(build: Any, given: Any, vpc: Any) -> None:
    definition = build(replace(given, vpc_config=vpc))
    for name, request in requests(definition).items():
        operation, extra = OPERATIONS[named(definition)[name]["Type"]]
        shape = SAGEMAKER.operation_model(operation).input_shape
        assert not ParamValidator().validate(request | extra, shape).generate_report(), name


def test_every_job_is_encrypted_bounded_and_where_it_belongs() -> None:
    for definition in (
        training.definition(replace(TRAINING, vpc_config=VPC)),
        monitor.definition(replace(MONITOR, vpc_config=VPC)),
    ):
        for name, request in requests(definition).items():
            if name == "Register":
                continue
            cluster = request.get("ResourceConfig") or request["ProcessingResources"]["ClusterConfig"]
            output = request.get("OutputDataConfig") or request["ProcessingOutputConfig"]
            assert cluster["VolumeKmsKeyId"] == output["KmsKeyId"] == JOBS["kms_key_id"], name
            assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}, name
            assert (request.get("NetworkConfig") or request)["VpcConfig"] == VPC, name
            isolated = (request.get("NetworkConfig") or request)["EnableNetworkIsolation"]
            assert isolated is (name != "Drift"), name


def test_a_job_without_a_vpc_has_no_vpc_config() -> None:
    assert "VpcConfig" not in json.dumps([training.definition(TRAINING), monitor.definition(MONITOR)])


def test_the_training_steps_follow_each_other() -> None:
    definition = training.definition(TRAINING)
    order = [step["Name"] for step in steps_of(definition["Steps"])]
    assert order == ["Features", "Train", "Evaluate", "Gate", "Register"]
    needs = {
        name: set(re.findall(r'"Get": "Steps\.(\w+)', json.dumps(step["Arguments"])))
        for name, step in named(definition).items()
        if step["Type"] != "Condition"
    }
    assert needs == {
        "Features": set(),
        "Train": {"Features"},
        "Evaluate": {"Features", "Train"},
        "Register": {"Features", "Train", "Evaluate"},
    }


def test_every_reference_leads_to_something() -> None:
    for definition in (training.definition(TRAINING), monitor.definition(MONITOR)):
        steps, text = named(definition), json.dumps(definition)
        declared = {item["Name"] for item in definition["Parameters"]}
        assert set(re.findall(r'"Get": "Parameters\.(\w+)"', text)) == declared
        for step, output in re.findall(r"Steps\.(\w+)\.ProcessingOutputConfig\.Outputs\['(\w+)'\]", text):
            outputs = steps[step]["Arguments"]["ProcessingOutputConfig"]["Outputs"]
            assert output in {item["OutputName"] for item in outputs}


def test_the_parameters_have_the_contracts_defaults() -> None:
    parameters = {item["Name"]: item for item in training.definition(TRAINING)["Parameters"]}
    assert {name: item["DefaultValue"] for name, item in parameters.items()} == {
        "DataThrough": "latest",
        "HoldoutDays": 15,
        "FeatureSet": "before_departure",
        "ModelApprovalStatus": "PendingManualApproval",
    }
    assert parameters["FeatureSet"]["EnumValues"] == ["before_departure", "at_departure"]
    defaults = {item["Name"]: item["DefaultValue"] for item in monitor.definition(MONITOR)["Parameters"]}
    assert defaults == {"WindowStart": "", "WindowEnd": ""}


def test_the_jobs_get_the_words_their_command_lines_take() -> None:
    features = requests(training.definition(TRAINING), HoldoutDays="7")["Features"]["AppSpecification"]
    assert features["ContainerEntrypoint"] == ["python3", "-m", "ml.features"]
    assert features["ContainerArguments"] == [
        "--data-through=latest",
        "--holdout-days=7",
        "--feature-set=before_departure",
    ]
    drift = requests(monitor.definition(MONITOR), WindowEnd="2026-07-10")["Drift"]["AppSpecification"]
    assert drift["ContainerArguments"][-2:] == ["--window-start=", "--window-end=2026-07-10"]


def test_outputs_of_two_executions_do_not_meet() -> None:
    for name, request in requests(training.definition(TRAINING)).items():
        for output in request.get("ProcessingOutputConfig", {}).get("Outputs", []):
            uri = output["S3Output"]["S3Uri"]
            assert uri == f"{TRAINING.output_uri}/<Execution.PipelineExecutionId>/{name}/{output['OutputName']}"


def test_only_a_good_model_that_can_be_served_passes_the_gate() -> None:
    definition = training.definition(TRAINING)
    steps = named(definition)
    report = {"PropertyFileName": "evaluation", "OutputName": "evaluation", "FilePath": REPORT}
    assert steps["Evaluate"]["PropertyFiles"] == [report]
    assert steps["Gate"]["Arguments"]["Conditions"] == [
        {
            "Type": "GreaterThanOrEqualTo",
            "LeftValue": {
                "Std:JsonGet": {
                    "PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.evaluation"},
                    "Path": "metrics.auc.value",
                }
            },
            "RightValue": 0.6,
        },
        {"Type": "Equals", "LeftValue": {"Get": "Parameters.FeatureSet"}, "RightValue": "before_departure"},
    ]
    assert [step["Name"] for step in steps["Gate"]["Arguments"]["IfSteps"]] == ["Register"]
    assert steps["Gate"]["Arguments"]["ElseSteps"] == []


def test_the_package_carries_the_baseline_the_monitor_looks_up() -> None:
    package = requests(training.definition(TRAINING), ModelApprovalStatus="Approved")["Register"]
    assert package["ModelApprovalStatus"] == "Approved"
    checks = package["DriftCheckBaselines"]["ModelDataQuality"]
    for name in ("Statistics", "Constraints"):
        assert checks[name]["S3Uri"].endswith(f"Outputs['baseline'].S3Output.S3Uri>/{name.lower()}.json")
    assert monitor.METRIC_NAMESPACE == contract.METRIC_NAMESPACE


def test_hyperparameters_are_text_that_training_takes() -> None:
    request = requests(training.definition(TRAINING))["Train"]
    assert request["HyperParameters"] == {"n_estimators": "200", "learning_rate": "0.05"}
    assert train.Hyperparameters.parse(request["HyperParameters"]).n_estimators == 200
    channels = {channel["ChannelName"] for channel in request["InputDataConfig"]}
    assert {contract.TRAIN_CHANNEL, contract.ENCODER_CHANNEL} == {f"input/data/{name}" for name in channels}
