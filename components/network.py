"""A private network: subnets without a way out, and endpoints through which this account's resources are reached."""

from aws_cdk import Aws
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct
from pydantic import Field, model_validator

from components.base import Deployment, Options
from components.findings import explain
from components.log_group import LogGroup
from components.role import ServiceRole

_GATEWAYS = ec2.GatewayVpcEndpointAwsService
_INTERFACES = ec2.InterfaceVpcEndpointAwsService
# Name -> (service, prefix of its actions in IAM). Gateways cost nothing; an interface $7.30 a month and zone.
GATEWAY_ENDPOINTS = {"S3": (_GATEWAYS.S3, "s3"), "DynamoDb": (_GATEWAYS.DYNAMODB, "dynamodb")}
INTERFACE_ENDPOINTS = {
    "Ecr": (_INTERFACES.ECR, "ecr"),
    "EcrDocker": (_INTERFACES.ECR_DOCKER, "ecr"),
    "Logs": (_INTERFACES.CLOUDWATCH_LOGS, "logs"),
    "Metrics": (_INTERFACES.CLOUDWATCH_MONITORING, "cloudwatch"),
    "Kms": (_INTERFACES.KMS, "kms"),
    "SageMaker": (_INTERFACES.SAGEMAKER_API, "sagemaker"),
    "SageMakerRuntime": (_INTERFACES.SAGEMAKER_RUNTIME, "sagemaker"),
    "Sts": (_INTERFACES.STS, "sts"),
}


class ExistingVpc(Options):
    """A network that is there already, with its own endpoints and flow logs."""

    vpc_id: str = Field(pattern=r"^vpc-[0-9a-f]+$", description="vpc-...")
    subnet_ids: tuple[str, ...] = Field(min_length=2, description="private subnets, one for each availability zone")
    availability_zones: tuple[str, ...] = Field(min_length=2, description="zones of the subnets, in their order")

    @model_validator(mode="after")
    def _one_zone_for_each_subnet(self) -> "ExistingVpc":
        if len(self.subnet_ids) != len(self.availability_zones):
            raise ValueError("subnet_ids and availability_zones must be as many as each other")
        return self


class Network(Construct):
    """`vpc`: private subnets, S3 and DynamoDB through gateways, optionally interface endpoints; all traffic is logged.

    Every endpoint lets this account's principals at this account's resources and nobody at anything else: neither a
    stranger's credentials brought into the network nor a stranger's bucket written to from it get through.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_data-perimeters.html
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        *,
        zones: int,
        interface_endpoints: bool,
        key: kms.IKey,
    ) -> None:
        super().__init__(scope, construct_id)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            max_azs=zones,
            nat_gateways=0,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="private", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=20)
            ],
            restrict_default_security_group=False,  # a custom resource for what no resource here uses
        )
        explain(
            self.vpc, "VPCDefaultSecurityGroupClosed", "nothing uses the default group: each resource names its own"
        )
        self._log_traffic(deployment, key)
        self._add_gateways()
        if interface_endpoints:
            self._add_interfaces()

    def _log_traffic(self, deployment: Deployment, key: kms.IKey) -> None:
        log_group = LogGroup(self, "FlowLogs", deployment, key=key)
        writer = ServiceRole(self, "FlowLogsRole", "vpc-flow-logs")
        to_logs = ec2.FlowLogDestination.to_cloud_watch_logs(log_group, writer)
        flow_log = self.vpc.add_flow_log("All", destination=to_logs)
        assert flow_log.iam_role and flow_log.node.default_child  # noqa: S101  a flow log to CloudWatch has both
        flow_log.node.default_child.node.add_dependency(flow_log.iam_role)  # and so on its policy

    def _add_gateways(self) -> None:
        for name, (service, prefix) in GATEWAY_ENDPOINTS.items():
            endpoint = self.vpc.add_gateway_endpoint(name, service=service)
            endpoint.add_to_policy(_own_account(prefix))
            if name == "S3":
                endpoint.add_to_policy(_image_layers())

    def _add_interfaces(self) -> None:
        group = ec2.SecurityGroup(
            self,
            "EndpointsGroup",
            vpc=self.vpc,
            description="Interface endpoints: HTTPS from the VPC",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(ec2.Peer.ipv4(self.vpc.vpc_cidr_block), ec2.Port.HTTPS, "the VPC")
        explain(group, "EC23|EC2Restricted.*", "the rule can't read a reference; the range is the VPC's own")
        for name, (service, prefix) in INTERFACE_ENDPOINTS.items():
            endpoint = self.vpc.add_interface_endpoint(name, service=service, security_groups=[group], open=False)
            endpoint.add_to_policy(_own_account(prefix))


def _own_account(prefix: str) -> iam.PolicyStatement:
    """Whatever the caller's own policies allow, within this account."""
    return iam.PolicyStatement(
        sid="OwnAccount",
        principals=[iam.AnyPrincipal()],
        actions=[f"{prefix}:*"],
        resources=["*"],
        conditions={
            "StringEquals": {"aws:PrincipalAccount": Aws.ACCOUNT_ID},
            # Some calls name no resource, such as ecr:GetAuthorizationToken.
            "StringEqualsIfExists": {"aws:ResourceAccount": Aws.ACCOUNT_ID},
        },
    )


def _image_layers() -> iam.PolicyStatement:
    """ECR keeps the layers of images in a bucket of its own, and signs the links to them itself.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html#ecr-minimum-s3-perms
    """
    return iam.PolicyStatement(
        sid="ImageLayers",
        principals=[iam.AnyPrincipal()],
        actions=["s3:GetObject"],
        resources=[f"arn:{Aws.PARTITION}:s3:::prod-{Aws.REGION}-starport-layer-bucket/*"],
    )
