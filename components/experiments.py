"""What a data scientist may start in SageMaker, and under which conditions: our network, our key, no way out."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from components.permissions import allow_any_of

_LISTED = ("HyperParameterTuningJob", "NotebookInstance", "TrainingJob", "TransformJob")

# SageMaker's own names for them, shared by the whole account.
LOG_GROUPS = [f"/aws/sagemaker/{kind}" for kind in ("TrainingJobs", "TransformJobs", "NotebookInstances")]

Conditions = Mapping[str, Mapping[str, Any]]


def start_experiments(
    role: iam.Role, prefix: str, job_role: iam.IRole, network: Mapping[str, Sequence[str]], key: kms.IKey
) -> None:
    """Let `role` start jobs, models and notebooks named `prefix`-*, in `network` (a VpcConfig), to run as `job_role`.

    A request that leaves one of these out is refused like one that says something else. Which action knows which
    condition: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
    """
    here = f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}"
    for action, (kind, conditions) in _creating(network, key).items():
        role.add_to_policy(
            iam.PolicyStatement(
                actions=[f"sagemaker:{action}"], resources=[f"{here}:{kind}/{prefix}-*"], conditions=conditions
            )
        )
    _follow(role, prefix, here)
    _hand_on(role, job_role, key)


def _creating(network: Mapping[str, Sequence[str]], key: kms.IKey) -> dict[str, tuple[str, Conditions]]:
    """action -> (what it creates, the conditions that a request must meet)."""
    in_network: Conditions = {
        # "For all" is also true of none: so there must be some.
        "ForAllValues:StringEquals": {
            "sagemaker:VpcSubnets": network["Subnets"],
            "sagemaker:VpcSecurityGroupIds": network["SecurityGroupIds"],
        },
        "Null": {"sagemaker:VpcSubnets": "false", "sagemaker:VpcSecurityGroupIds": "false"},
    }
    isolated = {"sagemaker:NetworkIsolation": "true"}
    between_instances = {"sagemaker:InterContainerTrafficEncryption": "true"}
    disk = {"sagemaker:VolumeKmsKey": key.key_arn}
    results = {"sagemaker:OutputKmsKey": key.key_arn}
    no_root = {"sagemaker:RootAccess": "Disabled"}
    no_internet = {"sagemaker:DirectInternetAccess": "Disabled"}
    jobs: Conditions = {**in_network, "Bool": isolated | between_instances, "ArnEquals": disk | results}
    return {
        "CreateTrainingJob": ("training-job", jobs),
        "CreateHyperParameterTuningJob": ("hyper-parameter-tuning-job", jobs),
        "CreateModel": ("model", {**in_network, "Bool": isolated}),
        "CreateEndpointConfig": ("endpoint-config", {"ArnEquals": disk}),
        "CreateTransformJob": ("transform-job", {"ArnEquals": disk | results}),
        "CreateNotebookInstance": (
            "notebook-instance",
            {**in_network, "ArnEquals": disk, "StringEquals": no_root | no_internet},
        ),
        "UpdateNotebookInstance": ("notebook-instance", {"StringEquals": no_root}),
    }


def _follow(role: iam.Role, prefix: str, here: str) -> None:
    """See what became of them and what they logged, and stop them."""
    following = {
        "training-job": ["DescribeTrainingJob", "StopTrainingJob"],
        "hyper-parameter-tuning-job": ["DescribeHyperParameterTuningJob", "StopHyperParameterTuningJob"],
        "transform-job": ["DescribeTransformJob", "StopTransformJob"],
        "notebook-instance": ["DescribeNotebookInstance", "StartNotebookInstance", "StopNotebookInstance"],
        "model": ["DescribeModel"],
        "endpoint-config": ["DescribeEndpointConfig"],
    }
    allow_any_of(
        role,
        "whoever starts a job names it: names must begin with the deployment's prefix",
        [f"sagemaker:{action}" for actions in following.values() for action in actions],
        *(f"{here}:{kind}/{prefix}-*" for kind in following),
        finding=rf".*:({'|'.join(following)})/{prefix}-\*",
    )
    allow_any_of(
        role,
        "lists have no resource-level permission",
        [f"sagemaker:List{kind}s" for kind in _LISTED],
        "*",
        finding=r"\*",
    )
    allow_any_of(
        role,
        "the log streams of a group, which SageMaker names",
        ["logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:GetLogEvents"],
        *(f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:{group}:*" for group in LOG_GROUPS),
        finding=r".*:log-group:.*:\*",
    )


def _hand_on(role: iam.Role, job_role: iam.IRole, key: kms.IKey) -> None:
    """Give the job its role, and its disks the key."""
    role.add_to_policy(
        iam.PolicyStatement(
            actions=["iam:PassRole"],
            resources=[job_role.role_arn],
            conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        )
    )
    role.add_to_policy(
        iam.PolicyStatement(
            actions=["kms:CreateGrant"],
            resources=[key.key_arn],
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
        )
    )
