"""The foundation: a network that only this account gets through, one key, and nothing made of what is handed in."""

import json
import re
from typing import Any

import pytest

from checks.assembly import Assembly, Stack

GATEWAYS = {"s3", "dynamodb"}
INTERFACES = {
    "ecr.api": "ecr",
    "ecr.dkr": "ecr",
    "kms": "kms",
    "logs": "logs",
    "monitoring": "cloudwatch",
    "sagemaker.api": "sagemaker",
    "sagemaker.runtime": "sagemaker",
    "sts": "sts",
}
ACCOUNT = {"Ref": "AWS::AccountId"}
HTTPS = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
REGION = "us-east-1"


def text(value: Any) -> str:
    """A value with its intrinsic functions written out: joined, and references by what they name."""
    match value:
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(map(text, parts))
        case {"Ref": "AWS::Region"}:
            return REGION
        case {"Ref": "AWS::Partition"}:
            return "aws"
        case str():
            return value
    return json.dumps(value)


def endpoints(stack: Stack, kind: str) -> dict[str, dict[str, Any]]:
    """service -> properties of the endpoints of a kind."""
    found = [each["Properties"] for each in stack.resources("AWS::EC2::VPCEndpoint").values()]
    own = [each for each in found if each["VpcEndpointType"] == kind]
    return {text(each["ServiceName"]).removeprefix(f"com.amazonaws.{REGION}."): each for each in own}


def statements(properties: dict[str, Any], document: str = "PolicyDocument") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = properties[document]["Statement"]
    return found


@pytest.mark.requirement("sec-sm-vpc")
def test_subnets_are_private_and_in_as_many_zones_as_asked_for(assembly: Assembly) -> None:
    for environment, zones in {"sandbox": 2, "staging": 2, "production": 3}.items():
        stack = assembly.environments[environment]["foundation"]
        subnets = stack.resources("AWS::EC2::Subnet").values()
        assert not any(subnet["Properties"]["MapPublicIpOnLaunch"] for subnet in subnets)
        assert len({json.dumps(subnet["Properties"]["AvailabilityZone"]) for subnet in subnets}) == zones
        assert not stack.resources("AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::Route")
        assert len(stack.resources("AWS::EC2::FlowLog")) == 1


@pytest.mark.requirement("sec-sm-vpc", "sec-vpce-s3")
def test_gateways_are_everywhere_and_interfaces_where_jobs_run_in_the_network(assembly: Assembly) -> None:
    for environment, stacks in assembly.environments.items():
        assert set(endpoints(stacks["foundation"], "Gateway")) == GATEWAYS
        interfaces = endpoints(stacks["foundation"], "Interface")
        assert set(interfaces) == (set() if environment == "sandbox" else set(INTERFACES)), environment
        assert all(each["PrivateDnsEnabled"] for each in interfaces.values())


