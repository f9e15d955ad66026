"""What both pipelines are built of: expressions, and steps that run the ML image as processing jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

VERSION = "2020-12-01"
EXECUTION_ID = {"Get": "Execution.PipelineExecutionId"}

Expression = dict[str, Any]
Text = str | Expression  # a CDK token is a str as well


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """How and where a pipeline's jobs run. Every str may be a CDK token.

    image_uri            the ML image
    role_arn             the role of the jobs
    kms_key_id           encrypts volumes and outputs; an instance type with NVMe disks refuses it for its volume
    output_uri           s3://bucket/prefix without a slash at its end; outputs go to prefix/<execution>/<step>/<output>
    instance_type        of each job, such as "ml.m7i.large"
    volume_gb            disk of each job
    max_runtime_seconds  after which a job is stopped
    vpc_config           {"SecurityGroupIds": [...], "Subnets": [...]}, or None to run outside of a VPC
    """

    image_uri: str
    role_arn: str
    kms_key_id: str
    output_uri: str
    instance_type: str
    volume_gb: int
    max_runtime_seconds: int
    vpc_config: Mapping[str, Sequence[str]] | None = None

    @property
    def stopping(self) -> dict[str, int]:
        """The StoppingCondition of a job."""
        return {"MaxRuntimeInSeconds": self.max_runtime_seconds}

    @property
    def cluster(self) -> dict[str, Any]:
        """The instance of a job and its encrypted disk."""
        return {
            "InstanceCount": 1,
            "InstanceType": self.instance_type,
            "VolumeSizeInGB": self.volume_gb,
            "VolumeKmsKeyId": self.kms_key_id,
        }

    @property
    def vpc(self) -> dict[str, Any]:
        """{"VpcConfig": ...}, or nothing."""
        return {"VpcConfig": dict(self.vpc_config)} if self.vpc_config else {}

    def output(self, step: str, *names: str) -> Expression:
        """The S3 URI below which a step of one execution writes."""
        return join("/", self.output_uri, EXECUTION_ID, step, *names)


def parameter(name: str) -> Expression:
    """The value of a pipeline's parameter."""
    return {"Get": f"Parameters.{name}"}


def join(separator: str, *values: Text) -> Expression:
    """Text made of values that are known when the pipeline runs."""
    return {"Std:Join": {"On": separator, "Values": list(values)}}


def option(name: str, value: Expression) -> Expression:
    """A command-line option. One word, since an argument must be text, and an empty one might be refused."""
    return join("=", f"--{name}", value)


def output_of(step: str, name: str) -> Expression:
    """The S3 URI of a processing step's output; whoever uses it runs after that step."""
    return {"Get": f"Steps.{step}.ProcessingOutputConfig.Outputs['{name}'].S3Output.S3Uri"}


def processing(
    jobs: Jobs,
    name: str,
    module: str,
    *,
    inputs: Mapping[str, tuple[Text, str]],
    outputs: Mapping[str, str],
    arguments: Sequence[Text] = (),
    isolated: bool = True,
) -> dict[str, Any]:
    """A step that runs a module of the ML image as a processing job.

    `inputs`: {name: (S3 URI, path of ml.contract)}; `outputs`: {name: path of ml.contract}. `isolated` jobs have no
    network: SageMaker moves their data.
    """
    app: dict[str, Any] = {"ImageUri": jobs.image_uri, "ContainerEntrypoint": ["python3", "-m", module]}
    request: dict[str, Any] = {
        "ProcessingResources": {"ClusterConfig": jobs.cluster},
        "AppSpecification": {**app, "ContainerArguments": list(arguments)} if arguments else app,
        "RoleArn": jobs.role_arn,
        "ProcessingOutputConfig": {
            "Outputs": [_output(jobs, name, output, path) for output, path in outputs.items()],
            "KmsKeyId": jobs.kms_key_id,
        },
        "NetworkConfig": {"EnableNetworkIsolation": isolated, **jobs.vpc},
        "StoppingCondition": jobs.stopping,
    }
    if inputs:
        request["ProcessingInputs"] = [_input(name, uri, path) for name, (uri, path) in inputs.items()]
    return {"Name": name, "Type": "Processing", "Arguments": request}


def _input(name: str, uri: Text, path: str) -> dict[str, Any]:
    source = {
        "S3Uri": uri,
        "LocalPath": f"/opt/ml/{path}",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
        "S3CompressionType": "None",
    }
    return {"InputName": name, "AppManaged": False, "S3Input": source}


def _output(jobs: Jobs, step: str, name: str, path: str) -> dict[str, Any]:
    target = {"S3Uri": jobs.output(step, name), "LocalPath": f"/opt/ml/{path}", "S3UploadMode": "EndOfJob"}
    return {"OutputName": name, "AppManaged": False, "S3Output": target}
