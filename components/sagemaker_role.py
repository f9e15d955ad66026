"""The role of a SageMaker container: what any of them needs, and no more."""

from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_kms as kms
from constructs import Construct

from components.findings import explain
from components.permissions import allow, allow_any_of, decrypt, pull_image, put_metrics, write_logs
from components.role import ServiceRole

_NETWORK = [
    "ec2:CreateNetworkInterface",
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
]


class ContainerRole(ServiceRole):
    """A role that SageMaker assumes for a container: pull the image, write logs, use the key, and join a VPC.

    `encrypts` is for disks and outputs under the key, which a serverless endpoint has not.
    https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        repository: ecr.IRepository,
        key: kms.IKey,
        log_groups: list[str],
        in_vpc: bool,
        encrypts: bool = True,
    ) -> None:
        super().__init__(scope, construct_id, "sagemaker")
        pull_image(self, repository)
        decrypt(self, key)
        write_logs(self, *log_groups)
        if encrypts:
            allow(self, ["kms:CreateGrant", "kms:Encrypt", "kms:GenerateDataKey"], key.key_arn)
        put_metrics(self, "/aws/sagemaker/*")
        if in_vpc:
            reason = "SageMaker makes and deletes the network interfaces itself"
            allow_any_of(self, reason, _NETWORK, "*", finding=r"\*")
            explain(self, "CKV_AWS_109|CKV_AWS_111", reason)
