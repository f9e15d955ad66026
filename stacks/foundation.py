"""Foundation: the key, the network and the ML image that every other layer builds on.

Provisions  a KMS key with yearly rotation; a VPC of private subnets with flow logs, gateway endpoints for S3 and
            DynamoDB and, where asked for, interface endpoints; an ECR repository and the ML image in it, built by
            CodeBuild during the first deploy. A key or a VPC that exists can take the place of the new one.
Outputs     `key`, `vpc`, `jobs_vpc` (the same where jobs can reach AWS from it, else None), `image`.
Costs       $1 a month for the key; an image build of about 5 minutes ($0.03). The network is free but for the eight
            interface endpoints: $7.30 a month each and zone, $117 in two zones, $175 in three.
Copy        this file, components/{aws_build,base,data_key,findings,function,image_build,log_group,network}.py,
            components/{permissions,principal,role}.py, lambda/custom_resources, containers/ml and ml.
"""

from aws_cdk import Annotations, CfnOutput, CrossStackReferences, ReferenceStrength
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from constructs import Construct
from pydantic import Field, model_validator

from components.base import Deployment, Layer, Options
from components.data_key import DataKey
from components.image_build import ImageBuild
from components.network import ExistingVpc, Network
from components.principal import FORM, Principal

IMAGE_CONTEXT = {
    "Dockerfile": "containers/ml/Dockerfile",
    "requirements.txt": "containers/ml/requirements.txt",
    "bin": "containers/ml/bin",
    "ml": "ml",
}


class FoundationOptions(Options):
    zones: int = Field(2, ge=2, le=3, description="availability zones of the network")
    interface_endpoints: bool = Field(
        False, description="reach AWS from the private subnets; without them jobs run outside the VPC"
    )
    key_administrators: tuple[Principal, ...] = Field(
        (), description=f"who alone may administer the key ({FORM}); none: whoever IAM lets"
    )
    existing_key_arn: str | None = Field(
        None,
        pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/.+$",
        description="a KMS key to use instead of a new one; docs/foundation.md lists what its policy must allow",
    )
    existing_vpc: ExistingVpc | None = Field(
        None, description="a VPC to use instead of a new one: vpc_id, subnet_ids and availability_zones"
    )

    @model_validator(mode="after")
    def _nothing_is_added_to_what_exists(self) -> "FoundationOptions":
        if self.existing_vpc and self.interface_endpoints:
            raise ValueError("interface_endpoints are made in a new network only: existing_vpc brings its own")
        if self.existing_key_arn and self.key_administrators:
            raise ValueError("key_administrators are set on a new key only: the policy of existing_key_arn stays")
        return self


class Foundation(Layer):
    """The key, the network and the ML image."""

    def __init__(self, scope: Construct, construct_id: str, deployment: Deployment, options: FoundationOptions) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: key, network and ML image")
        self.key = self._key(options)
        self.vpc = self._network(options)
        self.jobs_vpc = self.vpc if options.interface_endpoints or options.existing_vpc else None
        self.image = ImageBuild(self, "MlImage", deployment, context=IMAGE_CONTEXT, key=self.key)
        CfnOutput(self, "ImageUri", value=self.image.uri, description="The ML image: trains, processes and serves")
        CfnOutput(self, "DataKeyArn", value=self.key.key_arn, description="Encrypts everything at rest")

    def _key(self, options: FoundationOptions) -> kms.IKey:
        if options.existing_key_arn:
            return kms.Key.from_key_arn(self, "Key", options.existing_key_arn)
        key = DataKey(self, "Key", self.deployment, administrators=options.key_administrators)
        _import_strongly(key)
        return key

    def _network(self, options: FoundationOptions) -> ec2.IVpc:
        if options.existing_vpc:
            vpc = ec2.Vpc.from_vpc_attributes(
                self,
                "Network",
                vpc_id=options.existing_vpc.vpc_id,
                availability_zones=list(options.existing_vpc.availability_zones),
                isolated_subnet_ids=list(options.existing_vpc.subnet_ids),
            )
            for subnet in vpc.isolated_subnets:
                Annotations.of(subnet).acknowledge_warning(
                    "@aws-cdk/aws-ec2:noSubnetRouteTableId", "nothing of ours asks for their routes"
                )
            return vpc
        network = Network(
            self,
            "Network",
            self.deployment,
            zones=options.zones,
            interface_endpoints=options.interface_endpoints,
            key=self.key,
        )
        _import_strongly(network.vpc, *network.vpc.isolated_subnets)
        return network.vpc


def _import_strongly(*lasting: Construct) -> None:
    """An import of these that goes stale would cost data, not a redeploy."""
    for each in lasting:
        CrossStackReferences.of(each).produce(ReferenceStrength.STRONG)
