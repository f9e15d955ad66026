"""Faults put into production's templates, one at a time: the gate that should catch each does, by its rule's name."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from checks import access, calls, lasting, rules
from checks.assembly import Assembly
from checks.gates import Gate

Template = dict[str, Any]
Mutation = Callable[[Template], object]
ACCOUNT_ROOT = {"AWS": {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:root"}}
STRANGER = {"AWS": "arn:aws:iam::999988887777:root"}


def one(template: Template, kind: str, part: str = "") -> dict[str, Any]:
    """The properties of the first resource of a kind whose logical id begins with `part`."""
    resources = template["Resources"]
    name = next(name for name, each in resources.items() if each["Type"] == kind and name.startswith(part))
    found: dict[str, Any] = resources[name].setdefault("Properties", {})
    return found


def also(kind: str, **properties: Any) -> Mutation:
    """Adds a resource."""
    return lambda template: template["Resources"].update({"Added": {"Type": kind, "Properties": properties}})


def without(kind: str, *path: str | int) -> Mutation:
    """Takes a property away."""

    def mutate(template: Template) -> None:
        holder: Any = one(template, kind)
        for step in path[:-1]:
            holder = holder[step]
        del holder[path[-1]]

    return mutate


def says(kind: str, document: str, part: str = "", **statement: Any) -> Mutation:
    """Adds a statement to a policy."""
    said = {"Effect": "Allow", "Resource": "*", **statement}
    return lambda template: one(template, kind, part)[document]["Statement"].append(said)


def allows(role: str, *actions: str, resource: Any = "*") -> Mutation:
    """Adds a statement to a role's policy."""
    return says("AWS::IAM::Policy", "PolicyDocument", role, Action=list(actions), Resource=resource)


def takes(role: str, action: str) -> Mutation:
    """Takes an action from a role's policy."""

    def mutate(template: Template) -> None:
        for statement in one(template, "AWS::IAM::Policy", role)["PolicyDocument"]["Statement"]:
            if action in statement["Action"]:
                statement["Action"] = [each for each in statement["Action"] if each != action] or [
                    "sts:GetCallerIdentity"
                ]

    return mutate


def trust(**principal: Any) -> Mutation:
    """Lets another principal assume the first role, without a condition."""

    def mutate(template: Template) -> None:
        statements = one(template, "AWS::IAM::Role")["AssumeRolePolicyDocument"]["Statement"]
        statements.append({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal})

    return mutate


def sets(kind: str, value: Any, *path: str | int) -> Mutation:
    """Gives a property another value."""

    def mutate(template: Template) -> None:
        holder: Any = one(template, kind)
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = value

    return mutate


def bucket_deleted(template: Template) -> None:
    name = next(name for name, each in template["Resources"].items() if each["Type"] == "AWS::S3::Bucket")
    template["Resources"][name]["DeletionPolicy"] = "Delete"


def many(template: Template) -> None:
    template["Resources"].update({f"Extra{number}": {"Type": "AWS::SNS::Topic"} for number in range(400)})


