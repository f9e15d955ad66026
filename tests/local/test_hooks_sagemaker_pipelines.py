"""The SageMaker hook's pipelines and CloudFormation types."""

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.sagemaker_fake import (
    ACCOUNT,
    IMAGE,
    ROLE,
    Client,
    Events,
    processing,
    training,
    within,
)


def definition(auc: str = "0.9", fail: str = "") -> dict[str, Any]:
    """Features, then training, then an evaluation that decides whether the model is registered."""
    features, train, evaluate = processing(), training(), processing(Environment={"AUC": auc})
    for request in (features, train, evaluate):
        request.pop("TrainingJobName", request.pop("ProcessingJobName", None))
    features["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] = {
        "Std:Join": {"On": "/", "Values": ["s3://fake/pipe", {"Get": "Execution.PipelineExecutionId"}, "features"]}
    }
    train["HyperParameters"] = {"answer": {"Get": "Parameters.Answer"}} | ({"fail": fail} if fail else {})
    train["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = {
        "Get": "Steps.Features.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"
    }
    evaluate["ProcessingInputs"][0]["S3Input"]["S3Uri"] = {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}
    model = {"Image": IMAGE, "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}}
    metric = {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.metrics"}, "Path": "metrics.auc.value"}
    register = {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": "piped",
            "ModelApprovalStatus": {"Get": "Parameters.Approval"},
            "InferenceSpecification": {
                "Containers": [model],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        },
    }
    least, answer = {"Get": "Parameters.MinAuc"}, {"Get": "Parameters.Answer"}
    conditions = [
        {"Type": "GreaterThanOrEqualTo", "LeftValue": {"Std:JsonGet": metric}, "RightValue": least},
        {"Type": "Equals", "LeftValue": answer, "RightValue": "yes"},
    ]
    return {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": [
            {"Name": "Answer", "Type": "String", "DefaultValue": "yes"},
            {"Name": "MinAuc", "Type": "Float", "DefaultValue": 0.8},
            {
                "Name": "Approval",
                "Type": "String",
                "DefaultValue": "PendingManualApproval",
                "EnumValues": ["PendingManualApproval", "Approved"],
            },
        ],
        "Steps": [  # not in the order they run in
            {
                "Name": "Gate",
                "Type": "Condition",
                "Arguments": {"Conditions": conditions, "IfSteps": [register], "ElseSteps": []},
            },
            {
                "Name": "Evaluate",
                "Type": "Processing",
                "Arguments": evaluate,
                "PropertyFiles": [{"PropertyFileName": "metrics", "OutputName": "out", "FilePath": "metrics.json"}],
            },
            {"Name": "Train", "Type": "Training", "Arguments": train},
            {"Name": "Features", "Type": "Processing", "Arguments": features},
        ],
    }


@pytest.fixture(scope="module")
def group(sagemaker: Any) -> str:
    """The model package group that pipelines register in."""
    sagemaker.create_model_package_group(ModelPackageGroupName="piped")
    return "piped"


def ended(sagemaker: Any, name: str, steps: dict[str, Any], **parameters: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make a pipeline and run it: the execution's description and its steps by name."""
    sagemaker.create_pipeline(
        PipelineName=name, PipelineDefinition=json.dumps(steps), RoleArn=ROLE, ClientRequestToken="t" * 32
    )
    given = [{"Name": key, "Value": value} for key, value in parameters.items()]
    arn = sagemaker.start_pipeline_execution(PipelineName=name, PipelineParameters=given)["PipelineExecutionArn"]
    within(
        30,
        lambda: (
            sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"] != "Executing"
        ),
    )
    listed = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    return sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn), {step["StepName"]: step for step in listed}


def test_a_pipeline_trains_judges_and_registers(sagemaker: Any, group: str, events: Events) -> None:
    execution, steps = ended(sagemaker, "whole", definition(), Approval="Approved")
    assert execution["PipelineExecutionStatus"] == "Succeeded", execution.get("FailureReason")
    assert list(steps) == ["Register", "Gate", "Evaluate", "Train", "Features"]
    assert steps["Gate"]["Metadata"] == {"Condition": {"Outcome": "True"}}
    identity = execution["PipelineExecutionArn"].rpartition("/")[2]
    assert f"training-job/pipelines-{identity}-Train-" in steps["Train"]["Metadata"]["TrainingJob"]["Arn"]
    package = sagemaker.describe_model_package(ModelPackageName=steps["Register"]["Metadata"]["RegisterModel"]["Arn"])
    assert package["ModelApprovalStatus"] == "Approved"
    assert package["MetadataProperties"] == {"GeneratedBy": execution["PipelineExecutionArn"]}
    assert package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"].endswith("/output/model.tar.gz")
    told = [event["detail"] for event in events("SageMaker Model Building Pipeline Execution Status Change")]
    assert [detail["currentPipelineExecutionStatus"] for detail in told] == ["Executing", "Succeeded"]
    assert told[1]["previousPipelineExecutionStatus"] == "Executing"
    registered = events("SageMaker Model Package State Change")
    assert [event["detail"]["ModelApprovalStatus"] for event in registered] == ["Approved"]
    listed = sagemaker.list_pipeline_executions(PipelineName="whole")["PipelineExecutionSummaries"]
    assert [item["PipelineExecutionStatus"] for item in listed] == ["Succeeded"]


def test_a_model_below_the_threshold_is_not_registered(sagemaker: Any, group: str) -> None:
    execution, steps = ended(sagemaker, "weak", definition(auc="0.7"))
    assert execution["PipelineExecutionStatus"] == "Succeeded", execution.get("FailureReason")
    assert steps["Gate"]["Metadata"] == {"Condition": {"Outcome": "False"}}
    assert "Register" not in steps


def test_a_failing_step_fails_the_execution_with_its_reason(sagemaker: Any, group: str) -> None:
    execution, steps = ended(sagemaker, "failing", definition(fail="too few rows"))
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert "Train: AlgorithmError: too few rows" in execution["FailureReason"]
    assert steps["Train"]["StepStatus"] == "Failed"
    assert steps["Train"]["FailureReason"].startswith("AlgorithmError: too few rows")
    assert steps.keys() == {"Features", "Train"}


def test_a_token_starts_one_execution(sagemaker: Any) -> None:
    compare = {"Conditions": [{"Type": "Equals", "LeftValue": 1, "RightValue": 1}], "IfSteps": [], "ElseSteps": []}
    steps = [{"Name": "Compare", "Type": "Condition", "Arguments": compare}]
    text = json.dumps({"Version": "2020-12-01", "Steps": steps})
    sagemaker.create_pipeline(PipelineName="once", PipelineDefinition=text, RoleArn=ROLE, ClientRequestToken="t" * 32)
    request = {"PipelineName": "once", "ClientRequestToken": "s" * 32}
    first, second = (sagemaker.start_pipeline_execution(**request)["PipelineExecutionArn"] for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Steps": [{"Name": "A", "Type": "Processing", "DependsOn": ["B"]}]}, "B"),
        ({"Steps": [{"Name": "A", "Type": "Training", "DependsOn": ["A"]}]}, "CycleError"),
        ({"Steps": [{"Name": "A", "Type": "Training"}] * 2}, "unique"),
    ],
)
def test_a_broken_definition_is_refused(sagemaker: Any, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ClientError, match=reason):
        sagemaker.create_pipeline(
            PipelineName="broken",
            PipelineDefinition=json.dumps(definition() | change),
            RoleArn=ROLE,
            ClientRequestToken="t" * 32,
        )


