"""The deployed platform as any client sees it: stack outputs, AWS APIs, and the links that must hold."""

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

from local.cloud import Session

T = TypeVar("T")
Show = Callable[[str], None]  # what a step has just done
POLL_SECONDS = 0.5
LAYERS = (
    *("foundation", "data-lake", "streaming", "flight-state", "real-time", "delay-delivery", "catalog-etl", "etl-jobs"),
    *("data-catalog", "training", "serving", "stream-scoring", "monitoring", "images"),
)


class LinkBrokenError(RuntimeError):
    """A link of the platform did not carry: `link` names it."""

    def __init__(self, link: str, detail: str) -> None:
        super().__init__(f"{link}: {detail}")
        self.link = link


@dataclass(frozen=True)
class Happened:
    """Something the platform did by itself, and when."""

    at: datetime
    event: str
    detail: str


class Platform:
    """One environment, looked up by its stacks' outputs; every call goes to an AWS API."""

    def __init__(self, session: Session, prefix: str, layers: Sequence[str] = LAYERS) -> None:
        self.session = session
        self.prefix = prefix
        self.layers = layers
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A boto3 client, made once."""
        if service not in self._clients:
            self._clients[service] = self.session.client(service)
        return self._clients[service]

    @cached_property
    def outputs(self) -> dict[str, str]:
        """Outputs of the layers' stacks by key. Raises LinkBrokenError when a stack is missing."""
        found: dict[str, str] = {}
        deployed = {stack["StackName"]: stack for stack in self.stacks()}
        for layer in self.layers:
            name = f"{self.prefix}-{layer}"
            if name not in deployed:
                raise LinkBrokenError("deployment", f"there is no stack {name}; deploy it first")
            found |= {item["OutputKey"]: item["OutputValue"] for item in deployed[name].get("Outputs", [])}
        return found

    def stacks(self) -> list[dict[str, Any]]:
        """Descriptions of all stacks."""
        pages = self.client("cloudformation").get_paginator("describe_stacks").paginate()
        return [stack for page in pages for stack in page["Stacks"]]

    def resources(self) -> dict[str, Any]:
        """How many resources of each type the platform's stacks have, and those of their templates that are missing."""
        formation = self.client("cloudformation")
        types: Counter[str] = Counter()
        missing: list[str] = []
        for layer in self.layers:
            name = f"{self.prefix}-{layer}"
            pages = formation.get_paginator("list_stack_resources").paginate(StackName=name)
            created = {
                item["LogicalResourceId"]: item["ResourceType"]
                for page in pages
                for item in page["StackResourceSummaries"]
                if item["ResourceStatus"].endswith("_COMPLETE") and not item["ResourceStatus"].startswith("DELETE")
            }
            types.update(created.values())
            template = formation.get_template(StackName=name)["TemplateBody"]
            wanted = (json.loads(template) if isinstance(template, str) else template)["Resources"]
            missing += [f"{name}: {wanted[key]['Type']} {key}" for key in sorted(wanted.keys() - created.keys())]
        return {"deployed": dict(sorted(types.items())), "not_created": missing}

    def objects(self, output: str, prefix: str = "") -> Iterator[dict[str, Any]]:
        """Objects in the bucket of an output, as S3 lists them."""
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.outputs[output], Prefix=prefix)
        return (item for page in pages for item in page.get("Contents", []))

    def keys(self, output: str, prefix: str = "") -> Iterator[str]:
        """Their keys."""
        return (item["Key"] for item in self.objects(output, prefix))

    def read(self, bucket: str, key: str) -> bytes:
        """An object's bytes."""
        return self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()

    def query(self, sql: str) -> list[dict[str, str]]:
        """Rows of an Athena query in the platform's workgroup, every value as text. Raises LinkBrokenError."""
        athena = self.client("athena")
        execution = athena.start_query_execution(
            QueryString=sql,
            WorkGroup=self.outputs["WorkGroupName"],
            QueryExecutionContext={"Database": self.outputs["DatabaseName"]},
        )["QueryExecutionId"]

        def ended() -> dict[str, Any] | None:
            found = athena.get_query_execution(QueryExecutionId=execution)["QueryExecution"]
            return found if found["Status"]["State"] in ("SUCCEEDED", "FAILED", "CANCELLED") else None

        result = wait_for("Athena", f"the end of {sql!r}", ended, seconds=300)
        if result["Status"]["State"] != "SUCCEEDED":
            raise LinkBrokenError("Athena", f"{result['Status'].get('StateChangeReason')} in {sql!r}")
        bucket, _, key = result["ResultConfiguration"]["OutputLocation"].removeprefix("s3://").partition("/")
        return list(csv.DictReader(io.StringIO(self.read(bucket, key).decode())))

    def run_pipeline(self, output: str, parameters: dict[str, str]) -> str:
        """Start the SageMaker pipeline of an output; returns the execution's ARN."""
        return self.client("sagemaker").start_pipeline_execution(
            PipelineName=self.outputs[output],
            PipelineParameters=[{"Name": name, "Value": value} for name, value in parameters.items()],
        )["PipelineExecutionArn"]

    def pipeline_ended(self, execution: str, link: str, seconds: float = 900) -> dict[str, Any]:
        """Wait for an execution's success and return its description. Raises LinkBrokenError with its reason."""
        sagemaker = self.client("sagemaker")

        def ended() -> dict[str, Any] | None:
            found = sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)
            return found if found["PipelineExecutionStatus"] in ("Succeeded", "Failed", "Stopped") else None

        found = wait_for(link, f"the end of {execution}", ended, seconds=seconds)
        if found["PipelineExecutionStatus"] != "Succeeded":
            raise LinkBrokenError(link, f"{execution} {found['PipelineExecutionStatus']}: {found.get('FailureReason')}")
        return found

    def steps(self, execution: str) -> dict[str, dict[str, Any]]:
        """The steps of a pipeline execution by name."""
        found = self.client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=execution, MaxResults=100)
        return {step["StepName"]: step for step in found["PipelineExecutionSteps"]}

    def report(self, execution: str, step: str, file: str) -> dict[str, Any]:
        """A JSON file that a processing step of an execution wrote as its first output."""
        job = self.steps(execution)[step]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
        described = self.client("sagemaker").describe_processing_job(ProcessingJobName=job)
        uri = described["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"].removeprefix("s3://")
        bucket, _, prefix = uri.rstrip("/").partition("/")
        return json.loads(self.read(bucket, f"{prefix}/{file}"))


