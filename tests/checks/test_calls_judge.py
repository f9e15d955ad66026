"""Code against role over small assemblies: a function, its role, and what differs between the two."""

import json
from pathlib import Path
from typing import Any

import pytest

from checks.assembly import Assembly
from checks.calls import findings, not_judged
from checks.finding import Finding

HASH = "ab" * 32
LOGS = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
CODE = "import boto3\n\ntable = boto3.client('dynamodb')\n\n\ndef handler(event, context):\n    table.get_item()\n"


def statement(*actions: str, effect: str = "Allow", **others: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": list(actions), "Resource": "*"} | others


def judged(
    folder: Path,
    *statements: dict[str, Any],
    code: str = CODE,
    function: dict[str, Any] | None = None,
    role: dict[str, Any] | None = None,
    others: dict[str, Any] | None = None,
) -> list[Finding]:
    """The findings of an assembly with one function of this code, whose role may write logs and `statements`."""
    return list(findings(assembly(folder, *statements, code=code, function=function, role=role, others=others)))


def assembly(
    folder: Path,
    *statements: dict[str, Any],
    code: str = CODE,
    function: dict[str, Any] | None = None,
    role: dict[str, Any] | None = None,
    others: dict[str, Any] | None = None,
) -> Assembly:
    asset = folder / f"asset.{HASH}"
    asset.mkdir()
    (asset / "handler.py").write_text(code)
    properties = {
        "Runtime": "python3.14",
        "Handler": "handler.handler",
        "Code": {"S3Bucket": "assets", "S3Key": f"{HASH}.zip"},
        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
    }
    policy = {"Roles": [{"Ref": "Role"}], "PolicyDocument": {"Statement": [statement(*LOGS), *statements]}}
    resources = {
        "Role": {"Type": "AWS::IAM::Role", "Properties": role or {}},
        "Policy": {"Type": "AWS::IAM::Policy", "Properties": policy},
        "Function": {"Type": "AWS::Lambda::Function", "Properties": properties | (function or {})},
        **(others or {}),
    }
    (folder / "stack.json").write_text(json.dumps({"Resources": resources}))
    artifact = {
        "type": "aws:cloudformation:stack",
        "displayName": "stack",
        "properties": {"templateFile": "stack.json"},
    }
    (folder / "manifest.json").write_text(json.dumps({"artifacts": {"stack": artifact}}))
    return Assembly(folder)


def said(found: list[Finding]) -> list[tuple[str, str]]:
    """(rule, resource) of each finding."""
    return sorted((finding.rule, finding.resource) for finding in found)


def test_what_is_called_and_allowed_is_no_finding(tmp_path: Path) -> None:
    assert judged(tmp_path, statement("dynamodb:GetItem")) == []


def test_a_missing_permission_names_the_call_by_file_and_line(tmp_path: Path) -> None:
    (finding,) = judged(tmp_path)
    assert (finding.rule, finding.resource) == ("calls-missing", "Role")
    assert "dynamodb:GetItem" in finding.message and "handler.py:7 calls GetItem" in finding.message


def test_an_unused_permission_names_the_policy_and_the_code(tmp_path: Path) -> None:
    (finding,) = judged(tmp_path, statement("dynamodb:GetItem", "dynamodb:PutItem"))
    assert (finding.rule, finding.resource) == ("calls-unused", "Policy")
    assert "dynamodb:PutItem" in finding.message and "handler.py" in finding.message


@pytest.mark.parametrize("pattern", ["dynamodb:*", "dynamodb:Get*", "*"])
def test_a_wildcard_allows_more_than_is_called(pattern: str, tmp_path: Path) -> None:
    (finding,) = judged(tmp_path, statement(pattern))
    assert finding.rule == "calls-unused" and f"it allows {pattern}, of which dynamodb:GetItem" in finding.message


def test_all_but_some_actions_are_more_than_is_called(tmp_path: Path) -> None:
    everything_else = {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}
    assert said(judged(tmp_path, everything_else)) == [("calls-unused", "Policy")]


def test_a_permission_that_is_denied_is_missing(tmp_path: Path) -> None:
    denied = statement("dynamodb:GetItem", effect="Deny")
    assert said(judged(tmp_path, statement("dynamodb:GetItem"), denied)) == [("calls-missing", "Role")]


def test_an_unresolved_call_is_a_finding_and_nothing_is_called_unused(tmp_path: Path) -> None:
    code = (
        "import boto3\nclient = boto3.client('s3')\ndef handler(event, context):\n    getattr(client, event['x'])()\n"
    )
    (finding,) = judged(tmp_path, statement("s3:GetObject"), code=code)
    assert (finding.rule, finding.resource) == ("calls-unresolved", "Function")
    assert "handler.py:4" in finding.message


def test_code_in_the_template_is_read(tmp_path: Path) -> None:
    inline = {"Code": {"ZipFile": "import boto3\nboto3.client('sqs').purge_queue()"}, "Handler": "index.handler"}
    (finding,) = judged(tmp_path, function=inline)
    assert "index.py:2 calls PurgeQueue" in finding.message


@pytest.mark.parametrize(
    ("property_", "action"),
    [
        ({"KmsKeyArn": "key"}, "kms:Decrypt"),
        ({"TracingConfig": {"Mode": "Active"}}, "xray:PutTraceSegments"),
        ({"VpcConfig": {"SubnetIds": ["a"]}}, "ec2:CreateNetworkInterface"),
        ({"DeadLetterConfig": {"TargetArn": {"Fn::GetAtt": ["Queue", "Arn"]}}}, "sqs:SendMessage"),
    ],
)
def test_what_lambda_does_with_the_role_is_needed_and_has_a_source(
    property_: dict[str, Any], action: str, tmp_path: Path
) -> None:
    queue = {"Queue": {"Type": "AWS::SQS::Queue"}}
    found = judged(tmp_path, statement("dynamodb:GetItem"), function=property_, others=queue)
    (message,) = [finding.message for finding in found if f"allow {action};" in finding.message]
    assert "https://docs.aws.amazon.com/" in message


@pytest.mark.parametrize(("encrypted", "expected"), [(True, [("calls-missing", "Role")]), (False, [])])
def test_an_object_in_a_bucket_with_a_key_needs_the_key(
    encrypted: bool, expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    key = {"BucketEncryption": {"ServerSideEncryptionByDefault": {"KMSMasterKeyID": "key"}}} if encrypted else {}
    bucket = {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": key}}
    put = statement("s3:PutObject", Resource={"Fn::Sub": "${Bucket.Arn}/*"})
    code = "import boto3\nboto3.client('s3').put_object()"
    found = judged(tmp_path, put, code=code, others=bucket)
    assert said(found) == expected
    assert all("kms:GenerateDataKey" in finding.message for finding in found)


def test_aws_own_policy_for_logs_is_known_and_others_are_not(tmp_path: Path) -> None:
    policies = [f"arn:aws:iam::aws:policy/{name}" for name in ("service-role/AWSLambdaBasicExecutionRole", "PowerUser")]
    found = judged(tmp_path, statement("dynamodb:GetItem"), role={"ManagedPolicyArns": policies})
    assert said(found) == [("calls-unresolved", "Role")] and "PowerUser" in found[0].message


def test_other_runtimes_are_named_as_not_judged(tmp_path: Path) -> None:
    made = assembly(tmp_path, statement("s3:*"), function={"Runtime": "nodejs24.x"})
    assert list(findings(made)) == []
    assert not_judged(made) == [("/stack/Function", "its runtime is nodejs24.x")]


def test_a_role_that_nothing_works_with_is_named_as_not_judged(tmp_path: Path) -> None:
    made = assembly(tmp_path, others={"People": {"Type": "AWS::IAM::Role"}})
    assert not_judged(made) == [("/stack/People", "nothing in the assembly works with it")]