def test_what_cannot_run_is_refused_by_name(sagemaker: Any) -> None:
    execution, _ = ended(sagemaker, "unknown", definition() | {"Steps": [{"Name": "Ask", "Type": "Callback"}]})
    assert "not Callback" in execution["FailureReason"]
    sagemaker.update_pipeline(PipelineName="unknown", PipelineDefinition=json.dumps(definition()))
    for given, reason in (
        ({"MinAuc": "high"}, "MinAuc: 'high' is not of type Float"),
        ({"Nope": "1"}, "Nope"),
        ({"Approval": "Maybe"}, "not one of"),
    ):
        parameters = [{"Name": key, "Value": value} for key, value in given.items()]
        with pytest.raises(ClientError, match=reason):
            sagemaker.start_pipeline_execution(PipelineName="unknown", PipelineParameters=parameters)


TEMPLATE = {
    "Parameters": {name: {"Type": "String", "Default": ""} for name in ("Answer", "Broken")},
    "Resources": {
        "Model": {
            "Type": "AWS::SageMaker::Model",
            "Properties": {
                "ExecutionRoleArn": ROLE,
                "PrimaryContainer": {
                    "Image": IMAGE,
                    "Environment": {"ANSWER": {"Ref": "Answer"}, "BROKEN": {"Ref": "Broken"}},
                },
            },
        },
        "Config": {
            "Type": "AWS::SageMaker::EndpointConfig",
            "Properties": {
                "ProductionVariants": [
                    {
                        "VariantName": "AllTraffic",
                        "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
                        "InitialVariantWeight": 1,
                        "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 5},
                    }
                ]
            },
        },
        "Endpoint": {
            "Type": "AWS::SageMaker::Endpoint",
            "Properties": {
                "EndpointName": "stacked",
                "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
            },
        },
        "Group": {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": {"ModelPackageGroupName": "stacked"}},
        "Pipeline": {
            "Type": "AWS::SageMaker::Pipeline",
            "Properties": {
                "PipelineName": "stacked",
                "RoleArn": ROLE,
                "PipelineDescription": {"Ref": "Answer"},
                "PipelineDefinition": {"PipelineDefinitionBody": json.dumps(definition())},
            },
        },
    },
    "Outputs": {
        "Model": {"Value": {"Ref": "Model"}},
        "Pipeline": {"Value": {"Ref": "Pipeline"}},
        "Group": {"Value": {"Fn::GetAtt": ["Group", "ModelPackageGroupArn"]}},
    },
}


def settled(formation: Any) -> dict[str, Any]:
    """The stack, once nothing is under way with it."""

    def stack() -> Any:
        return formation.describe_stacks(StackName="stacked")["Stacks"][0]

    within(60, lambda: not stack()["StackStatus"].endswith("PROGRESS"))
    return stack()


def named(found: list[dict[str, Any]], noun: str) -> list[str]:
    """The names of those of a list that the stack made."""
    return [item[f"{noun}Name"] for item in found if item[f"{noun}Name"].startswith("stacked")]


def test_a_stack_creates_updates_rolls_back_and_deletes(aws: Client, sagemaker: Any) -> None:
    formation, runtime = aws("cloudformation"), aws("sagemaker-runtime")

    def update(**parameters: str) -> dict[str, Any]:
        given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        formation.update_stack(StackName="stacked", UsePreviousTemplate=True, Parameters=given)
        return settled(formation)

    def answer() -> str:
        return json.loads(runtime.invoke_endpoint(EndpointName="stacked", Body=b"x")["Body"].read())["answer"]

    def reasons() -> list[str]:
        seen = formation.describe_stack_events(StackName="stacked")["StackEvents"]
        return [event.get("ResourceStatusReason", "") for event in seen]

    formation.create_stack(
        StackName="stacked",
        TemplateBody=json.dumps(TEMPLATE),
        Parameters=[{"ParameterKey": "Answer", "ParameterValue": "first"}],
    )
    stack = settled(formation)
    assert stack["StackStatus"] == "CREATE_COMPLETE", reasons()
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert outputs["Model"].startswith(f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:model/stacked-Model-")
    assert (outputs["Pipeline"], outputs["Group"].rpartition("/")[2]) == ("stacked", "stacked")
    assert answer() == "first"
    config = sagemaker.describe_endpoint(EndpointName="stacked")["EndpointConfigName"]

    assert update(Answer="second")["StackStatus"] == "UPDATE_COMPLETE"
    assert answer() == "second"
    assert sagemaker.describe_endpoint(EndpointName="stacked")["EndpointConfigName"] != config
    assert sagemaker.describe_pipeline(PipelineName="stacked")["PipelineDescription"] == "second"
    assert len(named(sagemaker.list_models()["Models"], "Model")) == 1  # the old one is gone

    assert update(Answer="third", Broken="1")["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert any("no such model format" in reason for reason in reasons())
    assert answer() == "second"
    assert len(named(sagemaker.list_endpoint_configs()["EndpointConfigs"], "EndpointConfig")) == 1

    formation.delete_stack(StackName="stacked")
    formation.get_waiter("stack_delete_complete").wait(StackName="stacked", WaiterConfig={"Delay": 1})
    assert named(sagemaker.list_endpoints()["Endpoints"], "Endpoint") == []
    assert named(sagemaker.list_models()["Models"], "Model") == []
    assert named(sagemaker.list_pipelines()["PipelineSummaries"], "Pipeline") == []


def test_an_endpoint_that_never_starts_fails_its_stack(aws: Client, sagemaker: Any) -> None:
    formation = aws("cloudformation")
    began = time.monotonic()
    formation.create_stack(
        StackName="stacked",
        TemplateBody=json.dumps(TEMPLATE),
        Parameters=[{"ParameterKey": "Broken", "ParameterValue": "1"}],
    )
    assert settled(formation)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert time.monotonic() - began < 60  # an image that runs has as many to answer: that it has ended is seen
    assert named(sagemaker.list_endpoints()["Endpoints"], "Endpoint") == []
    assert named(sagemaker.list_endpoint_configs()["EndpointConfigs"], "EndpointConfig") == []
    formation.delete_stack(StackName="stacked")
