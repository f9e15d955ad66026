"""Rules for IAM, and for the policies of resources other than buckets."""

import re
from collections.abc import Iterator
from typing import Any

from checks.finding import Severity
from checks.rules.policy import confined, everyone, identity_policies, matches, public, statements, whole_account
from checks.rules.resource import Resource, at, parsed, target, text, texts
from checks.rules.rule import rule

_GRANTING = (
    "AWS::IAM::Policy",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::RolePolicy",
    "AWS::IAM::UserPolicy",
    "AWS::IAM::GroupPolicy",
    "AWS::IAM::Role",
    "AWS::IAM::Group",
    "AWS::SSO::PermissionSet",
)
# What the CDK's own grants write, on named buckets and keys: each stands for one family of one verb.
# https://github.com/aws/aws-cdk/blob/main/packages/aws-cdk-lib/aws-s3/lib/perms.ts, aws-kms/lib/private/perms.ts
_GRANTS = {
    "s3:GetObject*",
    "s3:GetBucket*",
    "s3:List*",
    "s3:DeleteObject*",
    "s3:Abort*",
    "kms:ReEncrypt*",
    "kms:GenerateDataKey*",
}
_RESOURCE_POLICIES = {
    "AWS::SQS::QueuePolicy": "PolicyDocument",
    "AWS::SNS::TopicPolicy": "PolicyDocument",
    "AWS::Logs::ResourcePolicy": "PolicyDocument",
    "AWS::KMS::Key": "KeyPolicy",
    "AWS::KMS::ReplicaKey": "KeyPolicy",
    "AWS::ECR::Repository": "RepositoryPolicyText",
    "AWS::SecretsManager::ResourcePolicy": "ResourcePolicy",
    "AWS::Kinesis::ResourcePolicy": "ResourcePolicy",
    "AWS::DynamoDB::Table": "ResourcePolicy.PolicyDocument",
    "AWS::OpenSearchService::Domain": "AccessPolicies",
    "AWS::S3::AccessPoint": "Policy",
    "AWS::S3::MultiRegionAccessPointPolicy": "Policy",
    "AWS::S3Express::BucketPolicy": "PolicyDocument",
    "AWS::S3ObjectLambda::AccessPointPolicy": "PolicyDocument",
    "AWS::S3Tables::TableBucketPolicy": "ResourcePolicy",
    "AWS::S3Tables::TablePolicy": "ResourcePolicy",
    "AWS::S3Vectors::VectorBucketPolicy": "Policy",
    "AWS::Events::EventBusPolicy": "Statement",
    "AWS::MSK::ClusterPolicy": "Policy",
    "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroupPolicy",
    "AWS::RedshiftServerless::Namespace": "NamespaceResourcePolicy",
    "AWS::Backup::BackupVault": "AccessPolicy",
}
_ANY_ROLE = re.compile(r"\*|arn:[^:]*:iam::[^:]*:(\*|role/\*)")


@rule(
    "iam-user",
    "AWS::IAM::User",
    "AWS::IAM::AccessKey",
    severity=Severity.HIGH,
    why="A user's keys don't expire: they are copied, committed and found.",
    fix="Use a role: for people through an identity provider, for machines through their service or OIDC.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/best-practices.html",
)
def iam_user(_user: Resource) -> str | None:
    """There are no IAM users and no access keys."""
    return "credentials of a user don't expire"


@rule(
    "iam-action-wildcard",
    *_GRANTING,
    why="A wildcard allows what AWS adds next year. What the CDK's grants write (s3:GetObject*, kms:ReEncrypt* and the "
    "like) is let through on named resources; a policy that only bounds permissions grants nothing.",
    fix="List the actions that the code calls.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/best-practices.html#grant-least-privilege",
)
def iam_action_wildcard(granting: Resource) -> str | None:
    """A policy lists the actions that it allows."""
    for statement in _granted(granting):
        if "NotAction" in statement:
            return "NotAction allows everything that it does not name"
        named = "*" not in texts(statement.get("Resource"))
        wide = [each for each in texts(statement.get("Action")) if "*" in each and not (named and each in _GRANTS)]
        if wide:
            return f"{', '.join(wide)} is allowed"
    return None


@rule(
    "iam-pass-role",
    *_GRANTING,
    severity=Severity.HIGH,
    why="Whoever passes any role to a service they can use, such as a job or a notebook, has what that role has.",
    fix="Name the roles that may be passed; iam:PassedToService alone leaves every role of that service open.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html",
)
def iam_pass_role(granting: Resource) -> str | None:
    """Only named roles may be passed."""
    for statement in _granted(granting):
        passing = any(matches(each, "iam:PassRole") for each in texts(statement.get("Action"))) or (
            "NotAction" in statement
            and not any(matches(each, "iam:PassRole") for each in texts(statement["NotAction"]))
        )
        anywhere = "NotResource" in statement or any(map(_ANY_ROLE.fullmatch, texts(statement.get("Resource"))))
        if passing and anywhere:
            return "any role of the account may be passed"
    return None


