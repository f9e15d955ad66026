"""What holds for every template: private and encrypted data, named runtimes, nothing left behind in sandbox."""

import json
import re
from typing import Any

import pytest

from checks.assembly import Assembly, Stack, references
from demo.platform import LAYERS as DEMO_LAYERS

# What clients look up; every other output is the CDK's own, between stacks.
OUTPUTS = {
    "foundation": {"ImageUri", "DataKeyArn"},
    "data-lake": {
        "RawBucketName",
        "CuratedBucketName",
        "QuarantineBucketName",
        "FeaturesBucketName",
        "ModelsBucketName",
        "CapturedBucketName",
        "AthenaResultsBucketName",
        "DatabaseName",
    },
    "streaming": {
        "StreamName",
        "DeliveryStreamName",
        "RawTableName",
        "WeatherStreamName",
        "WeatherDeliveryStreamName",
        "WeatherRawTableName",
    },
    "flight-state": {"FlightStateTableName"},
    "real-time": {"FlinkApplicationName", "DeparturesStreamName", "DelaysStreamName", "DelayAlertTopicArn"},
    "delay-delivery": {"DelayDeliveryStreamName"},
    "stream-scoring": {"ScoresTableName"},
    "catalog-etl": {"WorkGroupName", "GlueWorkflowName", "GlueJobName", "CuratedTableName", "GlueAlertTopicArn"},
    "data-catalog": {
        "NightlyWorkflowName",
        "LayoutsJobName",
        "ReferenceCrawlerName",
        "WeatherByDateTableName",
        "WeatherByStationTableName",
    },
    "etl-jobs": {
        "FeatureTableJobName",
        "PrepareJobName",
        "ConvertFormatJobName",
        "KmeansSegmentJobName",
        "MatchDuplicatesJobName",
        "CompactJobName",
        "StreamingWindowJobName",
    },
    "training": {"TrainingPipelineName", "ModelPackageGroupName"},
    "serving": {"EndpointName", "PredictFunctionName"},
    "images": {"PicturesBucketName", "ThumbnailsBucketName"},
    "monitoring": {"MonitorPipelineName", "DriftAlarmName", "AlertTopicArn"},
    "audit": {"TrailArn", "TrailBucketName"},
    "people": {"DataEngineerRoleArn", "DataScientistRoleArn", "AuditorRoleArn", "ExperimentRoleArn"},
}
NOT_IN_SANDBOX = {"audit", "people"}
STATEFUL = (
    "AWS::DynamoDB::Table",
    "AWS::ECR::Repository",
    "AWS::Glue::Database",
    "AWS::KMS::Key",
    "AWS::Kinesis::Stream",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
    "AWS::SageMaker::ModelPackageGroup",
)
# Deleted by CloudFormation, or by the deletion of the log group it is in.
GONE_WITH_ITS_PARENT = {"AWS::Logs::LogStream"}


def test_the_demo_reports_every_stack_that_it_deploys() -> None:
    assert set(DEMO_LAYERS) == set(OUTPUTS) - NOT_IN_SANDBOX


def test_every_stack_has_the_outputs_that_clients_look_up(assembly: Assembly) -> None:
    for environment, stacks in assembly.environments.items():
        for layer, stack in stacks.items():
            own = {name for name in stack.outputs if not name.startswith(("ExportsOutput", "PublishOutput"))}
            assert (environment, layer, own) == (environment, layer, OUTPUTS[layer])
        assert set(stacks) == set(OUTPUTS) - (NOT_IN_SANDBOX if environment == "sandbox" else set())


@pytest.mark.requirement("st-bucket-naming", "sec-sm-s3")
def test_every_bucket_is_private_encrypted_and_unnamed(assembly: Assembly) -> None:
    blocked = {"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"}
    wrong = []
    for stack, name, bucket in _some(assembly, "AWS::S3::Bucket"):
        properties = bucket["Properties"]
        encryption = json.dumps(properties.get("BucketEncryption", {}))
        logs = any(_logs_to(name, other) for other in stack.resources("AWS::S3::Bucket").values())
        expected = "AES256" if logs else "aws:kms"  # the one kind that S3 delivers its logs to
        if properties.get("PublicAccessBlockConfiguration") != dict.fromkeys(blocked, True):
            wrong.append(f"{stack.where(name)} is not private")
        if f'"SSEAlgorithm": "{expected}"' not in encryption:
            wrong.append(f"{stack.where(name)} is not encrypted with {expected}")
        if "BucketName" in properties:
            wrong.append(f"{stack.where(name)} has a fixed name")
    assert not wrong, "\n".join(wrong)


