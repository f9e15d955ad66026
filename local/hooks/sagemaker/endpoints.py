"""Endpoints: one production variant's `serve` container, exchanged blue/green, and InvokeEndpoint."""

import contextlib
import http.client
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ministack.core.concurrency import run_reentrant

from local.hooks.sagemaker import api, containers, store
from local.hooks.sagemaker.api import Answer, failure, operation
from local.hooks.sagemaker.store import Record, SageMakerError, invalid

STARTUP_SECONDS = 60
MODEL_SECONDS = 60  # AWS's limit on a container's answer
DRAIN_SECONDS = 60


@dataclass(eq=False)
class Server:
    """The container of an endpoint's variant. Instance counts have no effect: it is one."""

    variant: str
    container: containers.Container
    port: int
    busy: int = 0  # requests under way

    def retire(self) -> None:
        """End it once the requests under way are answered."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.busy and time.monotonic() < deadline:
            time.sleep(0.02)
        self.container.end()

    def request(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any, bytes]:
        """Status, headers and body of an HTTP exchange. Each has its own connection: a kept one may be closing."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=MODEL_SECONDS)
        ) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def await_ping(self) -> None:
        """Return once GET /ping answers 200. Raises SageMakerError when the container ends or takes too long."""
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline and self.container.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):  # it isn't listening yet
                if self.request("GET", "/ping", {}, b"")[0] == 200:
                    return
            time.sleep(0.05)
        self.container.end()
        raise invalid(
            f"The primary container for production variant {self.variant} did not pass the ping health check. "
            "Its log ends with:\n" + "\n".join(self.container.tail)
        )


_traffic = threading.Lock()  # held while a request picks its server, and while servers are exchanged
_live: dict[str, Server] = {}  # by endpoint ARN


@operation("CreateEndpointConfig", "EndpointConfigName ProductionVariants KmsKeyId Tags")
def create_endpoint_config(request: Record) -> Record:
    """Store an endpoint configuration; its model must be there."""
    if len(request["ProductionVariants"]) > 1:
        raise invalid("CreateEndpointConfig: the local cloud serves one production variant.")
    store.find("Model", request["ProductionVariants"][0].get("ModelName", ""))
    record = store.create("EndpointConfig", request["EndpointConfigName"], request)
    return {"EndpointConfigArn": record["EndpointConfigArn"]}


@operation("CreateEndpoint", "EndpointName EndpointConfigName Tags")
def create_endpoint(request: Record) -> Record:
    """Start an endpoint; some time later it is InService or Failed."""
    config = store.find("EndpointConfig", request["EndpointConfigName"])
    return _deploy_later(store.create("Endpoint", request["EndpointName"], request), "Creating", config)


@operation("UpdateEndpoint", "EndpointName EndpointConfigName")
def update_endpoint(request: Record) -> Record:
    """Move an endpoint to another configuration: the old container answers until the new one does."""
    config = store.find("EndpointConfig", request["EndpointConfigName"])
    with store.lock:
        record = _idle(request["EndpointName"])
        if config["EndpointConfigName"] == record["EndpointConfigName"]:
            raise invalid("You cannot update an endpoint with the current EndpointConfig. Create a new one.")
        return _deploy_later(record, "Updating", config)


@operation("DeleteEndpoint", "EndpointName")
def delete_endpoint(request: Record) -> Record:
    """Remove an endpoint and end its container."""
    with store.lock:
        record = _idle(request["EndpointName"])
        store.delete("Endpoint", record["EndpointArn"])
    api.change("Endpoint", record, "Deleting")
    with _traffic:
        server = _live.pop(record["EndpointArn"], None)
    if server:
        store.work(record["EndpointArn"], server.retire)
    return {}


def _idle(name: str) -> Record:
    record = store.find("Endpoint", name)
    if record["EndpointStatus"] in ("Creating", "Updating"):
        raise invalid(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
    return record


def _deploy_later(record: Record, status: str, config: Record) -> Record:
    api.change("Endpoint", record, status)
    store.work(record["EndpointArn"], _deploy, record, config)
    return {"EndpointArn": record["EndpointArn"]}


def _deploy(record: Record, config: Record) -> None:
    """Start a configuration's container, then exchange it for the one that serves; a failure leaves that be."""
    arn = record["EndpointArn"]
    try:
        fresh = _start(record["EndpointName"], config["ProductionVariants"][0])
        fresh.await_ping()
    except SageMakerError as error:
        api.change("Endpoint", record, "InService" if arn in _live else "Failed", FailureReason=str(error)[:1024])
        return
    with _traffic:
        old = _live.get(arn)
        _live[arn] = fresh
    record.pop("FailureReason", None)
    shown = {"EndpointConfigName": config["EndpointConfigName"], "ProductionVariants": [{"VariantName": fresh.variant}]}
    api.change("Endpoint", record, "InService", **shown)
    if old:
        old.retire()


def _start(endpoint: str, variant: Record) -> Server:
    """Start a variant's container with its model, or its model package's, below /opt/ml/model."""
    part = store.find("Model", variant["ModelName"])["PrimaryContainer"]
    if package := part.get("ModelPackageName"):
        part = store.find("ModelPackage", package)["InferenceSpecification"]["Containers"][0] | part
    base = containers.fresh_folder("endpoints", endpoint, str(time.time_ns()))
    (base / "model").mkdir()
    if uri := part.get("ModelDataUrl"):
        containers.unpack(uri, base / "model")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = part.get("Environment", {}) | {"SAGEMAKER_BIND_TO_PORT": str(port)}
    log = f"/aws/sagemaker/Endpoints/{endpoint}", f"{variant['VariantName']}/{base.name}"
    return Server(variant["VariantName"], containers.start(part["Image"], ["serve"], environment, base, log), port)


async def invoke(path: str, headers: dict[str, str], body: bytes) -> Answer:
    """Answer InvokeEndpoint with what the endpoint's container answers, or a ModelError."""
    name, _, action = unquote(path).removeprefix("/endpoints/").partition("/")
    other = [key for key in headers if key.startswith("x-amzn-sagemaker-")]
    if other or action != "invocations":
        message = f"SageMaker Runtime {' '.join([path, *other])} is not in local/hooks/sagemaker."
        return failure("ValidationError", message)
    arn = store.arn("Endpoint", name)
    with _traffic:
        if server := _live.get(arn):
            server.busy += 1
    if not server:
        return failure("ValidationError", f"Endpoint {name} of account {arn.split(':')[4]} not found.")
    passed = {key: value for key, value in headers.items() if key in ("content-type", "accept")}
    try:
        status, answer, payload = await run_reentrant(server.request, "POST", "/invocations", passed, body)
    except (OSError, http.client.HTTPException) as error:
        status, answer, payload = 500, {}, repr(error).encode()
    finally:
        with _traffic:
            server.busy -= 1
    if status >= 300:
        text = payload.decode(errors="replace")
        message = f'Received {"server" if status >= 500 else "client"} error ({status}) with message "{text}".'
        return failure("ModelError", message, 424, OriginalStatusCode=status, OriginalMessage=text)
    # In lower case: MiniStack rewrites a "Content-Type" to what the control plane's protocol has.
    own = {"content-type": answer["Content-Type"]} if "Content-Type" in answer else {}
    return 200, {**own, "x-amzn-invoked-production-variant": server.variant}, payload


def clear() -> None:
    """Forget every endpoint's container; containers.end_all ends it."""
    with _traffic:
        _live.clear()
