"""A role that one AWS service assumes, with a policy of its own."""

from aws_cdk import aws_iam as iam
from constructs import Construct

from components.findings import explain


class ServiceRole(iam.Role):
    """A role for `service`, "lambda" for example; it may do what `components.permissions` adds, and no more."""

    def __init__(self, scope: Construct, construct_id: str, service: str) -> None:
        super().__init__(scope, construct_id, assumed_by=iam.ServicePrincipal(f"{service}.amazonaws.com"))
        explain(self, "IAMNoInlinePolicy", "the policy is this one role's; a managed one could be attached to others")
