"""Endpoints: one production variant's `serve` container, exchanged blue/green, and InvokeEndpoint."""

import contextlib
import http.client
import threading
import time
from dataclasses import dataclass
from urllib.parse import unquote

from ministack.core.concurrency import run_reentrant, spawn_background

from local import tools
from local.hooks import Answer
from local.hooks.sagemaker import api, containers, store
from local.hooks.sagemaker.api import failure, operation
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

    def request(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body of an answer. Each has its own connection: a kept one may be closing."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=MODEL_SECONDS)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.getheader("Content-Type", ""), response.read()

    def await_ping(self) -> None:
        """Return once GET /ping answers 200. Raises SageMakerError when the container ends or takes too long."""
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline and self.container.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):  # it isn't listening yet
                if self.request("GET", "/ping", {}, b"")[0] == 200:
                    return
            time.sleep(0.05)
        self.container.end()
        raise SageMakerError(
            "ClientError",
            f"The primary container for production variant {self.variant} did not pass the ping health check. "
            "Its log ends with:\n" + "\n".join(self.container.tail),
        )


_traffic = threading.Lock()  # held while a request picks its server, and while servers are exchanged
_live: dict[str, Server] = {}  # by endpoint ARN


@operation("CreateEndpointConfig", "EndpointConfigName ProductionVariants KmsKeyId Tags")
def create_endpoint_config(request: Record) -> Record:
    """Store an endpoint configuration; its model must be there."""
    if len(request["ProductionVariants"]) > 1:
        raise invalid("CreateEndpointConfig: the local cloud serves one production variant.")
    store.find("Model", request["ProductionVariants"][0].get("ModelName", ""))
    return store.create("EndpointConfig", request["EndpointConfigName"], request)


@operation("CreateEndpoint", "EndpointName EndpointConfigName Tags")
def create_endpoint(request: Record) -> Record:
    """Start an endpoint; some time later it is InService or Failed."""
    config = store.find("EndpointConfig", request["EndpointConfigName"])
    return _deploy_later(store.create("Endpoint", request["EndpointName"], request), "Creating", config)


@operation("UpdateEndpoint", "EndpointName EndpointConfigName")
def update_endpoint(request: Record) -> Record:
    """Move an endpoint to another configuration: the old container answers until the new one does."""
    config = store.find("EndpointConfig", request["EndpointConfigName"])
    return _deploy_later(store.settled("Endpoint", request["EndpointName"]), "Updating", config)


@operation("DeleteEndpoint", "EndpointName")
def delete_endpoint(request: Record) -> Record:
    """Remove an endpoint, once what is under way with it has ended, and end its container."""
    record = store.delete("Endpoint", store.settled("Endpoint", request["EndpointName"])["EndpointArn"])
    api.change("Endpoint", record, "Deleting")
    with _traffic:
        server = _live.pop(record["EndpointArn"], None)
    if server:
        spawn_background(server.retire, thread_name="sagemaker-retire")
    return record


def _deploy_later(record: Record, status: str, config: Record) -> Record:
    """Deploy a configuration on a thread of its own; a failure leaves what serves as it is."""
    arn = record["EndpointArn"]

    def ended(reason: str) -> None:
        api.change("Endpoint", record, "InService" if arn in _live else "Failed", FailureReason=reason or None)

    api.change("Endpoint", record, status)
    store.work(arn, lambda: _deploy(record, config), ended)
    return record


def _deploy(record: Record, config: Record) -> None:
    """Start a configuration's container, then exchange it for the one that serves."""
    fresh = _start(record["EndpointName"], config["ProductionVariants"][0])
    fresh.await_ping()
    with _traffic:
        old = _live.get(record["EndpointArn"])
        _live[record["EndpointArn"]] = fresh
    record["EndpointConfigName"] = config["EndpointConfigName"]
    record["ProductionVariants"] = [{"VariantName": fresh.variant}]
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
    port = tools.free_port()
    environment = part.get("Environment", {}) | {"SAGEMAKER_BIND_TO_PORT": str(port)}
    log = f"/aws/sagemaker/Endpoints/{endpoint}", f"{variant['VariantName']}/{base.name}"
    return Server(variant["VariantName"], containers.start(part["Image"], ["serve"], environment, base, log), port)


async def invoke(path: str, headers: dict[str, str], body: bytes) -> Answer:
    """Answer InvokeEndpoint with what the endpoint's container answers, or a ModelError."""
    name = unquote(path).removeprefix("/endpoints/").removesuffix("/invocations")
    with _traffic:
        if server := _live.get(store.arn("Endpoint", name)):
            server.busy += 1
    if not server:
        return failure("ValidationError", f"Endpoint {name} not found.")
    passed = {key: value for key, value in headers.items() if key in ("content-type", "accept")}
    try:
        status, kind, payload = await run_reentrant(server.request, "POST", "/invocations", passed, body)
    except (OSError, http.client.HTTPException) as error:
        status, kind, payload = 500, "", repr(error).encode()
    finally:
        with _traffic:
            server.busy -= 1
    if status >= 300:
        text = payload.decode(errors="replace")
        message = f"The container answered {status}: {text}"
        return failure("ModelError", message, 424, OriginalStatusCode=status, OriginalMessage=text)
    # In lower case: MiniStack rewrites a "Content-Type" to what the control plane's protocol has.
    return 200, {"content-type": kind, "x-amzn-invoked-production-variant": server.variant}, payload


def clear() -> None:
    """Forget every endpoint's container; containers.end_all ends it."""
    with _traffic:
        _live.clear()
