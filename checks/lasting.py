"""What only a deployment's later life would show: references that lead nowhere, what destroy leaves, fixed names."""

from collections.abc import Iterator
from typing import Any

from checks.assembly import Assembly, Stack, references
from checks.finding import Finding, Severity

MOST_RESOURCES = 400  # CloudFormation refuses more than 500, and a stack must be able to grow
STATEFUL = {
    "AWS::DynamoDB::GlobalTable",
    "AWS::DynamoDB::Table",
    "AWS::ECR::Repository",
    "AWS::KMS::Key",
    "AWS::Kinesis::Stream",
    "AWS::Logs::LogGroup",
    "AWS::OpenSearchService::Domain",
    "AWS::RDS::DBCluster",
    "AWS::RDS::DBInstance",
    "AWS::Redshift::Cluster",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
    "AWS::SageMaker::FeatureGroup",
    "AWS::SageMaker::ModelPackageGroup",
}
# A change of these replaces the resource, and under a fixed name the new one can't be made beside the old one.
NAMES = {
    "AWS::DynamoDB::GlobalTable": "TableName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Role": "RoleName",
    "AWS::Kinesis::Stream": "Name",
    "AWS::KinesisFirehose::DeliveryStream": "DeliveryStreamName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SageMaker::EndpointConfig": "EndpointConfigName",
    "AWS::SageMaker::Model": "ModelName",
}
_EMPTIER = "Custom::S3AutoDeleteObjects"


def findings(assembly: Assembly) -> Iterator[Finding]:
    """Every finding of this gate."""
    for stacks in assembly.environments.values():
        yield from _dangling(list(stacks.values()))
        yield from _unlike(list(stacks.values()))
    for stack in assembly.stacks:
        yield from _too_many(stack)
        yield from _left_behind(stack)
        yield from _named(stack)


def _dangling(stacks: list[Stack]) -> Iterator[Finding]:
    """References to outputs and exports that no stack has, or that a stack deployed later has."""
    outputs = {(stack.name, name): stack for stack in stacks for name in stack.outputs}
    exports = {
        str(output["Export"]["Name"]): stack
        for stack in stacks
        for output in stack.outputs.values()
        if "Export" in output
    }
    for stack in stacks:
        for logical_id, resource in stack.resources().items():
            for reference in set(references(resource)):
                if reference.function == "Fn::GetStackOutput":
                    producer, what = outputs.get((reference.stack_name, reference.target)), "output"
                elif reference.function == "Fn::ImportValue":
                    producer, what = exports.get(reference.target), "export"
                else:
                    continue
                if producer is None:
                    message = f"refers to the {what} {reference.target}, which no stack of its stage has"
                elif producer.name not in stack.requires:
                    message = f"refers to the {what} {reference.target} of {producer.label}, not deployed before it"
                else:
                    continue
                fix = "Pass the resource itself from stack to stack: the CDK then makes output and order."
                yield Finding("reference-missing", Severity.HIGH, stack.label, logical_id, message, fix)


def _unlike(stacks: list[Stack]) -> Iterator[Finding]:
    """Stateful resources that say nothing of their end, or another thing than most of their stage."""
    policies = {
        (stack, logical_id): (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy"))
        for stack in stacks
        for logical_id, resource in stack.resources(*STATEFUL).items()
    }
    stated = [deletion for deletion, _ in policies.values() if deletion]
    usual = max(set(stated), key=stated.count, default=None)
    for (stack, logical_id), (deletion, replacement) in policies.items():
        if deletion != usual or replacement != deletion:
            message = f"DeletionPolicy is {deletion}, UpdateReplacePolicy {replacement}; its stage's others: {usual}"
            fix = "Set one removal policy by environment on everything that holds data: apply_removal_policy()."
            yield Finding("removal-policy", Severity.MEDIUM, stack.label, logical_id, message, fix)


def _too_many(stack: Stack) -> Iterator[Finding]:
    count = len(stack.resources())
    if count > MOST_RESOURCES:
        message = f"{count} resources, more than {MOST_RESOURCES}; CloudFormation takes 500"
        yield Finding("stack-size", Severity.MEDIUM, stack.label, "Resources", message, "Split the stack by layer.")


def _left_behind(stack: Stack) -> Iterator[Finding]:
    """What a destroy would fail at or leave: buckets and repositories with content, logs that a service creates."""
    emptied = [references(each.get("Properties")) for each in stack.resources(_EMPTIER).values()]
    buckets = {reference.target for bucket in emptied for reference in bucket}
    for logical_id, resource in stack.resources().items():
        properties, kind = resource.get("Properties", {}), resource["Type"]
        if kind == "AWS::Lambda::Function" and "LogGroup" not in properties.get("LoggingConfig", {}):
            message, fix = "its log group is made by Lambda and outlives the stack", "Give it one: log_group=..."
        elif resource.get("DeletionPolicy") != "Delete":
            continue
        elif kind == "AWS::S3::Bucket" and logical_id not in buckets:
            message, fix = "is to be deleted, which fails while it holds an object", "Set auto_delete_objects=True."
        elif kind == "AWS::ECR::Repository" and not properties.get("EmptyOnDelete"):
            message, fix = "is to be deleted, which fails while it holds an image", "Set empty_on_delete=True."
        else:
            continue
        yield Finding("left-behind", Severity.LOW, stack.label, logical_id, message, fix)


def _named(stack: Stack) -> Iterator[Finding]:
    for logical_id, resource in stack.resources(*NAMES).items():
        name: Any = resource.get("Properties", {}).get(NAMES[resource["Type"]])
        if name:
            message = f"{NAMES[resource['Type']]} is fixed: a change that replaces it fails, the name being taken"
            yield Finding(
                "fixed-name", Severity.MEDIUM, stack.label, logical_id, message, "Let CloudFormation name it."
            )
