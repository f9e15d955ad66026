"""Small cloud assemblies, as the CDK would write them, for the tests of checks/access."""

import json
from pathlib import Path
from typing import Any

from checks.assembly import Assembly

ACCOUNT, OTHER_ACCOUNT = "111111111111", "999999999999"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"


def assembly(folder: Path, metadata: dict[str, Any] | None = None, **stacks: dict[str, Any]) -> Assembly:
    """One environment, `test`, of stacks by layer: each its template, or only the resources of it.

    A template with `Account` goes to that one.
    """
    stage = folder / "assembly-test"
    stage.mkdir(parents=True, exist_ok=True)
    nested = {"type": "cdk:cloud-assembly", "properties": {"directoryName": stage.name, "displayName": "test"}}
    (folder / "manifest.json").write_text(json.dumps({"artifacts": {"assembly-test": nested}}))
    artifacts = {}
    for layer, given in stacks.items():
        template = dict(given) if "Resources" in given else {"Resources": given}
        account = template.pop("Account", ACCOUNT)
        (stage / f"{layer}.json").write_text(json.dumps(template))
        artifacts[layer] = {
            "type": "aws:cloudformation:stack",
            "displayName": f"test/{layer}",
            "environment": f"aws://{account}/eu-west-1",
            "properties": {"templateFile": f"{layer}.json", "stackName": f"app-{layer}"},
            "metadata": metadata or {},
        }
    (stage / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    return Assembly(folder)


def statement(effect: str, action: Any, resource: Any = "*", **others: Any) -> dict[str, Any]:
    """A statement; `resource` None leaves it out."""
    return {"Effect": effect, "Action": action} | ({"Resource": resource} if resource is not None else {}) | others


def role(*statements: dict[str, Any], trust: Any = None, **properties: Any) -> dict[str, Any]:
    """A role with an inline policy; trusted by Lambda unless told."""
    trusted = trust or {"Service": "lambda.amazonaws.com"}
    trust_policy = trusted if "Statement" in trusted else _trust(trusted)
    policies = [{"PolicyName": "Inline", "PolicyDocument": {"Statement": list(statements)}}] if statements else []
    return resource("AWS::IAM::Role", AssumeRolePolicyDocument=trust_policy, Policies=policies, **properties)


def resource(type_: str, **properties: Any) -> dict[str, Any]:
    """A resource of a template."""
    return {"Type": type_, "Properties": properties}


def bucket_policy(*statements: dict[str, Any], of: str = "Bucket") -> dict[str, Any]:
    """The policy of the bucket `of` of the same template."""
    return resource("AWS::S3::BucketPolicy", Bucket={"Ref": of}, PolicyDocument={"Statement": list(statements)})


def key(*statements: dict[str, Any]) -> dict[str, Any]:
    """A key that leaves it to IAM, as the default policy does, unless told."""
    policy = list(statements) or [statement("Allow", "kms:*", Principal={"AWS": ROOT})]
    return resource("AWS::KMS::Key", KeyPolicy={"Statement": policy})


def arn_of(logical_id: str, suffix: str = "") -> dict[str, Any]:
    """The ARN of a resource of the same template, with what follows it."""
    arn = {"Fn::GetAtt": [logical_id, "Arn"]}
    return {"Fn::Join": ["", [arn, suffix]]} if suffix else arn


def _trust(principal: Any) -> dict[str, Any]:
    return {"Statement": [statement("Allow", "sts:AssumeRole", None, Principal=principal)]}
