"""Rules for SageMaker's jobs: in pipeline definitions, in monitoring schedules and in job definitions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from checks.rules.resource import Resource, at, items, number, own_key, parsed, text, true
from checks.rules.rule import rule

_SCHEDULE, _PIPELINE = "AWS::SageMaker::MonitoringSchedule", "AWS::SageMaker::Pipeline"
_DEFINITIONS = (
    "AWS::SageMaker::DataQualityJobDefinition",
    "AWS::SageMaker::ModelBiasJobDefinition",
    "AWS::SageMaker::ModelExplainabilityJobDefinition",
    "AWS::SageMaker::ModelQualityJobDefinition",
)
_TYPES = (_PIPELINE, _SCHEDULE, *_DEFINITIONS)
_UNREAD = "the pipeline's definition can't be read here"


@dataclass(frozen=True)
class Job:
    """Where a job says what it runs on and how; a transform job has no network settings, its model has."""

    name: str
    cluster: Any
    network: Any


@rule(
    "sagemaker-job-key",
    *_TYPES,
    why="Training data lies on the volumes of the job's instances; a key that AWS owns can't be audited or withdrawn.",
    fix="Set VolumeKmsKeyId in the job's resources.",
)
def sagemaker_job_key(resource: Resource) -> str | None:
    """The volumes of every job are encrypted with a key of its owner. A definition in S3 can't be seen to."""
    return _bare(resource, "no VolumeKmsKeyId", lambda job: own_key(at(job.cluster, "VolumeKmsKeyId")))


@rule(
    "sagemaker-job-traffic",
    *_TYPES,
    why="The instances of one job send each other data and gradients readable, unless told not to.",
    fix="Set EnableInterContainerTrafficEncryption to true for jobs of several instances.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/train-encrypt.html",
)
def sagemaker_job_traffic(resource: Resource) -> str | None:
    """Jobs that may have several instances encrypt what these send each other."""
    return _bare(resource, "traffic between containers is not encrypted", _quiet)


@rule(
    "sagemaker-job-network",
    *_TYPES,
    why="A job that is neither isolated nor in a VPC can send the data it reads anywhere.",
    fix="Set VpcConfig, or EnableNetworkIsolation where the container calls no AWS API.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/mkt-algo-model-internet-free.html",
)
def sagemaker_job_network(resource: Resource) -> str | None:
    """Every job runs in a VPC or without a network."""
    return _bare(resource, "neither in a VPC nor isolated", _contained)


def _quiet(job: Job) -> bool:
    single = number(at(job.cluster, "InstanceCount")) == 1 and not at(job.cluster, "InstanceGroups")
    return job.network is None or single or true(at(job.network, "EnableInterContainerTrafficEncryption"))


def _contained(job: Job) -> bool:
    if job.network is None:
        return True
    return bool(at(job.network, "VpcConfig.Subnets")) or true(at(job.network, "EnableNetworkIsolation"))


def _bare(resource: Resource, wrong: str, sound: Any) -> str | None:
    """Which jobs of `resource` are not `sound`."""
    jobs = _jobs(resource)
    if jobs is None:
        return _UNREAD
    names = [job.name for job in jobs if not sound(job)]
    return f"{wrong}: {', '.join(names)}" if names else None


def _jobs(resource: Resource) -> list[Job] | None:
    """Every job that `resource` describes; None when its description can't be read."""
    if resource.type == _PIPELINE:
        steps = at(parsed(resource["PipelineDefinition.PipelineDefinitionBody"]), "Steps")
        return list(_steps(steps)) if isinstance(steps, list) else None
    if resource.type == _SCHEDULE:
        definition = resource["MonitoringScheduleConfig.MonitoringJobDefinition"]
        if not definition:
            return []  # it names a job definition, which is judged itself
        cluster = at(definition, "MonitoringResources.ClusterConfig")
        return [Job("monitoring", cluster, at(definition, "NetworkConfig") or {})]
    return [Job("the job", resource["JobResources.ClusterConfig"], resource["NetworkConfig"] or {})]


def _steps(steps: Any) -> Iterator[Job]:
    for step in items(steps):
        name, arguments = text(step.get("Name")), step.get("Arguments")
        match step.get("Type"):
            case "Processing" | "ClarifyCheck" | "QualityCheck":
                cluster = at(arguments, "ProcessingResources.ClusterConfig")
                yield Job(name, cluster, at(arguments, "NetworkConfig") or {})
            case "Training":
                yield Job(name, at(arguments, "ResourceConfig"), arguments or {})
            case "Tuning":
                several = items(at(arguments, "TrainingJobDefinitions"))
                for definition in several or [at(arguments, "TrainingJobDefinition")]:
                    yield Job(name, at(definition, "ResourceConfig"), definition or {})
            case "Transform":
                yield Job(name, at(arguments, "TransformResources"), None)
            case "Condition":
                yield from _steps(at(arguments, "IfSteps"))
                yield from _steps(at(arguments, "ElseSteps"))
