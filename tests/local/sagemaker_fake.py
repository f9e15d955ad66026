"""What the SageMaker hook's tests share: an image made of three short scripts, its data, requests and waiting."""

import contextlib
import functools
import io
import json
import tarfile
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from local.cloud import Cloud

Client = Callable[[str], Any]
Events = Callable[[str], list[dict[str, Any]]]
ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/sagemaker"
IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/fake:1"
CLUSTER = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
LIMIT = {"MaxRuntimeInSeconds": 60}

TRAIN = """\
    #!/usr/bin/env python3
    import json, os, pathlib, sys, time
    base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
    given = json.loads((base / "input/config/hyperparameters.json").read_text())
    print("training", flush=True)
    time.sleep(float(given.get("sleep", 0)))
    if "fail" in given:
        (base / "output/failure").write_text(given["fail"])
        sys.exit(3)
    rows = sorted(path.name for path in (base / "input/data/train").iterdir())
    (base / "model/answer.txt").write_text(given.get("answer", "none"))
    (base / "model/rows.json").write_text(json.dumps(rows))
    """
SERVE = """\
    #!/usr/bin/env python3
    import http.server, json, os, pathlib, time
    model = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"]) / "model/answer.txt"
    if os.environ.get("BROKEN"):
        raise SystemExit("no such model format")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.reply(200 if self.path == "/ping" else 404, b"")
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(0.01)
            if body == b"boom":
                return self.reply(500, b"it went wrong")
            text = model.read_text() if model.exists() else os.environ.get("ANSWER", "baseline")
            answer = {"answer": text, "type": self.headers["Content-Type"], "process": os.getpid()}
            self.reply(200, json.dumps(answer).encode())
        def reply(self, status, body):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *_):
            pass

    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
    """
PROCESS = """\
    #!/usr/bin/env python3
    import os, pathlib, sys
    base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
    source, target = (base / "processing" / name for name in sys.argv[1:3])
    assert (base / "config/processingjobconfig.json").exists()
    if os.environ.get("FAIL"):
        raise SystemExit(os.environ["FAIL"])
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    (target / "joined.txt").write_bytes(b"".join(path.read_bytes() for path in files))
    (target / "metrics.json").write_text('{"metrics": {"auc": {"value": %s}}}' % os.environ.get("AUC", "0.9"))
    """


def within(seconds: float, found: Callable[[], Any]) -> Any:
    """The first true value `found` gives within some seconds."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return value


def prepared(cloud: Cloud) -> Client:
    """Makes clients of the local cloud; the fake image is pushed and its data is in the bucket `fake`."""
    client = functools.cache(cloud.session().client)
    root = cloud.state / "images/fake/1/rootfs"
    if root.exists():
        return client
    client("ecr").create_repository(repositoryName="fake")
    client("ecr").put_image(repositoryName="fake", imageTag="1", imageManifest='{"schemaVersion": 2}')
    scripts = {"usr/local/bin/train": TRAIN, "usr/local/bin/serve": SERVE, "usr/local/bin/process": PROCESS}
    for path, script in scripts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(textwrap.dedent(script))
        (root / path).chmod(0o755)
    (root.parent / "env.json").write_text('{"PATH": "/usr/local/bin:/usr/bin:/bin"}')
    client("s3").create_bucket(Bucket="fake")
    for key, body in {"in/a.csv": b"1\n", "in/deep/b.csv": b"2\n", "inner/c.csv": b"3\n"}.items():
        client("s3").put_object(Bucket="fake", Key=key, Body=body)
    return client


@contextlib.contextmanager
def heard(client: Client) -> Iterator[Events]:
    """Reads the SageMaker events of a type that the default bus has had since."""
    queue = client("sqs").create_queue(QueueName=f"events-{uuid.uuid4()}")["QueueUrl"]
    arn = client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client("events").put_rule(Name="all", EventPattern='{"source": ["aws.sagemaker"]}')
    client("events").put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn}])
    seen: list[dict[str, Any]] = []

    def read(detail_type: str) -> list[dict[str, Any]]:
        while found := client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            for message in found:
                seen.append(json.loads(message["Body"]))
                client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return [event for event in seen if event["detail-type"] == detail_type]

    yield read
    client("events").remove_targets(Rule="all", Ids=["queue"])
    client("events").delete_rule(Name="all")


def package(client: Client, name: str, answer: str) -> str:
    """The URI of a model.tar.gz that answers `answer`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("answer.txt")
        member.size = len(answer)
        archive.addfile(member, io.BytesIO(answer.encode()))
    client("s3").put_object(Bucket="fake", Key=f"models/{name}/model.tar.gz", Body=buffer.getvalue())
    return f"s3://fake/models/{name}/model.tar.gz"


def training(**changes: Any) -> dict[str, Any]:
    """A CreateTrainingJob request."""
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://fake/in", "S3DataDistributionType": "FullyReplicated"}
    return {
        "TrainingJobName": f"job-{uuid.uuid4()}",
        "RoleArn": ROLE,
        "StoppingCondition": LIMIT,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": "s3://fake/out/"},
        "ResourceConfig": CLUSTER,
        **changes,
    }


def processing(**changes: Any) -> dict[str, Any]:
    """A CreateProcessingJob request."""
    source, target = "/opt/ml/processing/in", "/opt/ml/processing/out"
    command = {"ContainerEntrypoint": ["process"], "ContainerArguments": ["in", "out"]}
    return {
        "ProcessingJobName": f"job-{uuid.uuid4()}",
        "RoleArn": ROLE,
        "StoppingCondition": LIMIT,
        "ProcessingResources": {"ClusterConfig": CLUSTER},
        "AppSpecification": {"ImageUri": IMAGE, **command},
        "ProcessingInputs": [
            {
                "InputName": "in",
                "S3Input": {
                    "S3Uri": "s3://fake/in",
                    "LocalPath": source,
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {"S3Uri": "s3://fake/processed", "LocalPath": target, "S3UploadMode": "EndOfJob"},
                }
            ]
        },
        **changes,
    }


def trained(sagemaker: Any, request: dict[str, Any]) -> dict[str, Any]:
    """A training job's description, once it has ended."""
    sagemaker.create_training_job(**request)
    name = {"TrainingJobName": request["TrainingJobName"]}
    within(60, lambda: sagemaker.describe_training_job(**name)["TrainingJobStatus"] != "InProgress")
    return sagemaker.describe_training_job(**name)


def processed(sagemaker: Any, name: str) -> dict[str, Any]:
    """A processing job's description, once it has ended."""
    job = {"ProcessingJobName": name}
    within(60, lambda: sagemaker.describe_processing_job(**job)["ProcessingJobStatus"] != "InProgress")
    return sagemaker.describe_processing_job(**job)


def in_service(sagemaker: Any, name: str) -> dict[str, Any]:
    """An endpoint's description, once nothing is under way with it."""
    within(60, lambda: sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] not in ("Creating", "Updating"))
    return sagemaker.describe_endpoint(EndpointName=name)


def serving(sagemaker: Any, name: str, container: dict[str, Any]) -> None:
    """A model of one container and an endpoint configuration, both named so."""
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    serverless = {"MemorySizeInMB": 1024, "MaxConcurrency": 5}
    variant = {"VariantName": "AllTraffic", "ModelName": name, "ServerlessConfig": serverless}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
