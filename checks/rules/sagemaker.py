"""Rules for SageMaker's models, endpoints, feature groups, notebooks and Studio; jobs.py has those for its jobs."""

import re
from collections.abc import Iterator
from typing import Any

from checks.finding import Severity
from checks.rules.resource import Resource, at, intrinsic, items, own_key, target, text, true
from checks.rules.rule import rule

_MODEL, _ENDPOINT_CONFIG = "AWS::SageMaker::Model", "AWS::SageMaker::EndpointConfig"
_SERVERLESS = (
    "https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html#serverless-endpoints-how-it-works"
)
_OWN_KEY = "A key that AWS owns can neither be audited nor withdrawn."
# Instance families whose own NVMe disks are encrypted by the hardware, and no key may be given.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/InstanceStorage.html
_NVME = re.compile(r"ml\.([cmrx]\d+[agi]?n?dn?|g4[ad]n?d?|g[56]e?|gr6|p3dn|p4de?|p5(e|en)?|p6.*|trn.*|i\d.*)\..*")


@rule(
    "sagemaker-model-vpc",
    _MODEL,
    severity=Severity.HIGH,
    why="Outside a VPC the model's container reaches the internet, and its traffic to S3 and ECR passes no endpoint "
    "policy. Models that only serverless endpoints use are left out: SageMaker refuses a VPC for those.",
    fix="Set VpcConfig with subnets and security groups.",
    source=_SERVERLESS,
)
def sagemaker_model_vpc(model: Resource) -> str | None:
    """A model on instances runs in a VPC."""
    return None if model["VpcConfig.Subnets"] or _only_serverless(model) else "it runs outside any VPC"


@rule(
    "sagemaker-model-isolation",
    _MODEL,
    why="A model's artefact is code: isolated, it can send the requests it sees nowhere. Models that only serverless "
    "endpoints use are left out: SageMaker refuses isolation for those.",
    fix="Set EnableNetworkIsolation to true; SageMaker still brings artefacts and requests to the container.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/mkt-algo-model-internet-free.html",
)
def sagemaker_model_isolation(model: Resource) -> str | None:
    """A model's container has no network of its own."""
    isolated = true(model["EnableNetworkIsolation"]) or _only_serverless(model)
    return None if isolated else "its container may open connections"


@rule(
    "sagemaker-endpoint-key",
    _ENDPOINT_CONFIG,
    why=f"Artefacts and requests lie on the instances' volumes. {_OWN_KEY} Serverless endpoints have no volume, and "
    "instances with NVMe disks refuse a key: both are left out.",
    fix="Set KmsKeyId.",
    source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html",
)
def sagemaker_endpoint_key(configuration: Resource) -> str | None:
    """The volumes of an endpoint are encrypted with a key of its owner."""
    kinds = [_is_serverless(each) or _has_nvme(each) for each in _variants(configuration)]
    exempt = any(map(_has_nvme, _variants(configuration))) or (kinds and all(kinds))
    return None if exempt or own_key(configuration["KmsKeyId"]) else "the key is AWS's own"


@rule(
    "sagemaker-endpoint-key-refused",
    _ENDPOINT_CONFIG,
    severity=Severity.HIGH,
    why="SageMaker refuses a key when any variant has NVMe disks, so the deployment fails.",
    fix="Take KmsKeyId out, or choose instances without local disks.",
    source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html",
)
def sagemaker_endpoint_key_refused(configuration: Resource) -> str | None:
    """An endpoint on instances with NVMe disks is given no key."""
    types = [text(each.get("InstanceType")) for each in _variants(configuration) if _has_nvme(each)]
    return f"{', '.join(types)} with a key" if types and configuration["KmsKeyId"] else None


@rule(
    "sagemaker-serverless-refused",
    _ENDPOINT_CONFIG,
    severity=Severity.HIGH,
    why="Serverless endpoints have no data capture and one variant, and their model no VPC and no network isolation: "
    "SageMaker refuses them, so the deployment fails.",
    fix="Take it out, or serve from instances.",
    source=_SERVERLESS,
)
def sagemaker_serverless_refused(configuration: Resource) -> str | None:
    """A serverless endpoint asks for nothing that serverless does not have."""
    variants = list(_variants(configuration))
    serverless = [each for each in variants if _is_serverless(each)]
    if not serverless:
        return None
    if len(variants) > 1:
        return "there are several variants"
    if true(configuration["DataCaptureConfig.EnableCapture"]):
        return "requests are to be captured"
    for model in configuration.named_by(serverless[0].get("ModelName"), _MODEL):
        if model["VpcConfig"] or true(model["EnableNetworkIsolation"]):
            return f"model {model.logical_id} asks for a VPC or for network isolation"
    return None


