"""Intrinsic functions over several stacks, as CloudFormation would resolve them."""

from pathlib import Path
from typing import Any

import pytest

from checks.access.patterns import is_known
from checks.access.resolve import Either, Resolver, options
from tests.checks.access_app import ACCOUNT, assembly, resource

LAKE = {
    "Resources": {
        "Raw": resource("AWS::S3::Bucket"),
        "Named": resource("AWS::S3::Bucket", BucketName={"Fn::Sub": "lake-${AWS::Region}"}),
        "Stream": resource("AWS::Kinesis::Stream", Name="flights"),
        "Reader": resource(
            "AWS::Kinesis::StreamConsumer", ConsumerName="job", StreamARN={"Fn::GetAtt": ["Stream", "Arn"]}
        ),
        "Queue": resource("AWS::SQS::Queue", QueueName="dead"),
        "Topic": resource("AWS::SNS::Topic", TopicName="alerts"),
        "Role": resource("AWS::IAM::Role", Path="/people/", RoleName="Engineer"),
        "Database": resource("AWS::Glue::Database", DatabaseInput={"Name": "lake"}),
        "Table": resource("AWS::Glue::Table", DatabaseName={"Ref": "Database"}, TableInput={"Name": "flights"}),
        "Circle": resource("AWS::S3::Bucket", BucketName={"Ref": "Circle"}),
    },
    "Parameters": {"Owner": {"Type": "String"}},
    "Mappings": {"Accounts": {"eu-west-1": {"logs": "156460612806"}}},
    "Outputs": {
        "Arn": {"Value": {"Fn::GetAtt": ["Named", "Arn"]}, "Export": {"Name": {"Fn::Sub": "${AWS::StackName}:Arn"}}},
        "Weak": {"Value": {"Ref": "Table"}},
    },
}
RAW = "app-lake-raw-…"


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    found = assembly(tmp_path, lake=LAKE, user={"Role": resource("AWS::IAM::Role")})
    return Resolver(found.stacks)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"Ref": "Raw"}, RAW),
        ({"Fn::GetAtt": ["Raw", "Arn"]}, f"arn:aws:s3:::{RAW}"),
        ({"Fn::GetAtt": "Named.Arn"}, "arn:aws:s3:::lake-eu-west-1"),
        ({"Fn::Join": ["", [{"Fn::GetAtt": ["Named", "Arn"]}, "/*"]]}, "arn:aws:s3:::lake-eu-west-1/*"),
        ({"Fn::Sub": "${Raw.Arn}/${!literal}/${AWS::Partition}"}, f"arn:aws:s3:::{RAW}/${{literal}}/aws"),
        ({"Fn::Sub": ["${Name}/x", {"Name": {"Ref": "Named"}}]}, "lake-eu-west-1/x"),
        ({"Ref": "Queue"}, f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/dead"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, f"arn:aws:sqs:eu-west-1:{ACCOUNT}:dead"),
        ({"Ref": "Topic"}, f"arn:aws:sns:eu-west-1:{ACCOUNT}:alerts"),
        ({"Ref": "Role"}, "Engineer"),
        ({"Fn::GetAtt": ["Role", "Arn"]}, f"arn:aws:iam::{ACCOUNT}:role/people/Engineer"),
        ({"Fn::Select": [5, {"Fn::Split": [":", {"Fn::GetAtt": ["Named", "Arn"]}]}]}, "lake-eu-west-1"),
        ({"Fn::FindInMap": ["Accounts", {"Ref": "AWS::Region"}, "logs"]}, "156460612806"),
        ({"Fn::If": ["Any", "same", "same"]}, "same"),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [{"Ref": "AWS::NoValue"}, 1]}, {"b": [1]}),
    ],
)
def test_functions_within_a_stack(resolver: Resolver, expression: Any, expected: Any) -> None:
    assert resolver.value(resolver.named["app-lake"], expression) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"Fn::ImportValue": "app-lake:Arn"}, "arn:aws:s3:::lake-eu-west-1"),
        ({"Fn::GetStackOutput": {"StackName": "app-lake", "OutputName": "Weak", "Region": "eu-west-1"}}, "flights"),
    ],
)
def test_references_between_stacks(resolver: Resolver, expression: Any, expected: str) -> None:
    assert resolver.value(resolver.named["app-user"], expression) == expected


@pytest.mark.parametrize(
    "expression",
    [
        {"Ref": "Owner"},
        {"Fn::GetAtt": ["Raw", "DomainName"]},
        {"Fn::ImportValue": "nobody"},
        {"Fn::GetStackOutput": {"StackName": "app-lake", "OutputName": "Gone"}},
        {"Fn::Select": [9, ["a"]]},
        {"Fn::FindInMap": ["Accounts", "elsewhere", "logs"]},
        {"Fn::Transform": {"Name": "Macro"}},
    ],
)
def test_what_only_a_deployment_knows_is_the_same_symbol_everywhere(resolver: Resolver, expression: Any) -> None:
    stack = resolver.named["app-lake"]
    found = resolver.text(stack, expression)
    assert found == resolver.text(stack, expression)
    assert not is_known(found)


def test_a_name_that_refers_to_itself_is_one_that_cloudformation_makes_up(resolver: Resolver) -> None:
    assert resolver.name(resolver.named["app-lake"], "Circle") == "app-lake-circle-…"


def test_a_table_has_its_database_in_its_arn(resolver: Resolver) -> None:
    arn = resolver.arn(resolver.named["app-lake"], "Table")
    assert arn == f"arn:aws:glue:eu-west-1:{ACCOUNT}:table/lake/flights"


@pytest.mark.parametrize("expression", [{"Ref": "Reader"}, {"Fn::GetAtt": ["Reader", "ConsumerARN"]}])
def test_a_consumer_has_its_stream_in_its_arn(resolver: Resolver, expression: Any) -> None:
    arn = resolver.text(resolver.named["app-lake"], expression)
    assert arn == f"arn:aws:kinesis:eu-west-1:{ACCOUNT}:stream/flights/consumer/job:…"


def test_both_branches_of_an_if_count_as_uncertain(resolver: Resolver) -> None:
    found = resolver.value(resolver.named["app-lake"], ["a", {"Fn::If": ["Any", "b", {"Ref": "AWS::NoValue"}]}])
    assert found == ["a", Either(("b",))]
    assert list(options(found)) == [("a", True), ("b", False)]