def destination(firehose: Any, name: str) -> dict[str, Any]:
    """The S3 destination of a delivery stream, as deployed."""
    described = firehose.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
    found: dict[str, Any] = described["Destinations"][0]["ExtendedS3DestinationDescription"]
    return found


def wait_for(link: str, what: str, probe: Callable[[], T | None], *, seconds: float) -> T:
    """Ask `probe` until it answers something. Raises LinkBrokenError that names the link after `seconds`."""
    deadline = time.monotonic() + seconds
    while (answer := probe()) is None:
        if time.monotonic() > deadline:
            raise LinkBrokenError(link, f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(POLL_SECONDS)
    return answer


def wait_while_it_moves(
    link: str, what: str, count: Callable[[], int], goal: int, *, stalled_seconds: float, show: Callable[[int], None]
) -> None:
    """Wait until `count` reaches `goal`. Raises LinkBrokenError when it has not moved for `stalled_seconds`.

    Counting takes half of the time at most: what is waited for needs the machine as well.
    """
    seen, moved = -1, time.monotonic()
    while True:
        asked = time.monotonic()
        if (now := count()) >= goal:
            break
        if now != seen:
            seen, moved = now, time.monotonic()
            show(now)
        elif time.monotonic() - moved > stalled_seconds:
            raise LinkBrokenError(link, f"{what}: {now:,} of {goal:,}, and none more for {stalled_seconds:.0f} s")
        time.sleep(max(POLL_SECONDS, time.monotonic() - asked))
    show(now)


def utc_now() -> datetime:
    """The current time, with its zone."""
    return datetime.now(UTC)
