"""Who can read what in small apps of several stacks, and how the matrix says it."""

from pathlib import Path
from typing import Any

import pytest

from checks.access.__main__ import main
from checks.access.matrix import Matrix, markdown, matrices, text
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

READ = statement("Allow", ["s3:GetObject", "s3:PutObject"], arn_of("Bucket", "/raw/*"))
DECRYPT = statement("Allow", ["kms:Decrypt"], arn_of("Key"))


def _matrix(folder: Path, **stacks: Any) -> Matrix:
    (found,) = matrices(assembly(folder, **stacks))
    return found


def _encrypted() -> dict[str, Any]:
    rule = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": arn_of("Key")}}
    encryption = {"ServerSideEncryptionConfiguration": [rule]}
    return {"Key": key(), "Bucket": resource("AWS::S3::Bucket", BucketEncryption=encryption)}


def test_what_is_encrypted_is_read_only_with_the_key(tmp_path: Path) -> None:
    found = _matrix(tmp_path, app=_encrypted() | {"Reader": role(READ, DECRYPT), "Blind": role(READ)})
    assert found.may("app/Reader", "read", "app/Bucket")
    assert not found.may("app/Reader", "write", "app/Bucket")
    assert not found.may("app/Blind", "read", "app/Bucket")
    assert text(found) == (
        "bucket app/Bucket\n"
        "  app/Blind: read (raw/*) without the key, write (raw/*) without the key\n"
        "  app/Reader: read (raw/*), write (raw/*) without the key\n"
        "\n"
        "key app/Key\n"
        "  app/Reader: decrypt\n"
        "  this account's IAM: decrypt, encrypt, grant, administer\n"
        "\n"
        "role app/Blind\n"
        "  lambda.amazonaws.com: assume\n"
        "\n"
        "role app/Reader\n"
        "  lambda.amazonaws.com: assume\n"
    )


def test_a_key_used_only_through_a_service_is_a_condition_of_the_bucket(tmp_path: Path) -> None:
    through = {"Condition": {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}}
    found = _matrix(tmp_path, app=_encrypted() | {"Reader": role(READ, DECRYPT | through)})
    assert "app/Reader: decrypt if kms:ViaService" in text(found)
    assert "read (raw/*) if kms:ViaService" in text(found)


def test_references_between_stacks_lead_to_the_same_bucket(tmp_path: Path) -> None:
    lake = {
        "Resources": {"Bucket": resource("AWS::S3::Bucket")},
        "Outputs": {"Arn": {"Value": arn_of("Bucket"), "Export": {"Name": "lake:Arn"}}},
    }
    strong = {"Fn::Join": ["", [{"Fn::ImportValue": "lake:Arn"}, "/a/*"]]}
    weak = {"Fn::Join": ["", [{"Fn::GetStackOutput": {"StackName": "app-lake", "OutputName": "Arn"}}, "/b/*"]]}
    found = _matrix(tmp_path, lake=lake, jobs={"Job": role(statement("Allow", "s3:GetObject", [strong, weak]))})
    assert "jobs/Job: read (a/* b/*)" in text(found)


@pytest.mark.parametrize(
    ("pattern", "reads"),
    [
        ("arn:aws:s3:::*", "read"),
        ("*", "read"),
        ("arn:aws:s3:::app-app-bucket*", "read"),
        ("arn:aws:s3:::*/secret/*", "read (arn:aws:s3:::*/secret/*)"),
        ({"Fn::Sub": "${Anything}/*"}, "read"),
        ({"Fn::Sub": "${Bucket.Arn}/home/${Anything}/*"}, "read (home/*/*)"),
        ("arn:aws:s3:::another/*", ""),
    ],
)
def test_wildcards_and_parameters_reach_what_they_may(tmp_path: Path, pattern: Any, reads: str) -> None:
    resources = {"Bucket": resource("AWS::S3::Bucket"), "Role": role(statement("Allow", "s3:GetObject", pattern))}
    (app,) = matrices(assembly(tmp_path, app={"Resources": resources, "Parameters": {"Anything": {}}}))
    assert [str(row) for row in app.rows if row.resource.label == "app/Bucket"] == ([reads] if reads else [])