@pytest.mark.requirement("sec-sm-vpc", "sec-vpce-s3")
def test_an_endpoint_lets_this_accounts_principals_at_this_accounts_resources(assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        stack = stacks["foundation"]
        prefixes = INTERFACES | {service: service for service in GATEWAYS}
        for service, properties in (endpoints(stack, "Gateway") | endpoints(stack, "Interface")).items():
            own, *others = statements(properties)
            assert own["Action"] == f"{prefixes[service]}:*"
            assert own["Condition"] == {
                "StringEquals": {"aws:PrincipalAccount": ACCOUNT},
                "StringEqualsIfExists": {"aws:ResourceAccount": ACCOUNT},
            }
            if service == "s3":
                (layers,) = others
                assert layers["Action"] == "s3:GetObject"
                assert text(layers["Resource"]) == f"arn:aws:s3:::prod-{REGION}-starport-layer-bucket/*"
            else:
                assert not others


def test_every_security_group_lets_https_out_at_most_and_only_endpoints_are_called(assembly: Assembly) -> None:
    groups = assembly.resources("AWS::EC2::SecurityGroup")
    assert groups
    for stack, name, group in groups:
        for rule in group["Properties"]["SecurityGroupEgress"]:
            nowhere = rule["CidrIp"] == "255.255.255.255/32"
            assert nowhere or HTTPS.items() <= rule.items(), stack.where(name)
        ingress = group["Properties"].get("SecurityGroupIngress", [])
        assert bool(ingress) == (stack.layer == "foundation"), stack.where(name)
        assert all(HTTPS.items() <= rule.items() for rule in ingress)


def test_the_key_rotates_and_gives_nobody_everything(assembly: Assembly) -> None:
    for stack, name, key in assembly.resources("AWS::KMS::Key"):
        assert key["Properties"]["EnableKeyRotation"]
        assert len(stack.resources("AWS::KMS::Alias")) == 1
        for statement in statements(key["Properties"], "KeyPolicy"):
            actions = {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
            assert "kms:*" not in actions, stack.where(name)
            if "Service" in statement["Principal"]:
                # Else any account's use of the service would do; EventBridge names no account to KMS.
                assert "Condition" in statement or statement["Principal"] == {"Service": "events.amazonaws.com"}
                assert not actions & {"kms:PutKeyPolicy", "kms:CreateGrant", "kms:ScheduleKeyDeletion"}
            else:
                assert statement["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
                # Administering and using are apart: whoever is to have both needs both said in a policy.
                assert not ("kms:PutKeyPolicy" in actions and "kms:Decrypt" in actions)


def test_named_administrators_and_the_deployer_alone_administer_the_key(variants: Assembly) -> None:
    ((_, _, key),) = [each for each in variants.resources("AWS::KMS::Key") if each[0].environment == "asked"]
    (administer,) = [each for each in statements(key["Properties"], "KeyPolicy") if each.get("Sid") == "Administer"]
    names = administer["Condition"]["ArnLike"]["aws:PrincipalArn"]
    assert [text(name).rpartition(":")[2] for name in names] == ["role/key-keepers", "role/cdk-*-cfn-exec-role-*"]


@pytest.mark.requirement("sec-sm-rest-kms", "sec-sm-network-isolation", "sec-sm-vpc")
def test_models_and_jobs_are_isolated_in_the_network_and_encrypted_with_the_key(assembly: Assembly) -> None:
    for environment in ("staging", "production"):
        stacks = assembly.environments[environment]
        for model in stacks["serving"].resources("AWS::SageMaker::Model").values():
            assert model["Properties"]["EnableNetworkIsolation"]
            assert model["Properties"]["VpcConfig"]["Subnets"]
        for config in stacks["serving"].resources("AWS::SageMaker::EndpointConfig").values():
            assert "-foundation:ExportsOutputFnGetAttKey" in text(config["Properties"]["KmsKeyId"])
        for layer in ("training", "monitoring"):
            (pipeline,) = stacks[layer].resources("AWS::SageMaker::Pipeline").values()
            definition = text(pipeline["Properties"]["PipelineDefinition"]["PipelineDefinitionBody"])
            jobs = definition.count('"InstanceCount":')
            assert jobs == definition.count('"VolumeKmsKeyId"') == definition.count('"VpcConfig"') > 0
            # The drift job calls AWS itself: its network is the VPC's endpoints.
            isolated = jobs if layer == "training" else 0
            assert definition.count('"EnableNetworkIsolation": true') == isolated


def test_the_image_is_scanned_and_has_the_one_manifest_that_sagemaker_takes(assembly: Assembly) -> None:
    for stack, _, repository in assembly.resources("AWS::ECR::Repository"):
        (project,) = stack.resources("AWS::CodeBuild::Project").values()
        assert repository["Properties"]["ImageScanningConfiguration"]["ScanOnPush"]
        phases = json.loads(text(project["Properties"]["Source"]["BuildSpec"]))["phases"]
        (build,) = phases["build"]["commands"]
        assert {"--provenance=false", "type=image,oci-mediatypes=false"} <= set(build.split())
        *_, push, proof = phases["post_build"]["commands"]
        assert "docker push" in push
        assert proof.endswith("grep -q application/vnd.docker.distribution.manifest.v2+json")


def test_a_key_and_a_network_that_exist_are_used_and_nothing_of_them_is_made(variants: Assembly) -> None:
    stacks = variants.environments["existing"]
    made = {resource["Type"] for stack in stacks.values() for resource in stack.resources().values()}
    ours = {f"AWS::EC2::{kind}" for kind in ("VPC", "Subnet", "VPCEndpoint", "FlowLog", "RouteTable")}
    assert not made & (ours | {"AWS::KMS::Key", "AWS::KMS::Alias"})
    for bucket in stacks["data-lake"].resources("AWS::S3::Bucket").values():
        encryption = json.dumps(bucket["Properties"]["BucketEncryption"])
        assert "AES256" in encryption or "key/11111111-2222-3333-4444-555555555555" in encryption
    for model in stacks["serving"].resources("AWS::SageMaker::Model").values():
        assert model["Properties"]["VpcConfig"]["Subnets"] == ["subnet-0a", "subnet-0b"]
    for layer in ("training", "monitoring"):
        assert "subnet-0b" in json.dumps(stacks[layer].template)
    groups = [group for stack in stacks.values() for group in stack.resources("AWS::EC2::SecurityGroup").values()]
    assert {group["Properties"]["VpcId"] for group in groups} == {"vpc-0a1b"}


def test_the_zones_of_the_settings_are_used(variants: Assembly) -> None:
    subnets = variants.environments["asked"]["foundation"].resources("AWS::EC2::Subnet").values()
    zones = [subnet["Properties"]["AvailabilityZone"] for subnet in subnets]
    assert zones == ["us-east-1b", "us-east-1d", "us-east-1f"]


def test_settings_of_the_account_are_made_only_where_asked_for(assembly: Assembly, variants: Assembly) -> None:
    kinds = ("AWS::Glue::DataCatalogEncryptionSettings", "Custom::AccountPublicAccessBlock")
    assert not assembly.resources(*kinds)
    assert {stack.environment for stack, _, _ in variants.resources(*kinds)} == {"asked"}
    asked = variants.environments["asked"]["account-settings"]
    (catalogue,) = asked.resources(kinds[0]).values()
    encryption = catalogue["Properties"]["DataCatalogEncryptionSettings"]
    assert encryption["EncryptionAtRest"]["CatalogEncryptionMode"] == "SSE-KMS"
    assert encryption["ConnectionPasswordEncryption"]["ReturnConnectionPasswordEncrypted"]
    (policy,) = asked.resources("AWS::IAM::Policy").values()
    assert set(re.findall(r"s3:\w+", json.dumps(policy))) == {"s3:PutAccountPublicAccessBlock"}


def test_variants_have_no_open_findings(variants: Assembly) -> None:
    assert not [finding for report in variants.validation for finding in report["violations"]]