S3_POLICY = ("AWS::S3::BucketPolicy", "PolicyDocument")
DELIVERY = ("AWS::KinesisFirehose::DeliveryStream", "ExtendedS3DestinationConfiguration")
VARIABLES = ("AWS::Lambda::Function", "Environment", "Variables")
WORKGROUP = ("AWS::Athena::WorkGroup", "WorkGroupConfiguration")
TRANSFORM_ROLE = "FlightsDeliveryTransformRole"
LIFECYCLE = [{"Status": "Enabled", "Transitions": [{"StorageClass": "STANDARD_IA", "TransitionInDays": 7}]}]
VECTORS = {"Type": "VECTOR"}
FAULTS: dict[str, tuple[str, Gate, str, Mutation]] = {
    "an admin policy": ("catalog-etl", access.findings, "access-admin-policy", allows("JobRole", "*")),
    "AWS's admin policy attached": (
        "catalog-etl",
        access.findings,
        "access-admin-policy",
        sets("AWS::IAM::Role", ["arn:aws:iam::aws:policy/AdministratorAccess"], "ManagedPolicyArns"),
    ),
    "a public bucket policy": (
        "data-lake",
        rules.findings,
        "s3-public-policy",
        says(*S3_POLICY, Principal="*", Action="s3:GetObject"),
    ),
    "a public bucket policy, by access": (
        "data-lake",
        access.findings,
        "access-public-resource",
        says(
            *S3_POLICY,
            Principal={"AWS": "*"},
            Action="s3:GetObject",
            Condition={"Bool": {"aws:SecureTransport": "true"}},
        ),
    ),
    "another account that reads": (
        "data-lake",
        access.findings,
        "access-cross-account",
        says(*S3_POLICY, Principal=STRANGER, Action="s3:GetObject"),
    ),
    "kms:* to another role": ("training", access.findings, "access-key-administration", allows("JobRole", "kms:*")),
    "a key open to everyone": (
        "foundation",
        access.findings,
        "access-public-key",
        says("AWS::KMS::Key", "KeyPolicy", Principal="*", Action="kms:Decrypt"),
    ),
    "a trust open to the account": ("training", access.findings, "access-open-trust", trust(**ACCOUNT_ROOT)),
    "a trust open to the account, by rule": ("training", rules.findings, "iam-trust-open", trust(**ACCOUNT_ROOT)),
    "PassRole on everything": ("training", access.findings, "access-pass-role", allows("JobRole", "iam:PassRole")),
    "PassRole on everything, by rule": ("training", rules.findings, "iam-pass-role", allows("JobRole", "iam:PassRole")),
    "a wildcard in an action's prefix": (
        "training",
        access.findings,
        "access-wildcard-action",
        allows("JobRole", "s3:Get*"),
    ),
    "an action too many": (
        "streaming",
        calls.findings,
        "calls-unused",
        allows(
            TRANSFORM_ROLE,
            "dynamodb:PutItem",
            resource="arn:aws:dynamodb:us-east-1:123456789012:table/flights",
        ),
    ),
    "an action too few": (
        "streaming",
        calls.findings,
        "calls-missing",
        takes(TRANSFORM_ROLE, "s3:PutObject"),
    ),
    "NotAction": (
        "training",
        access.findings,
        "access-not-element",
        says("AWS::IAM::Policy", "PolicyDocument", "JobRole", NotAction="iam:*"),
    ),
    "a function that any account's bucket may call": (
        "streaming",
        access.findings,
        "access-confused-deputy",
        also(
            "AWS::Lambda::Permission",
            Action="lambda:InvokeFunction",
            FunctionName={"Ref": "FlightsDeliveryTransform504A6BF6"},
            Principal="s3.amazonaws.com",
        ),
    ),
    "an IAM user": ("training", rules.findings, "iam-user", also("AWS::IAM::User")),
    "a stream without a key": (
        "streaming",
        rules.findings,
        "kinesis-stream-key",
        without("AWS::Kinesis::Stream", "StreamEncryption"),
    ),
    "a Parquet buffer of 32 MB": (
        "streaming",
        rules.findings,
        "firehose-buffer",
        sets(DELIVERY[0], 32, DELIVERY[1], "BufferingHints", "SizeInMBs"),
    ),
    "no error prefix": ("streaming", rules.findings, "firehose-error-prefix", without(*DELIVERY, "ErrorOutputPrefix")),
    "a model outside the VPC": (
        "serving",
        rules.findings,
        "sagemaker-model-vpc",
        without("AWS::SageMaker::Model", "VpcConfig"),
    ),
    "a model on the network": (
        "serving",
        rules.findings,
        "sagemaker-model-isolation",
        without("AWS::SageMaker::Model", "EnableNetworkIsolation"),
    ),
    "an endpoint without a key": (
        "serving",
        rules.findings,
        "sagemaker-endpoint-key",
        without("AWS::SageMaker::EndpointConfig", "KmsKeyId"),
    ),
    "a capture without a key": (
        "serving",
        rules.findings,
        "sagemaker-capture-key",
        without("AWS::SageMaker::EndpointConfig", "DataCaptureConfig", "KmsKeyId"),
    ),
    "a model with a fixed name": (
        "serving",
        lasting.findings,
        "fixed-name",
        sets("AWS::SageMaker::Model", "delays", "ModelName"),
    ),
    "a secret in the environment": (
        "serving",
        rules.findings,
        "lambda-secret-in-environment",
        sets(VARIABLES[0], "hunter2hunter2", "Environment", "Variables", "DB_PASSWORD"),
    ),
    "a function that makes its own log group": (
        "serving",
        lasting.findings,
        "left-behind",
        without("AWS::Lambda::Function", "LoggingConfig"),
    ),
    "results that clients may leave unencrypted": (
        "catalog-etl",
        rules.findings,
        "athena-client-override",
        sets(WORKGROUP[0], False, WORKGROUP[1], "EnforceWorkGroupConfiguration"),
    ),
    "queries that may scan everything": (
        "catalog-etl",
        rules.findings,
        "athena-scan-limit",
        without(*WORKGROUP, "BytesScannedCutoffPerQuery"),
    ),
    "a Glue job without encryption": (
        "catalog-etl",
        rules.findings,
        "glue-security-configuration",
        without("AWS::Glue::Job", "SecurityConfiguration"),
    ),
    "logs kept for ever": ("catalog-etl", rules.findings, "log-retention", also("AWS::Logs::LogGroup")),
    "a lifecycle that S3 refuses": (
        "data-lake",
        rules.findings,
        "s3-lifecycle-refused",
        sets("AWS::S3::Bucket", LIFECYCLE, "LifecycleConfiguration", "Rules"),
    ),
    "a bucket that is not kept": ("data-lake", lasting.findings, "removal-policy", bucket_deleted),
    "a reference that leads nowhere": (
        "streaming",
        lasting.findings,
        "reference-missing",
        also("AWS::SNS::Topic", TopicName={"Fn::ImportValue": "nobody:Exports"}),
    ),
    "too many resources": ("streaming", lasting.findings, "stack-size", many),
    "an event that is lost when it can't be delivered": (
        "monitoring",
        rules.findings,
        "event-dead-letter",
        without("AWS::Events::Rule", "Targets", 0, "DeadLetterConfig"),
    ),
    "a feature group without a key": (
        "training",
        rules.findings,
        "sagemaker-feature-group-key",
        also("AWS::SageMaker::FeatureGroup", OnlineStoreConfig={"EnableOnlineStore": True}),
    ),
    "a Studio domain on the internet": (
        "training",
        rules.findings,
        "sagemaker-domain-internet",
        also("AWS::SageMaker::Domain", AppNetworkAccessType="PublicInternetOnly"),
    ),
    "a bare guardrail": (
        "training",
        rules.findings,
        "bedrock-guardrail-content",
        also("AWS::Bedrock::Guardrail", Name="bare"),
    ),
    "a bare knowledge base": (
        "training",
        rules.findings,
        "bedrock-knowledge-base-key",
        also("AWS::Bedrock::KnowledgeBase", KnowledgeBaseConfiguration=VECTORS),
    ),
}


@pytest.fixture(scope="module")
def production(assembly: Assembly) -> Assembly:
    """The stacks of production, alone."""
    alone = Assembly(assembly.folder)
    alone.__dict__["stacks"] = list(assembly.environments["production"].values())
    return alone


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught_by_name(production: Assembly, fault: str) -> None:
    layer, gate, rule, mutate = FAULTS[fault]
    mutated = Assembly(production.folder)
    mutated.__dict__["stacks"] = [
        replace(stack, template=copy.deepcopy(stack.template)) if stack.layer == layer else stack
        for stack in production.stacks
    ]
    mutate(next(stack.template for stack in mutated.stacks if stack.layer == layer))
    assert rule in {finding.rule for finding in {*gate(mutated)} - {*gate(production)}}


def test_there_are_enough_of_them() -> None:
    assert len(FAULTS) >= 30
