"""A Python Lambda function with its own log group and a role that holds only what it is granted."""

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from components.base import ROOT, Deployment
from components.findings import explain
from components.log_group import LogGroup
from components.permissions import allow, before, decrypt, send_traces
from components.role import ServiceRole


class Function(lambda_.Function):
    """`lambda/<folder>` as a function: newest runtime, traced, encrypted environment and logs, no managed policy.

    `failures_reach` names who hears of an event that it could not handle.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        *,
        folder: str,
        key: kms.IKey,
        failures_reach: str,
        description: str,
        handler: str = "handler.handler",
        timeout: Duration | None = None,
        memory_mb: int = 256,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        log_group = LogGroup(scope, f"{construct_id}Logs", deployment, key=key)
        role = ServiceRole(scope, f"{construct_id}Role", "lambda")
        allow(role, ["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn)
        decrypt(role, key)
        send_traces(role)
        super().__init__(
            scope,
            construct_id,
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            code=lambda_.Code.from_asset(str(ROOT / "lambda" / folder), exclude=["__pycache__", ".*"]),
            handler=handler,
            description=description,
            role=role.without_policy_updates(),  # it holds what is listed here and what its stack allows it
            log_group=log_group,
            timeout=timeout or Duration.seconds(30),
            memory_size=memory_mb,
            environment=dict(environment or {}),
            environment_encryption=key,
            tracing=lambda_.Tracing.ACTIVE,
        )
        self.permissions = role
        before(role, self)
        explain(self, "LambdaDLQ|CKV_AWS_116", f"a failure reaches {failures_reach}")
        explain(self, "LambdaConcurrency|CKV_AWS_115", "a new account has none to reserve, others would lose it")
        explain(self, "LambdaInsideVPC|CKV_AWS_117", "it calls AWS's APIs alone, over TLS and with its role")
