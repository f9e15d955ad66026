"""A log group that is encrypted, kept as long as its environment keeps data, and gone with its stack in a sandbox."""

from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from components.base import Deployment


class LogGroup(logs.LogGroup):
    """Encrypted with `key`; events are kept a year where data is, else a week.

    `name` only where a service would create the group under its own name, and leave it behind.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        *,
        key: kms.IKey,
        name: str | None = None,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            log_group_name=name,
            encryption_key=key,
            retention=logs.RetentionDays.ONE_YEAR if deployment.retain else logs.RetentionDays.ONE_WEEK,
            removal_policy=deployment.removal_policy,
        )
