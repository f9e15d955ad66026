"""The KMS key of a deployment: rotated, aliased, and usable by no more than its policy lists."""

from aws_cdk import Aws, Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from components.base import Deployment
from components.findings import explain
from components.principal import Principal, principal_arn

_ADMINISTER = [
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
]
_USE = [
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:RetireGrant",
]
_EVERYTHING = ["*"]  # in a key policy: this key


class DataKey(kms.Key):
    """Encrypts everything at rest.

    Who uses it is said by the policies of their roles. Who administers it too, unless `administrators` names them:
    then nobody else does but the role that CloudFormation deploys with. KMS refuses a policy that whoever sets it
    could not change again.
    https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """

    def __init__(
        self, scope: Construct, construct_id: str, deployment: Deployment, *, administrators: tuple[Principal, ...] = ()
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            alias=f"alias/{deployment.prefix}",
            description=f"{deployment.prefix}: everything at rest",
            enable_key_rotation=True,
            pending_window=Duration.days(30 if deployment.retain else 7),
            removal_policy=deployment.removal_policy,
            policy=iam.PolicyDocument(
                statements=[_administer(administrators), _use(), _attach(), _log_groups(), _alarms(), _events()]
            ),
        )
        explain(
            self, "access-confused-deputy", "EventBridge names no account to KMS; the queues' policies name the rules"
        )


def _administer(administrators: tuple[Principal, ...]) -> iam.PolicyStatement:
    deployer = f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/cdk-*-cfn-exec-role-*"
    only = {"ArnLike": {"aws:PrincipalArn": [*map(principal_arn, administrators), deployer]}}
    return iam.PolicyStatement(
        sid="Administer",
        principals=[iam.AccountRootPrincipal()],
        actions=_ADMINISTER,
        resources=_EVERYTHING,
        conditions=only if administrators else None,
    )


def _use() -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid="UseByRolesThatMay", principals=[iam.AccountRootPrincipal()], actions=_USE, resources=_EVERYTHING
    )


def _attach() -> iam.PolicyStatement:
    """Disks, functions and repositories hold on to the key through grants that their services make."""
    return iam.PolicyStatement(
        sid="GrantToServices",
        principals=[iam.AccountRootPrincipal()],
        actions=["kms:CreateGrant"],
        resources=_EVERYTHING,
        conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
    )


def _log_groups() -> iam.PolicyStatement:
    groups = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:*"
    return iam.PolicyStatement(
        sid="EncryptLogGroups",
        principals=[iam.ServicePrincipal(f"logs.{Aws.REGION}.amazonaws.com")],
        actions=["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
        resources=_EVERYTHING,
        conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
    )


def _alarms() -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid="AlarmsToEncryptedTopics",
        principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
        actions=["kms:Decrypt", "kms:GenerateDataKey*"],
        resources=_EVERYTHING,
        conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
    )


def _events() -> iam.PolicyStatement:
    """EventBridge names no account to KMS when it sends to an encrypted queue or topic.

    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
    """
    return iam.PolicyStatement(
        principals=[iam.ServicePrincipal("events.amazonaws.com")],
        actions=["kms:Decrypt", "kms:GenerateDataKey*"],
        resources=_EVERYTHING,
    )
