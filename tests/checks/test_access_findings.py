"""Faults injected into a small app: each is found by its rule and no other, and what is like it but right is not."""

import json
from pathlib import Path
from typing import Any

import pytest

from checks.access import findings
from tests.checks.access_app import (
    ACCOUNT,
    OTHER_ACCOUNT,
    ROOT,
    arn_of,
    assembly,
    bucket_policy,
    key,
    resource,
    role,
    statement,
)

BUCKET = {"Bucket": resource("AWS::S3::Bucket")}
FUNCTION = {"Function": resource("AWS::Lambda::Function")}
READ = statement("Allow", "s3:GetObject", arn_of("Bucket", "/*"))
ALL_OF_S3 = statement("Allow", "s3:*")
OTHER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/Other"
OTHER_ROOT = f"arn:aws:iam::{OTHER_ACCOUNT}:root"
TO_IAM = statement("Allow", "kms:*", Principal={"AWS": ROOT})
TO_GLUE = {"StringEquals": {"iam:PassedToService": "glue.amazonaws.com"}}


def _managed(name: str) -> dict[str, Any]:
    return {"Role": role(ManagedPolicyArns=[f"arn:aws:iam::aws:policy/{name}"])}


def _bucket_for(**others: Any) -> dict[str, Any]:
    return BUCKET | {"Policy": bucket_policy(READ | others)}


def _trusts(principal: Any, action: str = "sts:AssumeRole", **others: Any) -> dict[str, Any]:
    return {"Role": role(trust={"Statement": [statement("Allow", action, None, Principal=principal, **others)]})}


def _key_for(action: Any, principal: Any, **others: Any) -> dict[str, Any]:
    return {"Key": key(TO_IAM, statement("Allow", action, Principal=principal, **others))}


def _invoked_by(principal: str, **others: Any) -> dict[str, Any]:
    called = {"FunctionName": {"Ref": "Function"}, "Action": "lambda:InvokeFunction", "Principal": principal}
    return FUNCTION | {"Permission": resource("AWS::Lambda::Permission", **called, **others)}


def _queue_for(**others: Any) -> dict[str, Any]:
    policy = {"Statement": [statement("Allow", "sqs:SendMessage", **others)]}
    attached = resource("AWS::SQS::QueuePolicy", Queues=[{"Ref": "Queue"}], PolicyDocument=policy)
    return {"Queue": resource("AWS::SQS::Queue"), "Policy": attached}


def _topic_for(**others: Any) -> dict[str, Any]:
    policy = {"Statement": [statement("Allow", "sns:Publish", **others)]}
    attached = resource("AWS::SNS::TopicPolicy", Topics=[{"Ref": "Topic"}], PolicyDocument=policy)
    return {"Topic": resource("AWS::SNS::Topic"), "Policy": attached}


