"""Endpoints: a `serve` container for each production variant, exchanged blue/green, and InvokeEndpoint."""

import http.client
import random
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ministack.core.concurrency import run_reentrant, spawn_background

from local.hooks.sagemaker import api, containers, store
from local.hooks.sagemaker.api import Answer, failure, operation
from local.hooks.sagemaker.containers import ContainerError
from local.hooks.sagemaker.store import Record, SageMakerError, invalid

STARTUP_SECONDS = 60  # unless the variant has a ContainerStartupHealthCheckTimeoutInSeconds
MODEL_SECONDS = 60  # AWS's limit on a container's answer
DRAIN_SECONDS = 60.0


@dataclass(eq=False)
class Variant:
    """A production variant's container. Instance counts have no effect: it is one."""

    settings: Record
    container: containers.Container
    port: int
    busy: int = 0  # requests under way

    def retire(self) -> None:
        """Stop it once the requests under way are answered."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.busy and time.monotonic() < deadline:
            time.sleep(0.02)
        self.container.stop()

    def request(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any, bytes]:
        """Status, headers and body of an HTTP exchange. Each has its own connection: a kept one may be closing."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=MODEL_SECONDS)
        try:
            connection.request(method, path, body, {**headers, "Connection": "close"})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def await_ping(self) -> None:
        """Return once GET /ping answers 200. Raises ContainerError when the container ends or takes too long."""
        limit = self.settings.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_SECONDS)
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline and self.container.process.poll() is None:
            try:
                if self.request("GET", "/ping", {}, b"")[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass  # it isn't listening yet
            time.sleep(0.05)
        self.container.stop()
        raise ContainerError(
            f"The primary container for production variant {self.settings['VariantName']} did not "
            "pass the ping health check. Its log ends with:\n" + "\n".join(self.container.tail)
        )


_traffic = threading.Lock()  # held while a request picks its variant, and while variants are exchanged
_live: dict[str, list[Variant]] = {}  # endpoint ARN -> its variants
_deploying: dict[str, threading.Thread] = {}


@operation("CreateEndpointConfig")
def create_endpoint_config(request: Record) -> Record:
    """Store an endpoint configuration; its models must be there."""
    for variant in request["ProductionVariants"]:
        store.find("Model", variant.get("ModelName", ""))
    record = store.create("EndpointConfig", request["EndpointConfigName"], request)
    return {"EndpointConfigArn": record["EndpointConfigArn"]}


@operation("CreateEndpoint")
def create_endpoint(request: Record) -> Record:
    """Start an endpoint; some time later it is InService or Failed."""
    store.find("EndpointConfig", request["EndpointConfigName"])
    record = store.create("Endpoint", request["EndpointName"], request)
    return _deploy_later(record, "Creating", request["EndpointConfigName"])


@operation("UpdateEndpoint")
def update_endpoint(request: Record) -> Record:
    """Move an endpoint to another configuration: the old containers answer until the new ones do."""
    config = request["EndpointConfigName"]
    store.find("EndpointConfig", config)
    with store.lock:
        record = _idle(request["EndpointName"])
        if config == record["EndpointConfigName"]:
            raise invalid("You cannot update an endpoint with the current EndpointConfig. Create a new one.")
        return _deploy_later(record, "Updating", config)


@operation("DeleteEndpoint")
def delete_endpoint(request: Record) -> Record:
    """Remove an endpoint and stop its containers."""
    with store.lock:
        record = _idle(request["EndpointName"])
        store.delete("Endpoint", record["EndpointArn"])
    api.status("Endpoint", record, "Deleting")
    with _traffic:
        variants = _live.pop(record["EndpointArn"], [])
    for variant in variants:
        spawn_background(variant.retire, thread_name="sagemaker-retire")
    return {}


def _idle(name: str) -> Record:
    record = store.find("Endpoint", name)
    if record["EndpointStatus"] in ("Creating", "Updating"):
        raise invalid(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
    return record


def _deploy_later(record: Record, status: str, config: str) -> Record:
    api.status("Endpoint", record, status)
    arn = record["EndpointArn"]
    _deploying[arn] = spawn_background(_deploy, record, config, thread_name="sagemaker-deploy")
    return {"EndpointArn": arn}


def settled(arn: str) -> Record:
    """An endpoint's record, once what is under way with it has ended. Raises ResourceNotFound."""
    record = store.find("Endpoint", arn)
    _deploying[arn].join()
    return record


def _deploy(record: Record, config: str) -> None:
    """Start a configuration's containers, then exchange them for those that serve; a failure leaves these be."""
    arn: str = record["EndpointArn"]
    fresh: list[Variant] = []
    try:
        for settings in store.find("EndpointConfig", config)["ProductionVariants"]:
            fresh.append(_start(record["EndpointName"], settings))
        for variant in fresh:
            variant.await_ping()
    except (ContainerError, SageMakerError) as error:
        for variant in fresh:
            variant.container.stop()
        api.status("Endpoint", record, "InService" if arn in _live else "Failed", FailureReason=str(error)[:1024])
        return
    with _traffic:
        old = _live.get(arn, [])
        _live[arn] = fresh
    record.pop("FailureReason", None)
    names = {
        "InitialVariantWeight": "CurrentWeight",
        "InitialInstanceCount": "CurrentInstanceCount",
        "ServerlessConfig": "CurrentServerlessConfig",
        "VariantName": "VariantName",
    }
    shown = [{names[key]: value for key, value in variant.settings.items() if key in names} for variant in fresh]
    api.status("Endpoint", record, "InService", EndpointConfigName=config, ProductionVariants=shown)
    for variant in old:
        variant.retire()


def _start(endpoint: str, settings: Record) -> Variant:
    """Start a variant's container with its model, or its model package's, below /opt/ml/model."""
    model = store.find("Model", settings["ModelName"])
    own = (model.get("Containers") or [model["PrimaryContainer"]])[0]
    package = own.get("ModelPackageName")
    part = store.find("ModelPackage", package)["InferenceSpecification"]["Containers"][0] if package else own
    base = containers.fresh_folder("endpoints", endpoint, f"{settings['VariantName']}-{time.time_ns()}")
    (base / "model").mkdir()
    if uri := part.get("ModelDataUrl"):
        containers.unpack(uri, base / "model")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = part.get("Environment", {}) | own.get("Environment", {}) | {"SAGEMAKER_BIND_TO_PORT": str(port)}
    log = f"/aws/sagemaker/Endpoints/{endpoint}", f"{settings['VariantName']}/{base.name}"
    return Variant(settings, containers.start(part["Image"], ["serve"], environment, base, log), port)


def _pick(arn: str, target: str | None) -> Variant | None:
    """The variant for a request, by weight or by name, counted as busy; None when there is none."""
    with _traffic:
        variants = [variant for variant in _live.get(arn, ()) if target in (None, variant.settings["VariantName"])]
        weights = [variant.settings.get("InitialVariantWeight", 1.0) for variant in variants]
        picked = random.choices(variants, weights if any(weights) else None)[0] if variants else None  # noqa: S311
        if picked:
            picked.busy += 1
        return picked


async def invoke(path: str, headers: dict[str, str], body: bytes) -> Answer:
    """Answer InvokeEndpoint with what the endpoint's container answers, or a ModelError."""
    name, _, action = unquote(path).removeprefix("/endpoints/").partition("/")
    if action != "invocations":
        return failure("ValidationError", f"SageMaker Runtime {path} is not in local/hooks/sagemaker.")
    arn, target = store.arn("Endpoint", name), headers.get("x-amzn-sagemaker-target-variant")
    variant = _pick(arn, target)
    if variant is None:
        return failure(
            "ValidationError",
            f"Endpoint {name}{f' variant {target}' if target else ''} of account {arn.split(':')[4]} not found.",
        )
    passed = {
        key: value
        for key, value in headers.items()
        if key in ("content-type", "accept") or key.startswith("x-amzn-sagemaker-")
    }
    try:
        status, answer, payload = await run_reentrant(variant.request, "POST", "/invocations", passed, body)
    except (OSError, http.client.HTTPException) as error:
        status, answer, payload = 500, {}, repr(error).encode()
    finally:
        variant.busy -= 1
    if status >= 300:
        text = payload.decode(errors="replace")
        side = "server" if status >= 500 else "client"
        return failure(
            "ModelError",
            f'Received {side} error ({status}) from primary with message "{text}".',
            424,
            OriginalStatusCode=status,
            OriginalMessage=text,
        )
    # In lower case: MiniStack rewrites a "Content-Type" to what the control plane's protocol has.
    own = {
        key.lower(): value
        for key, value in answer.items()
        if key.lower() in ("content-type", "x-amzn-sagemaker-custom-attributes")
    }
    return 200, {**own, "x-amzn-invoked-production-variant": variant.settings["VariantName"]}, payload


def clear() -> None:
    """Forget every endpoint's containers; containers.kill_all ends them."""
    with _traffic:
        _live.clear()
