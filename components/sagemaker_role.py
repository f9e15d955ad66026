"""The role of a SageMaker container: what any of them needs, and no more."""

from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from components.permissions import pull_image, use_key, write_logs


class ContainerRole(iam.Role):
    """A role that SageMaker assumes for a container: pull the image, write logs, use the key."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        repository: ecr.IRepository,
        key: kms.IKey,
        log_groups: list[str],
    ) -> None:
        super().__init__(scope, construct_id, assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"))
        pull_image(self, repository)
        use_key(self, key)
        write_logs(self, *log_groups)
