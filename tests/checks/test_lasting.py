"""What only a deployment's later life would show."""

from pathlib import Path
from typing import Any

import pytest

from checks import lasting
from tests.checks.made import assembly

KEPT = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
GONE = {"DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete"}
QUEUE = {"Type": "AWS::SQS::Queue", **KEPT}


def rules(folder: Path, requires: dict[str, list[str]] | None = None, **stacks: dict[str, Any]) -> list[str]:
    return [finding.rule for finding in lasting.findings(assembly(folder, stacks, requires))]


def topic(value: Any) -> dict[str, Any]:
    return {"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"KmsMasterKeyId": value}}}}


def test_a_reference_to_an_output_that_no_stack_has_is_found(tmp_path: Path) -> None:
    weak = {"Fn::GetStackOutput": {"StackName": "keys", "OutputName": "Arn"}}
    assert rules(tmp_path, keys={"Resources": {}}, user=topic(weak)) == ["reference-missing"]


def test_a_reference_is_sound_only_when_its_producer_is_deployed_before(tmp_path: Path) -> None:
    keys = {"Resources": {}, "Outputs": {"Arn": {"Value": "arn", "Export": {"Name": "keys:Arn"}}}}
    for reference in (
        {"Fn::ImportValue": "keys:Arn"},
        {"Fn::GetStackOutput": {"StackName": "keys", "OutputName": "Arn"}},
    ):
        assert rules(tmp_path, {"user": ["keys"]}, keys=keys, user=topic(reference)) == []
        assert rules(tmp_path, keys=keys, user=topic(reference)) == ["reference-missing"]


@pytest.mark.parametrize("odd", [GONE, {}, {"DeletionPolicy": "Retain"}])
def test_a_stateful_resource_unlike_its_stage_is_found(tmp_path: Path, odd: dict[str, str]) -> None:
    odd_one = {"Type": "AWS::SQS::Queue", **odd}
    assert rules(tmp_path, a={"Resources": {"One": QUEUE, "Two": QUEUE, "Odd": odd_one}}) == ["removal-policy"]


def test_a_stack_of_more_than_400_resources_is_found(tmp_path: Path) -> None:
    def some(count: int) -> dict[str, Any]:
        return {"Resources": {f"Topic{number}": {"Type": "AWS::SNS::Topic"} for number in range(count)}}

    assert rules(tmp_path, a=some(400)) == []
    assert rules(tmp_path, a=some(401)) == ["stack-size"]


@pytest.mark.parametrize(
    "resource",
    [
        {"Type": "AWS::S3::Bucket", **GONE},
        {"Type": "AWS::ECR::Repository", **GONE},
        {"Type": "AWS::Lambda::Function", "Properties": {}},
    ],
)
def test_what_destroy_would_leave_is_found(tmp_path: Path, resource: dict[str, Any]) -> None:
    assert rules(tmp_path, a={"Resources": {"It": resource}}) == ["left-behind"]


def test_a_bucket_that_is_emptied_first_is_sound(tmp_path: Path) -> None:
    emptier = {"Type": "Custom::S3AutoDeleteObjects", "Properties": {"BucketName": {"Ref": "It"}}}
    resources = {"It": {"Type": "AWS::S3::Bucket", **GONE}, "Emptier": emptier}
    assert rules(tmp_path, a={"Resources": resources}) == []


def test_a_name_that_stands_in_the_way_of_a_replacement_is_found(tmp_path: Path) -> None:
    named = {"Type": "AWS::SageMaker::Model", "Properties": {"ModelName": "flights"}}
    assert rules(tmp_path, a={"Resources": {"Model": named}}) == ["fixed-name"]