WRONG: dict[str, tuple[set[str], dict[str, Any]]] = {
    "every action": (
        {"admin-policy", "wildcard-action", "key-administration", "pass-role"},
        {"Role": role(statement("Allow", "*"))},
    ),
    "every action, written otherwise": (
        {"admin-policy", "wildcard-action", "key-administration", "pass-role"},
        {"Role": role(statement("Allow", ["*:*"], ["*"]))},
    ),
    "AdministratorAccess": (
        {"admin-policy", "wildcard-action", "key-administration", "pass-role"},
        _managed("AdministratorAccess"),
    ),
    "AdministratorAccess, by a permission set": (
        {"admin-policy", "wildcard-action", "key-administration", "pass-role"},
        {
            "People": resource(
                "AWS::SSO::PermissionSet", ManagedPolicies=["arn:aws:iam::aws:policy/AdministratorAccess"]
            )
        },
    ),
    "all of S3, by a permission set's text": (
        {"any-resource", "wildcard-action"},
        {"People": resource("AWS::SSO::PermissionSet", InlinePolicy=json.dumps({"Statement": [ALL_OF_S3]}))},
    ),
    "a permission set with a policy from elsewhere": (
        {"unknown-policy"},
        {"People": resource("AWS::SSO::PermissionSet", CustomerManagedPolicyReferences=[{"Name": "Elsewhere"}])},
    ),
    **{
        f"{action} on {on}": ({"any-resource"}, {"Role": role(statement("Allow", action, on))})
        for action, on in (
            ("s3:GetObject", "*"),
            ("s3:GetObject", "arn:aws:s3:::*"),
            ("s3:GetObject", "arn:aws:s3:::*/*"),
            ("kms:decrypt", f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/*"),
            ("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:*:secret:*"),
            ("sts:AssumeRole", "*"),
            ("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/*"),
        )
    },
    "PowerUserAccess": ({"not-element"}, _managed("PowerUserAccess")),
    "a public bucket": ({"public-resource"}, _bucket_for(Principal="*")),
    "a public bucket, as AWS": ({"public-resource"}, _bucket_for(Principal={"AWS": ["*"]})),
    "a public bucket over TLS": (
        {"public-resource"},
        _bucket_for(Principal="*", Condition={"Bool": {"aws:SecureTransport": "true"}}),
    ),
    "a public bucket for any organization": (
        {"public-resource"},
        _bucket_for(Principal="*", Condition={"StringLike": {"aws:PrincipalOrgID": "*"}}),
    ),
    "a public bucket for whoever has no organization": (
        {"public-resource"},
        _bucket_for(Principal="*", Condition={"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}}),
    ),
    "a bucket for every address": (
        {"public-resource"},
        _bucket_for(Principal="*", Condition={"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}),
    ),
    "a bucket for every address, in two halves": (
        {"public-resource"},
        _bucket_for(Principal="*", Condition={"IpAddress": {"aws:SourceIp": ["0.0.0.0/1", "128.0.0.0/1"]}}),
    ),
    "a bucket for all but one": (
        {"public-resource", "not-element"},
        BUCKET | {"Policy": bucket_policy(READ | {"NotPrincipal": {"AWS": OTHER_ROLE}})},
    ),
    "a public queue": ({"public-resource"}, _queue_for(Principal="*")),
    "a public topic": ({"public-resource"}, _topic_for(Principal="*")),
    "a public function": ({"public-resource"}, _invoked_by("*")),
    "a key for anyone": ({"public-key"}, _key_for("kms:Decrypt", "*")),
    "kms:* to another role, by the key": (
        {"key-administration", "wildcard-action"},
        _key_for("kms:*", {"AWS": OTHER_ROLE}),
    ),
    "kms:* to another role, by its own policy": (
        {"key-administration", "wildcard-action"},
        {"Key": key(), "Role": role(statement("Allow", "kms:*", arn_of("Key")))},
    ),
    "a role for the whole account": ({"open-trust"}, _trusts({"AWS": ROOT})),
    "a role for the whole account, by its number": ({"open-trust"}, _trusts({"AWS": ACCOUNT})),
    "a role for anyone": ({"open-trust"}, _trusts({"AWS": "*"})),
    "a role for another account": (
        {"open-trust"},
        _trusts({"AWS": OTHER_ROOT}, Condition={"StringEquals": {"sts:ExternalId": "x"}}),
    ),
    "a role for whom a parameter names": ({"open-trust"}, _trusts({"AWS": {"Ref": "Somebody"}})),
    "a role for whoever signs in anywhere": (
        {"open-trust"},
        _trusts({"Federated": "accounts.google.com"}, "sts:AssumeRoleWithWebIdentity"),
    ),
    "any role may be passed": ({"pass-role"}, {"Role": role(statement("Allow", "iam:PassRole", Condition=TO_GLUE))}),
    "any role of the account may be passed": (
        {"pass-role"},
        {"Role": role(statement("Allow", "iam:passrole", f"arn:aws:iam::{ACCOUNT}:role/*"))},
    ),
    "a wildcard after a prefix": ({"wildcard-action"}, BUCKET | {"Role": role(READ | {"Action": "s3:Get*"})}),
    "all of S3": ({"wildcard-action"}, BUCKET | {"Role": role(READ | {"Action": ["s3:*"]})}),
    "one unknown character": ({"wildcard-action"}, BUCKET | {"Role": role(READ | {"Action": "s3:GetObjec?"})}),
    "a bucket that shortens reading": (
        {"wildcard-action"},
        BUCKET | {"Policy": bucket_policy(READ | {"Action": "s3:GetObject*", "Principal": {"AWS": OTHER_ROLE}})},
    ),
    "all but some actions": (
        {"not-element"},
        {"Role": role({"Effect": "Allow", "NotAction": ["iam:PassRole", "kms:Decrypt"], "Resource": "arn:aws:s3:::x"})},
    ),
    "all but some resources": (
        {"not-element"},
        {"Role": role({"Effect": "Allow", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::x/*"})},
    ),
    "another account reads": ({"cross-account"}, _bucket_for(Principal={"AWS": OTHER_ROOT})),
    "another account decrypts": ({"cross-account"}, _key_for("kms:Decrypt", {"AWS": OTHER_ACCOUNT})),
    "a service for any account": ({"confused-deputy"}, _invoked_by("s3.amazonaws.com")),
    "a service for any bucket there is": (
        {"confused-deputy"},
        _invoked_by("s3.amazonaws.com", SourceArn="arn:aws:s3:::*"),
    ),
    "a topic for a service": ({"confused-deputy"}, _topic_for(Principal={"Service": "events.amazonaws.com"})),
    "a policy that nobody can read": (
        {"unknown-policy"},
        {"Role": role(ManagedPolicyArns=[f"arn:aws:iam::{ACCOUNT}:policy/Elsewhere"])},
    ),
    "a boundary that nobody can read": (
        {"unknown-policy"},
        {"Role": role(PermissionsBoundary=f"arn:aws:iam::{ACCOUNT}:policy/Elsewhere")},
    ),
}

RIGHT: dict[str, dict[str, Any]] = {
    "actions one by one": BUCKET | {"Role": role(READ)},
    "KMS's families, as the CDK writes them": _key_for(
        ["kms:Decrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"], {"AWS": OTHER_ROLE}
    ),
    "the CDK's function that empties buckets": BUCKET
    | {
        "Policy": bucket_policy(
            READ | {"Action": ["s3:GetBucket*", "s3:List*", "s3:DeleteObject*"], "Principal": {"AWS": OTHER_ROLE}}
        )
    },
    "a denial for anyone": BUCKET
    | {"Policy": bucket_policy({**READ, "Effect": "Deny", "Action": "s3:*", "Principal": "*"})},
    "anyone of an organization": _bucket_for(Principal="*", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
    "anyone through one endpoint": _bucket_for(Principal="*", Condition={"StringEquals": {"aws:SourceVpce": "vpce-1"}}),
    "a key for anyone of the account": _key_for(
        "kms:Decrypt", "*", Condition={"StringEquals": {"kms:CallerAccount": ACCOUNT}}
    ),
    "the account with a second factor": _trusts(
        {"AWS": ROOT}, Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    ),
    "one role may be passed": {
        "Role": role(statement("Allow", "iam:PassRole", arn_of("Job"))),
        "Job": role(),
    },
    "a service for one rule": _invoked_by(
        "events.amazonaws.com", SourceArn=f"arn:aws:events:eu-west-1:{ACCOUNT}:rule/r"
    ),
    "a service for one account": _invoked_by("s3.amazonaws.com", SourceAccount=ACCOUNT),
    "AWS's policy for logs": _managed("service-role/AWSLambdaBasicExecutionRole"),
    "objects of one bucket": {"Role": role(statement("Allow", "s3:GetObject", "arn:aws:s3:::lake/*"))},
    "roles of one path": {"Role": role(statement("Allow", "sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/jobs/*"))},
    "secrets of one tag": {
        "Role": role(
            statement(
                "Allow",
                "secretsmanager:GetSecretValue",
                Condition={"StringEquals": {"aws:ResourceTag/team": "data"}},
            )
        )
    },
    "what reads no data": {"Role": role(statement("Allow", ["xray:PutTraceSegments", "glue:GetTables"]))},
    "all but some, denied": {"Role": role({"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"})},
}


def _rules(folder: Path, resources: dict[str, Any], **others: Any) -> set[str]:
    template = {"Resources": resources, "Parameters": {"Somebody": {"Type": "String"}}}
    return {each.rule.removeprefix("access-") for each in findings(assembly(folder, app=template, **others))}


@pytest.mark.requirement("sec-bucket-policy-json")
@pytest.mark.parametrize("fault", WRONG)
def test_a_fault_is_found_by_its_rules(fault: str, tmp_path: Path) -> None:
    expected, resources = WRONG[fault]
    assert _rules(tmp_path, resources) == expected


@pytest.mark.parametrize("case", RIGHT)
def test_what_is_right_is_not_found(case: str, tmp_path: Path) -> None:
    assert not _rules(tmp_path, RIGHT[case])


@pytest.mark.requirement("sec-cross-account")
@pytest.mark.parametrize(
    "resources", [_bucket_for(Principal={"AWS": OTHER_ROOT}), _trusts({"AWS": f"{OTHER_ROOT[:-4]}role/R"})]
)
def test_an_account_that_a_setting_lets_in_is_none(resources: dict[str, Any], tmp_path: Path) -> None:
    let_in = {"/test/app/Bucket": [{"type": "access:trusted-accounts", "data": [OTHER_ACCOUNT]}]}
    assert _rules(tmp_path / "asked", resources, metadata=let_in) == set()
    assert _rules(tmp_path / "not-asked", resources) != set()


def test_a_finding_says_where_it_is_and_what_it_found(tmp_path: Path) -> None:
    (found,) = findings(assembly(tmp_path, lake=_bucket_for(Principal="*")))
    assert (found.stack, found.resource, found.message) == ("test/lake", "Policy", "anyone may s3:GetObject")
