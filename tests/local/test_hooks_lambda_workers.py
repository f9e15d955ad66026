"""A function brings packages built for Lambda and runs on this machine's own; its code is changed while it answers."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import PIL
import pytest

from demo.platform import wait_for

Client = Callable[[str], Any]
HANDLER = """
import PIL
import own

def handler(event, context):
    return {"version": PIL.__version__, "own": own.NAME}
"""
# Says that it has begun, and answers once it may.
WAITS = """
import time
import boto3

s3 = boto3.client("s3")

def handler(event, context):
    s3.put_object(Bucket="answers", Key="begun")
    while not s3.list_objects_v2(Bucket="answers", Prefix="may-answer")["KeyCount"]:
        time.sleep(0.05)
    return "the code it began with"
"""
ANSWERS = """
def handler(event, context):
    return "the new code"
"""


def code(handler: str, files: dict[str, str] | None = None) -> bytes:
    """A function's archive."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in {"handler.py": handler, **(files or {})}.items():
            archive.writestr(name, text)
    return made.getvalue()


@pytest.fixture
def answer(client: Client, request: pytest.FixtureRequest) -> Iterator[Callable[[bytes], Any]]:
    """Deploys code as the function of this test, at first or in place of what it had, and answers with its answer."""
    functions, name = client("lambda"), request.node.name[:64]

    def deploy(archive: bytes) -> None:
        role = "arn:aws:iam::000000000000:role/none"
        if deployed:
            functions.update_function_code(FunctionName=name, ZipFile=archive)
            functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        else:
            functions.create_function(
                FunctionName=name, Runtime="python3.14", Role=role, Handler="handler.handler", Timeout=60,
                Code={"ZipFile": archive},
            )  # fmt: skip
            deployed.append(name)

    def call(archive: bytes) -> Any:
        deploy(archive)
        answered = functions.invoke(FunctionName=name)
        assert "FunctionError" not in answered, answered["Payload"].read()
        return json.loads(answered["Payload"].read())

    deployed: list[str] = []
    yield call
    functions.delete_function(FunctionName=name)


def test_a_function_gets_this_machines_packages_and_its_own_modules(answer: Callable[[bytes], Any]) -> None:
    files = {
        "own.py": "NAME = 'a module of the function'",
        "PIL/__init__.py": "raise ImportError('built for another processor')",
    }
    assert answer(code(HANDLER, files)) == {"version": PIL.__version__, "own": "a module of the function"}


def test_what_answers_when_its_code_changes_ends_as_it_began(client: Client, answer: Callable[[bytes], Any]) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="answers")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(answer, code(WAITS))
        try:
            began = wait_for("call", "begin", lambda: s3.list_objects_v2(Bucket="answers").get("Contents"), seconds=60)
            assert [item["Key"] for item in began] == ["begun"]
            assert answer(code(ANSWERS)) == "the new code"
            assert not first.done()
        finally:
            s3.put_object(Bucket="answers", Key="may-answer")
        assert first.result() == "the code it began with"
