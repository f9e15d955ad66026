"""A SageMaker pipeline and the role that orchestrates its jobs."""

import json
from collections.abc import Mapping
from typing import Any

from aws_cdk import Aws
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from components.permissions import allow_any_of
from components.role import ServiceRole


class Pipeline(Construct):
    """`definition(role)` gives the pipeline's JSON as a dict; its jobs run as `container_role`.

    The orchestrating role may start and watch this pipeline's own jobs (SageMaker names them pipelines-...) and pass
    `container_role` to SageMaker; nothing else.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        description: str,
        definition: Mapping[str, Any],
        container_role: iam.IRole,
    ) -> None:
        super().__init__(scope, construct_id)
        self.name = name
        self.role = ServiceRole(self, "Role", "sagemaker")
        here = f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}"
        kinds = {"Processing": "processing-job", "Training": "training-job"}
        jobs = {f"{kind}Job": kinds[kind] for kind in kinds if kind in {step["Type"] for step in definition["Steps"]}}
        allow_any_of(
            self.role,
            "the pipeline's own jobs, which SageMaker names when it starts them",
            [f"sagemaker:{verb}{job}" for job in jobs for verb in ("Create", "Describe", "Stop")]
            + ["sagemaker:AddTags"],
            *(f"{here}:{resource}/pipelines-*" for resource in jobs.values()),
            finding=r".*/pipelines-\*",
        )
        self.role.add_to_policy(
            iam.PolicyStatement(
                actions=["iam:PassRole"],
                resources=[container_role.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            )
        )
        allow_any_of(
            self.role,
            "SageMaker learns of the end of a pipeline's jobs through rules that it names so",
            ["events:PutTargets", "events:PutRule", "events:DescribeRule"],
            f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:rule/SageMakerPipelineExecutionEvents*",
            finding=r".*:rule/SageMakerPipelineExecutionEvents\*",
        )
        pipeline = sagemaker.CfnPipeline(
            self,
            "Pipeline",
            pipeline_name=name,
            pipeline_display_name=name,
            pipeline_description=description,
            pipeline_definition={"PipelineDefinitionBody": json.dumps(definition)},
            role_arn=self.role.role_arn,
        )
        pipeline.node.add_dependency(self.role, container_role)  # it may start as soon as it exists
        self.arn = f"{here}:pipeline/{name}"
        self.resource = pipeline


def job_network(scope: Construct, vpc: ec2.IVpc) -> dict[str, list[str]]:
    """The VpcConfig of jobs that run in `vpc`'s private subnets. Their security group lets HTTPS out and nothing in."""
    group = ec2.SecurityGroup(scope, "Jobs", vpc=vpc, description="SageMaker jobs", allow_all_outbound=False)
    group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.HTTPS, "AWS through the VPC's endpoints: no other way out")
    return {
        "SecurityGroupIds": [group.security_group_id],
        "Subnets": [subnet.subnet_id for subnet in vpc.isolated_subnets or vpc.private_subnets],
    }