@pytest.mark.parametrize(
    ("denied", "reads"),
    [
        (arn_of("Bucket", "/*"), ""),
        (arn_of("Bucket", "/raw/secret/*"), "read (raw/*) if not all of it"),
        (arn_of("Bucket", "/curated/*"), "read (raw/*)"),
    ],
)
def test_a_denial_of_all_of_it_hides_it_and_one_of_a_part_is_said(tmp_path: Path, denied: Any, reads: str) -> None:
    deny = {**statement("Deny", "s3:*", denied), "Principal": "*"}
    resources = {"Bucket": resource("AWS::S3::Bucket"), "Policy": bucket_policy(deny)}
    found = _matrix(tmp_path, app=resources | {"Role": role(READ | {"Action": "s3:GetObject"})})
    assert [str(row) for row in found.rows if row.resource.label == "app/Bucket"] == ([reads] if reads else [])


def test_groups_managed_policies_and_boundaries_count(tmp_path: Path) -> None:
    def document(action: Any) -> dict[str, Any]:
        return {"Statement": [statement("Allow", action, arn_of("Bucket", "/*"))]}

    found = _matrix(
        tmp_path,
        app={
            "Bucket": resource("AWS::S3::Bucket"),
            "People": resource("AWS::IAM::Group"),
            "Ann": resource("AWS::IAM::User", Groups=[{"Ref": "People"}]),
            "Bob": resource("AWS::IAM::User", PermissionsBoundary={"Ref": "Limit"}),
            "Read": resource(
                "AWS::IAM::ManagedPolicy", Groups=[{"Ref": "People"}], PolicyDocument=document("s3:GetObject")
            ),
            "Both": resource(
                "AWS::IAM::Policy", Users=[{"Ref": "Bob"}], PolicyDocument=document(["s3:GetObject", "s3:PutObject"])
            ),
            "Limit": resource("AWS::IAM::ManagedPolicy", PolicyDocument=document("s3:PutObject")),
            "Aws": role(ManagedPolicyArns=["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"]),
        },
    )
    rows = {row.principal.label: str(row) for row in found.rows if row.resource.label == "app/Bucket"}
    assert rows == {"app/Ann": "read", "app/Bob": "write", "app/Aws": "read, list"}


def test_a_stream_is_read_by_its_consumer_and_not_by_another(tmp_path: Path) -> None:
    subscribe = statement("Allow", "kinesis:SubscribeToShard", {"Ref": "Consumer"})
    found = _matrix(
        tmp_path,
        app={
            "Flights": resource("AWS::Kinesis::Stream"),
            "Weather": resource("AWS::Kinesis::Stream"),
            "Consumer": resource("AWS::Kinesis::StreamConsumer", ConsumerName="job", StreamARN=arn_of("Flights")),
            "Reader": role(subscribe),
        },
    )
    assert found.may("app/Reader", "read", "app/Flights")
    assert not found.may("app/Reader", "read", "app/Weather")


def test_a_chain_of_trust_is_followed(tmp_path: Path) -> None:
    may = {name: statement("Allow", "sts:AssumeRole", arn_of(name)) for name in ("Middle", "Last")}
    by_account = {"Statement": [statement("Allow", "sts:AssumeRole", None, Principal={"AWS": ROOT})]}
    found = _matrix(
        tmp_path,
        app={
            "First": role(may["Middle"], trust={"Service": "lambda.amazonaws.com"}),
            "Middle": role(may["Last"], trust=by_account),
            "Last": role(trust={"AWS": arn_of("Middle")}),
        },
    )
    rows = {row.principal.label: str(row) for row in found.rows if row.resource.label == "app/Last"}
    assert rows["app/Middle"] == "assume"
    assert rows["app/First"] == "assume via app/Middle"
    assert rows["lambda.amazonaws.com"] == "assume via app/First -> app/Middle"


