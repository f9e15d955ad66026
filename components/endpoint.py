"""A SageMaker endpoint whose model is a parameter of its stack: a package of the registry, or the image's baseline."""

from typing import Any, Literal

from aws_cdk import CfnCondition, CfnParameter, Fn
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct
from pydantic import Field

from components.base import Deployment, Options
from components.findings import explain
from components.log_group import LogGroup

BASELINE = "baseline"  # the parameter's value for the model inside the image
LOG_GROUPS = "/aws/sagemaker/Endpoints"
VARIANT = "AllTraffic"  # the name must not change across updates


class EndpointOptions(Options):
    kind: Literal["serverless", "realtime"] = Field("serverless", description="billed by request, or by the hour")
    memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = Field(2048, description="memory of a serverless endpoint")
    max_concurrency: int = Field(5, ge=1, le=200, description="simultaneous requests of a serverless endpoint")
    instance_type: str = Field("ml.c7i.large", pattern=r"^ml\.", description="instances of a real-time endpoint")
    instance_count: int = Field(2, ge=1, le=100, description="instances of a real-time endpoint, spread over zones")
    capture_percent: int = Field(100, ge=0, le=100, description="share of real-time requests that are captured")


class Endpoint(Construct):
    """Model, endpoint configuration and endpoint.

    Model and configuration are unnamed, so that CloudFormation can replace them; the endpoint is named, so that its
    alarms and its configuration need not refer to each other in a circle.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: EndpointOptions,
        *,
        name: str,
        image_uri: str,
        package: CfnParameter,
        role: iam.Role,
        key: kms.IKey,
        vpc: ec2.IVpc | None,
        captured: s3.IBucket,
    ) -> None:
        super().__init__(scope, construct_id)
        serverless = options.kind == "serverless"
        has_package = CfnCondition(
            self, "HasPackage", expression=Fn.condition_not(Fn.condition_equals(package, BASELINE))
        )
        model = sagemaker.CfnModel(
            self,
            "Model",
            execution_role_arn=role.role_arn,
            primary_container=Fn.condition_if(
                has_package.logical_id, {"ModelPackageName": package.value_as_string}, {"Image": image_uri}
            ),
            # A serverless endpoint takes neither of the two.
            enable_network_isolation=None if serverless else True,
            vpc_config=_vpc_config(self, vpc) if vpc and not serverless else None,
        )
        model.node.add_dependency(role)
        # SageMaker's name for it: it would create the group, and leave it behind.
        containers_log = LogGroup(self, "Logs", deployment, key=key, name=f"{LOG_GROUPS}/{name}")
        config = sagemaker.CfnEndpointConfig(
            self,
            "Config",
            production_variants=[_variant(model, options)],
            # Refused on a serverless configuration and on instances with local NVMe disks (their disks are encrypted).
            kms_key_id=None if serverless else key.key_arn,
            data_capture_config=None if serverless else _capture(captured, key, options),
        )
        if serverless:
            explain(model, "CKV_AWS_370", "refused on a serverless endpoint")
            explain(config, "SageMakerEndpointConfigurationKMSKeyConfigured", "refused on a serverless configuration")
        endpoint = sagemaker.CfnEndpoint(
            self, "Endpoint", endpoint_name=name, endpoint_config_name=config.attr_endpoint_config_name
        )
        endpoint.node.add_dependency(role, containers_log)


def _variant(
    model: sagemaker.CfnModel, options: EndpointOptions
) -> sagemaker.CfnEndpointConfig.ProductionVariantProperty:
    if options.kind == "serverless":
        serverless = sagemaker.CfnEndpointConfig.ServerlessConfigProperty(
            memory_size_in_mb=options.memory_mb, max_concurrency=options.max_concurrency
        )
        capacity: dict[str, Any] = {"serverless_config": serverless}
    else:
        capacity = {"instance_type": options.instance_type, "initial_instance_count": options.instance_count}
    return sagemaker.CfnEndpointConfig.ProductionVariantProperty(
        variant_name=VARIANT, model_name=model.attr_model_name, initial_variant_weight=1, **capacity
    )


def _capture(
    captured: s3.IBucket, key: kms.IKey, options: EndpointOptions
) -> sagemaker.CfnEndpointConfig.DataCaptureConfigProperty:
    return sagemaker.CfnEndpointConfig.DataCaptureConfigProperty(
        enable_capture=True,
        initial_sampling_percentage=options.capture_percent,
        destination_s3_uri=captured.s3_url_for_object(),
        kms_key_id=key.key_arn,
        capture_options=[
            sagemaker.CfnEndpointConfig.CaptureOptionProperty(capture_mode=mode) for mode in ("Input", "Output")
        ],
        capture_content_type_header=sagemaker.CfnEndpointConfig.CaptureContentTypeHeaderProperty(
            json_content_types=["application/json", "application/jsonlines"]
        ),
    )


def _vpc_config(scope: Construct, vpc: ec2.IVpc) -> sagemaker.CfnModel.VpcConfigProperty:
    group = ec2.SecurityGroup(
        scope, "Containers", vpc=vpc, description="Model containers: no traffic of their own", allow_all_outbound=False
    )
    group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.HTTPS, "SageMaker fetches image and model through the VPC")
    return sagemaker.CfnModel.VpcConfigProperty(
        subnets=[subnet.subnet_id for subnet in vpc.isolated_subnets or vpc.private_subnets],
        security_group_ids=[group.security_group_id],
    )
