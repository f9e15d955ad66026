"""Foundation: the key, the network and the ML image that every other layer builds on.

Provisions  a KMS key with yearly rotation; a VPC of private subnets with an S3 gateway endpoint and flow logs;
            an ECR repository and the ML image in it, built by CodeBuild during the first deploy.
Outputs     `key`, `vpc`, `image`.
Costs       $1 a month for the key; an image build of about 5 minutes ($0.03); $7.30 a month and zone for each
            interface endpoint, if any. The network itself is free.
Copy        this file, components/{base,findings,function,image_build,log_group,permissions,role}.py,
            lambda/custom_resources, containers/ml and ml.
"""

from aws_cdk import Aws, CfnOutput, CrossStackReferences, Duration, ReferenceStrength
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct
from pydantic import Field

from components.base import Deployment, Layer, Options
from components.findings import explain
from components.image_build import ImageBuild
from components.log_group import LogGroup
from components.role import ServiceRole

IMAGE_CONTEXT = {
    "Dockerfile": "containers/ml/Dockerfile",
    "requirements.txt": "containers/ml/requirements.txt",
    "bin": "containers/ml/bin",
    "ml": "ml",
}
_SERVICES = ec2.InterfaceVpcEndpointAwsService
INTERFACE_ENDPOINTS = {
    "Ecr": _SERVICES.ECR,
    "EcrDocker": _SERVICES.ECR_DOCKER,
    "Logs": _SERVICES.CLOUDWATCH_LOGS,
    "Metrics": _SERVICES.CLOUDWATCH_MONITORING,
    "Kms": _SERVICES.KMS,
    "SageMaker": _SERVICES.SAGEMAKER_API,
    "Sts": _SERVICES.STS,
}


class FoundationOptions(Options):
    zones: int = Field(2, ge=2, le=3, description="availability zones of the network")
    interface_endpoints: bool = Field(
        False, description="reach AWS from the private subnets; without them jobs run outside the VPC"
    )


class Foundation(Layer):
    """The key, the network and the ML image."""

    def __init__(self, scope: Construct, construct_id: str, deployment: Deployment, options: FoundationOptions) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: key, network and ML image")
        self.key = self._key()
        self.vpc = self._network(options)
        self.image = ImageBuild(self, "MlImage", deployment, context=IMAGE_CONTEXT, key=self.key)

        # An import that goes stale here would cost data, not a redeploy.
        for lasting in (self.key, self.vpc, *self.vpc.isolated_subnets):
            CrossStackReferences.of(lasting).produce(ReferenceStrength.STRONG)
        CfnOutput(self, "ImageUri", value=self.image.uri, description="The ML image: trains, processes and serves")
        CfnOutput(self, "DataKeyArn", value=self.key.key_arn, description="Encrypts everything at rest")

    def _key(self) -> kms.Key:
        deployment = self.deployment
        key = kms.Key(
            self,
            "Key",
            description=f"{deployment.prefix}: everything at rest",
            enable_key_rotation=True,
            pending_window=Duration.days(30 if deployment.retain else 7),
            removal_policy=deployment.removal_policy,
        )
        key.add_alias(f"alias/{deployment.prefix}")
        logs_arn = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:*"
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="EncryptLogGroups",
                principals=[iam.ServicePrincipal(f"logs.{deployment.region}.amazonaws.com")],
                actions=[
                    "kms:Encrypt",
                    "kms:Decrypt",
                    "kms:ReEncrypt*",
                    "kms:GenerateDataKey*",
                    "kms:DescribeKey",
                ],
                resources=["*"],  # in a key policy: this key
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs_arn}},
            )
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsAndDeadLettersToEncryptedTargets",
                principals=[
                    iam.ServicePrincipal("cloudwatch.amazonaws.com"),
                    iam.ServicePrincipal("events.amazonaws.com"),
                ],
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        return key

    def _network(self, options: FoundationOptions) -> ec2.Vpc:
        vpc = ec2.Vpc(
            self,
            "Network",
            max_azs=options.zones,
            nat_gateways=0,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="private", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=20)
            ],
            gateway_endpoints={
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3),
            },
            restrict_default_security_group=False,  # a custom resource for what no resource here uses
        )
        explain(vpc, "VPCDefaultSecurityGroupClosed", "nothing uses the default group: each resource names its own")
        flow_logs = LogGroup(self, "FlowLogs", self.deployment, key=self.key)
        writer = ServiceRole(self, "FlowLogsRole", "vpc-flow-logs")
        to_logs = ec2.FlowLogDestination.to_cloud_watch_logs(flow_logs, writer)
        flow_log = vpc.add_flow_log("All", destination=to_logs)
        assert flow_log.iam_role and flow_log.node.default_child  # noqa: S101  a flow log to CloudWatch has both
        flow_log.node.default_child.node.add_dependency(flow_log.iam_role)  # and so on its policy
        if options.interface_endpoints:
            self._add_interface_endpoints(vpc)
        return vpc

    def _add_interface_endpoints(self, vpc: ec2.Vpc) -> None:
        group = ec2.SecurityGroup(
            self,
            "EndpointsGroup",
            vpc=vpc,
            description="Interface endpoints: HTTPS from the VPC",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(ec2.Peer.ipv4(vpc.vpc_cidr_block), ec2.Port.HTTPS, "the VPC")
        explain(group, "EC23|EC2Restricted.*", "the rule can't read a reference; the range is the VPC's own")
        for name, service in INTERFACE_ENDPOINTS.items():
            vpc.add_interface_endpoint(name, service=service, security_groups=[group], open=False)