def test_who_and_what_no_template_makes_are_shown_too(tmp_path: Path) -> None:
    outside = statement("Allow", "s3:GetObject", "arn:aws:s3:::handed-in/raw/*")
    to_them = READ | {"Principal": {"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:role/Partner"}, "Action": "s3:GetObject"}
    found = _matrix(
        tmp_path,
        app={"Bucket": resource("AWS::S3::Bucket"), "Policy": bucket_policy(to_them), "Role": role(outside)},
    )
    assert found.may(f"arn:aws:iam::{OTHER_ACCOUNT}:role/Partner", "read", "app/Bucket")
    assert "bucket arn:aws:s3:::handed-in\n  app/Role: read (raw/*)\n" in text(found)


def test_a_stack_in_another_account_needs_both_policies(tmp_path: Path) -> None:
    name = "shared-lake"
    lake = {"Bucket": resource("AWS::S3::Bucket", BucketName=name)}
    reader = {"Resources": {"Role": role(statement("Allow", "s3:GetObject", f"arn:aws:s3:::{name}/*"))}}
    there = {"Account": OTHER_ACCOUNT} | reader
    allow = {**READ, "Action": "s3:GetObject", "Principal": {"AWS": OTHER_ACCOUNT}}
    alone = _matrix(tmp_path / "alone", lake=lake, reader=there)
    both = _matrix(tmp_path / "both", lake=lake | {"Policy": bucket_policy(allow)}, reader=there)
    assert not alone.may("reader/Role", "read", "lake/Bucket")
    assert both.may("reader/Role", "read", "lake/Bucket")


def test_lambda_permissions_and_aliases_are_of_their_function(tmp_path: Path) -> None:
    alias = resource("AWS::Lambda::Alias", FunctionName={"Ref": "Function"}, Name="live")
    permission = {
        "FunctionName": {"Ref": "Alias"},
        "Action": "lambda:InvokeFunction",
        "Principal": "events.amazonaws.com",
        "SourceAccount": ACCOUNT,
    }
    found = _matrix(
        tmp_path,
        app={
            "Function": resource("AWS::Lambda::Function"),
            "Alias": alias,
            "Caller": role(statement("Allow", "lambda:InvokeFunction", {"Ref": "Alias"})),
            "Permission": resource("AWS::Lambda::Permission", **permission),
        },
    )
    rows = {row.principal.label: str(row) for row in found.rows if row.resource.label == "app/Function"}
    assert rows == {"app/Caller": "invoke (live)", "events.amazonaws.com": "invoke if aws:SourceAccount"}


def test_what_nobody_may_touch_is_said(tmp_path: Path) -> None:
    found = _matrix(tmp_path, app={"Bucket": resource("AWS::S3::Bucket")})
    assert text(found) == "bucket app/Bucket\n  nobody\n"
    assert markdown(found).endswith("| bucket **app/Bucket** | nobody | |\n")


def test_the_table_groups_by_resource(tmp_path: Path) -> None:
    found = _matrix(tmp_path, app={"Bucket": resource("AWS::S3::Bucket"), "A": role(READ), "B": role(READ)})
    assert markdown(found).splitlines()[:4] == [
        "| Resource | Who | May |",
        "|---|---|---|",
        r"| bucket **app/Bucket** | app/A | read (raw/\*), write (raw/\*) |",
        r"|  | app/B | read (raw/\*), write (raw/\*) |",
    ]


def test_the_command_prints_every_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assembly(tmp_path, app={"Bucket": resource("AWS::S3::Bucket"), "A": role(READ)})
    monkeypatch.setattr("sys.argv", ["access", str(tmp_path)])
    assert main() == 0
    assert "# test\n\nbucket app/Bucket\n  app/A: read (raw/*), write (raw/*)\n" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["access", str(tmp_path / "nothing")])
    assert main() == 2
    assert "cdk synth" in capsys.readouterr().err
