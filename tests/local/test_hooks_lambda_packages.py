"""A function that brings packages built for Lambda runs on this machine's own."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import PIL

HANDLER = """
import PIL
import own

def handler(event, context):
    return {"version": PIL.__version__, "own": own.NAME}
"""


def test_a_function_gets_this_machines_packages_and_its_own_modules(client: Callable[[str], Any]) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("handler.py", HANDLER)
        archive.writestr("own.py", "NAME = 'a module of the function'")
        archive.writestr("PIL/__init__.py", "raise ImportError('built for another processor')")
    functions = client("lambda")
    functions.create_function(
        FunctionName="packages",
        Runtime="python3.14",
        Role="arn:aws:iam::000000000000:role/none",
        Handler="handler.handler",
        Code={"ZipFile": code.getvalue()},
    )
    answer = json.loads(functions.invoke(FunctionName="packages")["Payload"].read())
    functions.delete_function(FunctionName="packages")
    assert answer == {"version": PIL.__version__, "own": "a module of the function"}