@pytest.mark.requirement("sec-tls-only")
def test_every_bucket_refuses_requests_without_tls(assembly: Assembly) -> None:
    wrong = []
    for stack, name, _ in _some(assembly, "AWS::S3::Bucket"):
        denied = [
            statement
            for policy in stack.resources("AWS::S3::BucketPolicy").values()
            if policy["Properties"]["Bucket"] == {"Ref": name}
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Deny"
            and statement["Action"] == "s3:*"
            and statement["Principal"] == {"AWS": "*"}
            and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        ]
        if len(denied) != 1:
            wrong.append(stack.where(name))
    assert not wrong, "\n".join(wrong)


def test_every_function_runs_on_the_newest_runtime(assembly: Assembly) -> None:
    runtimes = {function["Properties"]["Runtime"] for _, _, function in _some(assembly, "AWS::Lambda::Function")}
    assert runtimes <= {"python3.14", "nodejs24.x"}, "nodejs is the CDK's own function that empties buckets"


def test_every_log_group_is_encrypted_and_forgets(assembly: Assembly) -> None:
    wrong = [
        stack.where(name)
        for stack, name, group in _some(assembly, "AWS::Logs::LogGroup")
        if not {"KmsKeyId", "RetentionInDays"} <= set(group["Properties"])
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.requirement("sec-kinesis-enc")
def test_queues_topics_streams_and_repositories_use_the_platforms_key(assembly: Assembly) -> None:
    where = {
        "AWS::SQS::Queue": "KmsMasterKeyId",
        "AWS::SNS::Topic": "KmsMasterKeyId",
        "AWS::Kinesis::Stream": "StreamEncryption",
        "AWS::ECR::Repository": "EncryptionConfiguration",
    }
    wrong = [
        stack.where(name)
        for kind, key in where.items()
        for stack, name, resource in _some(assembly, kind)
        if not list(references(resource["Properties"].get(key)))  # AWS's own keys are named by a fixed alias
    ]
    assert not wrong, "\n".join(wrong)


def test_there_are_no_users_and_no_policy_allows_everything(assembly: Assembly) -> None:
    assert not assembly.resources("AWS::IAM::User", "AWS::IAM::AccessKey", "AWS::IAM::Group")
    wrong = [
        f"{stack.where(name)}: {statement['Action']}"
        for stack, name, policy in _some(assembly, "AWS::IAM::Policy")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if any("*" in action for action in _list(statement["Action"]))
    ]
    wrong += [
        stack.where(name)
        for stack, name, role in _some(assembly, "AWS::IAM::Role")
        for managed in role["Properties"].get("ManagedPolicyArns", [])
        if "AWSLambdaBasicExecutionRole" not in json.dumps(managed)  # the CDK's function that empties buckets
    ]
    assert not wrong, "\n".join(wrong)


def test_a_destroyed_sandbox_is_gone(assembly: Assembly) -> None:
    kept = [
        stack.where(name)
        for stack in assembly.environments["sandbox"].values()
        for name, resource in stack.resources().items()
        if _policies(resource) != {"Delete"} and resource["Type"] not in GONE_WITH_ITS_PARENT
    ]
    assert not kept, "\n".join(kept)
    for stack in assembly.environments["sandbox"].values():
        emptied = stack.resources("Custom::S3AutoDeleteObjects").values()
        assert {each["Properties"]["BucketName"]["Ref"] for each in emptied} == set(stack.resources("AWS::S3::Bucket"))


def test_what_production_holds_outlives_its_stacks(assembly: Assembly) -> None:
    for environment in ("staging", "production"):
        held = [
            (stack, name, resource)
            for stack in assembly.environments[environment].values()
            for name, resource in stack.resources(*STATEFUL).items()
        ]
        assert {resource["Type"] for _, _, resource in held} == set(STATEFUL)
        deleted = [stack.where(name) for stack, name, resource in held if _policies(resource) != {"Retain"}]
        assert not deleted, "\n".join(deleted)


def test_nothing_without_data_is_kept(assembly: Assembly) -> None:
    """A kept resource that CloudFormation could make again blocks the next deployment if it has a name."""
    kept = [
        stack.where(name)
        for stack in assembly.stacks
        for name, resource in stack.resources().items()
        if resource["Type"] not in {*STATEFUL, *GONE_WITH_ITS_PARENT} and "Retain" in _policies(resource)
    ]
    assert not kept, "\n".join(kept)


def test_models_can_be_replaced_and_the_endpoint_carries_the_prefix(assembly: Assembly) -> None:
    for _, _, model in _some(assembly, "AWS::SageMaker::Model"):
        assert "ModelName" not in model["Properties"]
    for _, _, config in _some(assembly, "AWS::SageMaker::EndpointConfig"):
        assert "EndpointConfigName" not in config["Properties"]
    for stack, _, endpoint in _some(assembly, "AWS::SageMaker::Endpoint"):
        assert endpoint["Properties"]["EndpointName"].startswith(f"{_prefix(stack)}-")


def test_names_that_must_be_given_carry_the_prefix(assembly: Assembly) -> None:
    """Two people can deploy to one account. Tables are named within their database, columns and the like within it."""
    named = {
        "AWS::Athena::WorkGroup": "Name",
        "AWS::CloudTrail::Trail": "TrailName",
        "AWS::SageMaker::Endpoint": "EndpointName",
        "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroupName",
        "AWS::SageMaker::Pipeline": "PipelineName",
        "AWS::KMS::Alias": "AliasName",
    }
    for kind, key in named.items():
        for stack, _, resource in _some(assembly, kind):
            assert re.match(rf"(alias/)?{_prefix(stack)}(-|$)", resource["Properties"][key])
    for stack, _, database in _some(assembly, "AWS::Glue::Database"):
        assert database["Properties"]["DatabaseInput"]["Name"] == _prefix(stack).replace("-", "_")


def _some(assembly: Assembly, kind: str) -> list[tuple[Stack, str, dict[str, Any]]]:
    """Resources of a kind, of which there must be some for a test of them to mean anything."""
    found = assembly.resources(kind)
    assert found, f"there is no {kind}"
    return found


def _policies(resource: dict[str, Any]) -> set[str]:
    return {resource.get("DeletionPolicy", "Delete"), resource.get("UpdateReplacePolicy", "Delete")}


def _prefix(stack: Stack) -> str:
    return stack.name.removesuffix(f"-{stack.layer}")


def _logs_to(name: str, bucket: dict[str, Any]) -> bool:
    return bool(bucket["Properties"].get("LoggingConfiguration", {}).get("DestinationBucketName") == {"Ref": name})


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_somebody_hears_of_whatever_waits_in_a_dead_letter_queue(assembly: Assembly) -> None:
    """By the queue's length, of this stack or as its output, or by what a stream's consumer has sent there."""
    wrong = []
    everywhere = json.dumps([alarm for _, _, alarm in assembly.resources("AWS::CloudWatch::Alarm")])
    for stack, name, _ in _some(assembly, "AWS::SQS::Queue"):
        alarms = json.dumps(stack.resources("AWS::CloudWatch::Alarm"))
        mappings = stack.resources("AWS::Lambda::EventSourceMapping").items()
        consumers = [each for each, mapping in mappings if f'"{name}"' in json.dumps(mapping)]
        heard = f'["{name}", "QueueName"]' in alarms or f"FnGetAtt{name}QueueName" in everywhere
        if not heard and not any(f'{{"Ref": "{consumer}"}}' in alarms for consumer in consumers):
            wrong.append(stack.where(name))
    assert not wrong, "\n".join(wrong)