@rule(
    "iam-trust-open",
    "AWS::IAM::Role",
    severity=Severity.HIGH,
    why="The account as a principal lets in whoever in it may call sts:AssumeRole, and * lets in every account.",
    fix="Name roles, or add a condition on aws:PrincipalArn, aws:PrincipalTag or sts:ExternalId.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html",
)
def iam_trust_open(role: Resource) -> str | None:
    """A role is assumed by named principals only."""
    document = role["AssumeRolePolicyDocument"]
    if parsed(document) is None:
        return "who may assume it can't be read before it is deployed"
    for statement in statements(document):
        if confined(statement):
            continue
        if everyone(statement):
            return "everyone may assume it"
        accounts = list(whole_account(at(statement, "Principal")))
        if accounts and not any(key.startswith("aws:principaltag/") for key in _condition_keys(statement)):
            return f"everyone in {', '.join(accounts)} may assume it"
    return None


@rule(
    "iam-trust-web-identity",
    "AWS::IAM::Role",
    severity=Severity.HIGH,
    why="An identity provider such as GitHub's speaks for every repository and user it has.",
    fix="Add a condition on the token's :sub, for Cognito on its :aud.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-idp_oidc.html",
)
def iam_trust_web_identity(role: Resource) -> str | None:
    """A role that an identity provider's users assume says which of them."""
    for statement in statements(role["AssumeRolePolicyDocument"]):
        if any(matches(each, "sts:AssumeRoleWithWebIdentity") for each in texts(statement.get("Action"))):
            provider = " ".join(texts(at(statement, "Principal.Federated")))
            wanted = ":aud" if "cognito-identity" in provider else ":sub"
            if provider and not any(_says_who(*each) for each in _tests(statement) if each[1].endswith(wanted)):
                return f"no condition on {wanted} of the token that names anyone"
    return None


@rule(
    "resource-policy-public",
    *_RESOURCE_POLICIES,
    severity=Severity.HIGH,
    why="Whoever has an AWS account reads, writes or decrypts with it.",
    fix="Name the principals, or add a condition on an organization, account, source ARN or VPC endpoint.",
)
def resource_policy_public(resource: Resource) -> str | None:
    """A queue, topic, key, table, repository or secret allows nothing to everyone."""
    document = resource[_RESOURCE_POLICIES[resource.type]]
    return public({"Statement": document} if resource.type == "AWS::Events::EventBusPolicy" else document)


@rule(
    "lambda-permission-open",
    "AWS::Lambda::Permission",
    severity=Severity.HIGH,
    why="A service calls for any of its customers: without a source, a bucket or rule of another account calls it too.",
    fix="Set SourceArn or SourceAccount; for principal * also PrincipalOrgID.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html",
)
def lambda_permission_open(permission: Resource) -> str | None:
    """A permission to call a function names who calls, and for whom."""
    principal = text(permission["Principal"])
    sources = ("SourceArn", "SourceAccount", "PrincipalOrgID", "EventSourceToken")
    if any(permission[name] for name in sources) or not (principal == "*" or ".amazonaws." in principal):
        return None
    return f"{principal} may call it for anyone"


@rule(
    "lambda-url-open",
    "AWS::Lambda::Url",
    severity=Severity.HIGH,
    why="Whoever has the address calls the function, with its role and at your cost.",
    fix="Set AuthType to AWS_IAM.",
    source="https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html",
)
def lambda_url_open(url: Resource) -> str | None:
    """The address of a function asks who calls."""
    return None if url["AuthType"] == "AWS_IAM" else "anyone may call the function"


def _granted(granting: Resource) -> Iterator[dict[str, Any]]:
    """The Allow statements that give their holder something: none for a permissions boundary."""
    if granting.type == "AWS::IAM::ManagedPolicy" and _only_bounds(granting):
        return
    for document in identity_policies(granting):
        yield from statements(document)


def _only_bounds(policy: Resource) -> bool:
    """Whether roles of the template have the policy as their boundary, and nobody has it attached."""
    holders = list(policy.others("AWS::IAM::Role", "AWS::IAM::Group"))
    attached = any(policy[name] for name in ("Roles", "Users", "Groups")) or any(
        target(each) == policy.logical_id
        for holder in holders
        for each in (holder["ManagedPolicyArns"] if isinstance(holder["ManagedPolicyArns"], list) else [])
    )
    return not attached and any(target(holder["PermissionsBoundary"]) == policy.logical_id for holder in holders)


def _says_who(operator: str, _key: str, values: list[str]) -> bool:
    """Whether a test holds a token to somebody: `repo:*` is every repository of GitHub."""
    return operator.lower().startswith(("string", "foranyvalue:string")) and not any(
        "not" in operator.lower() or re.fullmatch(r"([\w-]+:)?[*?]*", each) for each in values or [""]
    )


def _condition_keys(statement: dict[str, Any]) -> Iterator[str]:
    yield from (key for _, key, _ in _tests(statement))


def _tests(statement: dict[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """(operator, key in lower case, values) of each test of its condition."""
    conditions = at(statement, "Condition")
    for operator, keys in conditions.items() if isinstance(conditions, dict) else ():
        yield from (
            ((operator, key.lower(), texts(value)) for key, value in keys.items()) if isinstance(keys, dict) else ()
        )