@rule(
    "sagemaker-capture-key",
    _ENDPOINT_CONFIG,
    why=f"Captured requests and answers are what users sent. {_OWN_KEY}",
    fix="Set DataCaptureConfig.KmsKeyId.",
)
def sagemaker_capture_key(configuration: Resource) -> str | None:
    """Captured requests are encrypted with a key of the endpoint's owner."""
    capture = configuration["DataCaptureConfig"]
    return "the key is AWS's own" if capture and not own_key(at(capture, "KmsKeyId")) else None


@rule(
    "sagemaker-feature-group-key",
    "AWS::SageMaker::FeatureGroup",
    why=f"A feature group holds what is known of each person or thing, by its id. {_OWN_KEY}",
    fix="Set OnlineStoreConfig.SecurityConfig.KmsKeyId and OfflineStoreConfig.S3StorageConfig.KmsKeyId.",
)
def sagemaker_feature_group_key(group: Resource) -> str | None:
    """Both stores of a feature group are encrypted with a key of its owner."""
    keys = {"OnlineStoreConfig": "SecurityConfig.KmsKeyId", "OfflineStoreConfig": "S3StorageConfig.KmsKeyId"}
    bare = [store for store, key in keys.items() if group[store] and not own_key(at(group[store], key))]
    return f"no key of yours in {', '.join(bare)}" if bare else None


@rule(
    "sagemaker-domain-internet",
    "AWS::SageMaker::Domain",
    severity=Severity.HIGH,
    why="Notebooks of Studio reach the internet past the VPC, its endpoints and its logs.",
    fix="Set AppNetworkAccessType to VpcOnly.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/studio-notebooks-and-internet-access.html",
)
def sagemaker_domain_internet(domain: Resource) -> str | None:
    """A Studio domain talks to the world through its VPC only."""
    return None if domain["AppNetworkAccessType"] == "VpcOnly" else "its network access is PublicInternetOnly"


@rule(
    "sagemaker-domain-key",
    "AWS::SageMaker::Domain",
    why=f"The domain's file system holds everybody's notebooks and the data in them. {_OWN_KEY}",
    fix="Set KmsKeyId.",
)
def sagemaker_domain_key(domain: Resource) -> str | None:
    """A Studio domain is encrypted with a key of its owner."""
    return None if own_key(domain["KmsKeyId"]) else "the key is AWS's own"


@rule(
    "sagemaker-notebook-internet",
    "AWS::SageMaker::NotebookInstance",
    severity=Severity.HIGH,
    why="A notebook has a way to the internet unless it is told not to: data leaves by one line of code.",
    fix="Set DirectInternetAccess to Disabled, with a SubnetId.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/appendix-notebook-and-internet-access.html",
)
def sagemaker_notebook_internet(notebook: Resource) -> str | None:
    """A notebook instance has no way to the internet of its own."""
    return None if notebook["DirectInternetAccess"] == "Disabled" else "direct internet access is on"


@rule(
    "sagemaker-notebook-root",
    "AWS::SageMaker::NotebookInstance",
    why="With root, users can take away what the lifecycle scripts put there to watch or confine them.",
    fix="Set RootAccess to Disabled.",
)
def sagemaker_notebook_root(notebook: Resource) -> str | None:
    """Users of a notebook instance are not root."""
    return None if notebook["RootAccess"] == "Disabled" else "users are root"


def _variants(configuration: Resource) -> Iterator[dict[str, Any]]:
    yield from items(configuration["ProductionVariants"])
    yield from items(configuration["ShadowProductionVariants"])


def _is_serverless(variant: dict[str, Any]) -> bool:
    configuration = at(variant, "ServerlessConfig")
    return bool(configuration) and not intrinsic(configuration)


def _has_nvme(variant: dict[str, Any]) -> bool:
    return bool(_NVME.fullmatch(text(variant.get("InstanceType"))))


def _only_serverless(model: Resource) -> bool:
    """Whether some endpoint configuration of the template uses the model, and each that does is serverless."""
    using = [
        variant
        for configuration in model.others(_ENDPOINT_CONFIG)
        for variant in _variants(configuration)
        if target(variant.get("ModelName")) == model.logical_id
        or (model["ModelName"] is not None and variant.get("ModelName") == model["ModelName"])
    ]
    return bool(using) and all(map(_is_serverless, using))
