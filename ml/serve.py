"""The endpoint: GET /ping and POST /invocations on raw ASGI, answered by ONNX Runtime.

POST /invocations takes rows as `ml.requests` describes them and answers {"late_probability": p} a line, in their order.
A request it can't answer gets 400 with {"error": the row and the field}. Without a model in /opt/ml/model it answers
the base rate.
"""

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from ml import contract, model
from ml.requests import JSON, JSON_LINES, BadRequest, columns, media_type, parse

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]
Answer = tuple[int, str, bytes]


def app(predictor: model.Predictor) -> App:
    """The ASGI application that answers with `predictor`."""

    async def answer(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if path == "/ping" and method == "GET":
            status, content_type, body = 200, JSON, b"{}"
        elif path == "/invocations" and method == "POST":
            status, content_type, body = invoke(predictor, await _body(receive), _content_type(scope))
        else:
            status, content_type, body = _error(404, f"{method} {path}: there are GET /ping and POST /invocations")
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def invoke(predictor: model.Predictor, body: bytes, content_type: str) -> Answer:
    """Status, content type and body of the answer to one request."""
    if media_type(content_type) not in (JSON, JSON_LINES):
        return _error(415, f"content type {content_type!r}: send {JSON_LINES} or {JSON}")
    try:
        values = columns(parse(body, content_type), predictor.columns)
    except BadRequest as error:
        return _error(400, str(error))
    lines = (f'{{"late_probability": {probability:.7g}}}\n' for probability in predictor.predict(values))
    return 200, JSON_LINES, "".join(lines).encode()


def _error(status: int, message: str) -> Answer:
    return status, JSON, json.dumps({"error": message}).encode()


def _content_type(scope: dict[str, Any]) -> str:
    """The request's content type; SageMaker's default is application/octet-stream."""
    found: bytes = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return found.decode("latin-1")


async def _body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):  # the end, or a client that has gone
            return b"".join(chunks)


def main() -> None:
    """Load the model and serve until SIGTERM. Raises FileNotFoundError for a broken model, so that no /ping passes."""
    predictor = model.load(contract.path(contract.MODEL))
    uvicorn.run(
        app(predictor),
        host="0.0.0.0",  # noqa: S104  # SageMaker calls from outside the container
        port=int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")),
        lifespan="off",
        access_log=False,
        log_level="info",
    )


if __name__ == "__main__":
    main()
