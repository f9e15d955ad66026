"""Calls of AWS found in Python source: every way to write one, and every way that can't be followed."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from checks.calls.modules import Code
from checks.calls.source import Reading, read

IMPORTS = "import boto3\n"
FORMS = {
    "a client in a module's global": "s3 = boto3.client('s3')\ndef handler(event, context):\n"
    "    s3.put_object(Bucket='b')",
    "a client of a session": "boto3.Session(region_name='x').client('s3').put_object()",
    "an imported constructor": "from boto3 import client\nclient('s3').put_object()",
    "a constant that names the service": "SERVICE = 's3'\nboto3.client(SERVICE).put_object()",
    "a keyword that names the service": "boto3.client(service_name='s3').put_object()",
    "an argument": "def put(to):\n    to.put_object()\nput(boto3.client('s3'))",
    "a default": "def put(to=boto3.client('s3')):\n    to.put_object()",
    "a keyword argument": "def put(*, to):\n    to.put_object()\nput(to=boto3.client('s3'))",
    "starred arguments": "def put(a, to):\n    to.put_object()\nput(*[1, boto3.client('s3')])",
    "a helper that makes clients": "def client(name):\n    return boto3.client(name)\nclient('s3').put_object()",
    "a cached helper": "import functools\n@functools.cache\ndef s3():\n"
    "    return boto3.client('s3')\ns3().put_object()",
    "an attribute": "class A:\n    def __init__(self, c=None):\n        self.c = c or boto3.client('s3')\n"
    "    def put(self):\n        self.c.put_object()",
    "an attribute of a base": "class A:\n    def __init__(self, c):\n        self.c = c\n"
    "class B(A):\n    def __init__(self):\n"
    "        super().__init__(boto3.client('s3'))\n    def put(self):\n        self.c.put_object()",
    "a property": "class A:\n    @property\n    def c(self):\n        return boto3.client('s3')\nA().c.put_object()",
    "a dataclass": "from dataclasses import dataclass\n@dataclass\nclass A:\n    c: object\n"
    "A(boto3.client('s3')).c.put_object()",
    "a default factory": "from dataclasses import dataclass, field\n@dataclass\nclass A:\n"
    "    c: object = field(default_factory=lambda: boto3.client('s3'))\nA().c.put_object()",
    "a dictionary": "clients = {'a': boto3.client('s3')}\nclients['a'].put_object()",
    "an entry that is added": "clients = {}\nclients['a'] = boto3.client('s3')\nclients['a'].put_object()",
    "a loop": "for c in [boto3.client('s3')]:\n    c.put_object()",
    "a comprehension": "[c.put_object() for c in [boto3.client('s3')]]",
    "with": "import contextlib\nwith contextlib.closing(boto3.client('s3')) as c:\n    c.put_object()",
    "a walrus": "if c := boto3.client('s3'):\n    c.put_object()",
    "a global statement": "c = None\ndef begin():\n    global c\n    c = boto3.client('s3')\n"
    "def put():\n    c.put_object()",
    "a closure": "def outer():\n    c = boto3.client('s3')\n    def inner():\n        c.put_object()\n    return inner",
    "a thread pool": "def put(c):\n    c.put_object()\npool.submit(put, boto3.client('s3'))",
    "a pool of a library": "from concurrent.futures import ThreadPoolExecutor\ndef put(k, c):\n    c.put_object()\n"
    "ThreadPoolExecutor().submit(put, 1, boto3.client('s3'))",
    "a thread": "import threading\ndef put(c):\n    c.put_object()\n"
    "threading.Thread(target=put, args=(boto3.client('s3'),))",
    "a bound method": "from functools import partial\nput = partial(boto3.client('s3').put_object, Bucket='b')",
    "getattr with a constant": "getattr(boto3.client('s3'), 'put_object')()",
    "a presigned URL": "boto3.client('s3').generate_presigned_url('put_object')",
    "a resource": "boto3.resource('s3').Bucket('b').put_object()",
    "a resource's client": "boto3.resource('s3').meta.client.put_object()",
    "a resource of a resource": "boto3.resource('s3').Bucket('b').Object('k').put()",
    "async": "import aioboto3\nasync def put():\n"
    "    async with aioboto3.Session().client('s3') as c:\n        await c.put_object()",
}
MORE = {
    "a paginator": ("boto3.client('s3').get_paginator('list_objects_v2').paginate()", "ListObjectsV2"),
    "a waiter": ("boto3.client('s3').get_waiter('object_exists').wait()", "HeadObject"),
    "a collection": ("[o for o in boto3.resource('s3').Bucket('b').objects.all()]", "ListObjects"),
    "an action on a collection": ("boto3.resource('s3').Bucket('b').objects.all().delete()", "DeleteObjects"),
    "an attribute that is loaded": ("print(boto3.resource('s3').Object('b', 'k').content_length)", "HeadObject"),
    "a resource's waiter": ("boto3.resource('s3').Bucket('b').wait_until_exists()", "HeadBucket"),
    "a transfer": ("boto3.client('s3').upload_fileobj(f, 'b', 'k')", "upload_file"),
    "a table's writer": ("boto3.resource('dynamodb').Table('t').batch_writer()", "BatchWriteItem"),
}
UNRESOLVED = {
    "a chosen operation": (
        "s3 = boto3.client('s3')\nname = input()\ngetattr(s3, name)()",
        "only running it would tell",
    ),
    "a chosen service": ("import os\nboto3.client(os.environ['SERVICE'])", "only running it would tell"),
    "an unknown service": ("boto3.client('s4')", "'s4'"),
    "an unknown operation": ("boto3.client('s3').put_objet()", "put_objet, which no client of s3 has"),
    "a chosen paginator": ("boto3.client('s3').get_paginator(input())", "get_paginator of s3"),
    "a client from nowhere": ("def f(client):\n    client.put_object()", "put_object of something unknown"),
    "a client given away": ("import lib\nlib.copy(boto3.client('s3'))", "hands a client of s3 to lib.copy"),
    "a client given to a callback": ("def f(work):\n    work(boto3.client('s3'))", "hands a client of s3"),
    "code chosen at run time": ("exec(input())", "chosen at run time"),
    "a library that calls AWS": ("import awswrangler as wr\nwr.s3.read_parquet('s3://b/k')", "awswrangler"),
    "a path that names S3": ("import pandas as pd\npd.read_parquet(f's3://{b}/k')", "pandas.read_parquet"),
    "broken Python": ("def (", "can't be read"),
    "a null byte": ("\0", "can't be read"),
}


def found(tmp_path: Path, source: str, **others: str) -> Reading:
    """What is found in a handler of this source, with other modules beside it."""
    for name, text in {"handler": source, **others}.items():
        (tmp_path / f"{name}.py").write_text(text)
    return read(Code((tmp_path,), "handler", "handler"))


def operations(reading: Reading) -> set[str]:
    """service:operation of every call, which must all be resolved."""
    assert not reading.problems
    return {f"{call.service}:{call.operation}" for call in reading.calls}


@pytest.mark.parametrize("form", FORMS)
def test_a_call_is_found_however_it_is_written(form: str, tmp_path: Path) -> None:
    assert operations(found(tmp_path, IMPORTS + FORMS[form])) == {"s3:PutObject"}


@pytest.mark.parametrize("form", MORE)
def test_a_method_that_calls_another_operation_is_found(form: str, tmp_path: Path) -> None:
    source, operation = MORE[form]
    assert operation in {call.operation for call in found(tmp_path, IMPORTS + source).calls}


@pytest.mark.parametrize("form", UNRESOLVED)
def test_a_call_that_cannot_be_resolved_is_a_problem(form: str, tmp_path: Path) -> None:
    source, reason = UNRESOLVED[form]
    problems = found(tmp_path, IMPORTS + source).problems
    assert any(reason in problem.message for problem in problems), problems


@pytest.mark.parametrize(
    ("items", "kinds"),
    [
        ("[{'Put': w(x)} for x in y]", {".Put"}),
        ("[{'Put': {}}, {'Update': {}}]", {".Put", ".Update"}),
        ("[{'Put': {}}, other]", {""}),
        ("items", {""}),
        ("[{kind: {}}]", {""}),
    ],
)
def test_the_kinds_of_writes_in_a_transaction_are_read_or_all_are_taken(
    items: str, kinds: set[str], tmp_path: Path
) -> None:
    reading = found(tmp_path, f"{IMPORTS}boto3.client('dynamodb').transact_write_items(TransactItems={items})")
    assert operations(reading) == {f"dynamodb:TransactWriteItems{kind}" for kind in kinds}


def test_helpers_that_make_several_clients_are_told_apart(tmp_path: Path) -> None:
    source = "def make(name):\n    return boto3.client(name)\nmake('s3').put_object()\nmake('sqs').tag_queue()"
    assert operations(found(tmp_path, IMPORTS + source)) == {"s3:PutObject", "sqs:TagQueue"}


def test_a_call_in_an_imported_module_is_named_by_its_own_file_and_line(tmp_path: Path) -> None:
    store = "import boto3\n\n\ndef put():\n    boto3.client('s3').put_object()\n"
    (call,) = found(tmp_path, "from store import put\n", store=store, unused=IMPORTS + FORMS["a walrus"]).calls
    assert (call.place.path.name, call.place.line) == ("store.py", 5)


def test_relative_imports_of_a_package_are_followed(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("from .store import put\n")
    (tmp_path / "package" / "store.py").write_text("import boto3\nput = boto3.client('s3').put_object\n")
    assert operations(found(tmp_path, "import package\npackage.put()")) == {"s3:PutObject"}


def test_libraries_installed_beside_the_code_are_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "lib-1.0.dist-info").mkdir()
    (tmp_path / "lib-1.0.dist-info" / "RECORD").write_text("lib/__init__.py,,\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text(IMPORTS + "boto3.client('s3').put_object()")
    assert operations(found(tmp_path, "import lib\nlib.work()")) == set()


def test_what_is_no_call_of_aws_is_not_taken_for_one(tmp_path: Path) -> None:
    source = (
        "import json\ndef handler(event, context):\n    context.get_remaining_time_in_millis()\n    json.dumps(event)"
    )
    assert operations(found(tmp_path, IMPORTS + source)) == set()


def test_spark_reads_and_writes_on_its_own(tmp_path: Path) -> None:
    source = (
        "from pyspark.sql import SparkSession\ns = SparkSession.builder.getOrCreate()\ns.read.csv('x').write.csv('y')"
    )
    assert operations(found(tmp_path, source)) == {":pyspark().read", ":pyspark().write"}


def test_glue_reads_a_stream_for_spark_and_nothing_else_of_it_is_reviewed(tmp_path: Path) -> None:
    source = "from awsglue.context import GlueContext\nc = GlueContext(None)\n"
    stream = found(tmp_path, source + "c.create_data_frame.from_options(connection_type='kinesis').writeStream")
    assert operations(stream) == {":awsglue().create_data_frame.from_options", ":pyspark().writeStream"}
    assert not stream.problems
    (problem,) = found(tmp_path, source + "c.purge_s3_path('s3://x/')").problems
    assert "awsglue().purge_s3_path calls AWS on its own" in problem.message


def test_what_was_done_is_kept_by_three_calls_and_nothing_else_of_the_layer_is_reviewed(tmp_path: Path) -> None:
    source = (
        "from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer as Layer\nl = Layer('t')\n"
    )
    kept = found(
        tmp_path, source + "l.configure(c)\nl.save_inprogress({})\nl.save_success({}, {})\nl.delete_record({}, e)"
    )
    assert {operation.rpartition(".")[2] for operation in operations(kept)} == {
        "save_inprogress",
        "save_success",
        "delete_record",
    }
    assert not kept.problems
    (problem,) = found(tmp_path, source + "l.get_record({})").problems
    assert "DynamoDBPersistenceLayer().get_record calls AWS on its own" in problem.message


def test_a_missing_entry_module_is_a_problem(tmp_path: Path) -> None:
    (problem,) = read(Code((tmp_path,), "handler")).problems
    assert "there is no handler" in problem.message


NAMES = st.sampled_from(["boto3", "client", "s3", "self", "f", "put_object", "getattr", "A", "x"])
EXPRESSIONS = st.recursive(
    NAMES | st.sampled_from(["'s3'", "None", "1", "'put_object'"]),
    lambda inner: st.one_of(
        st.builds("{}({})".format, inner, inner),
        st.builds("{}.{}".format, NAMES, NAMES),
        st.builds("({}).client({})".format, inner, inner),
        st.builds("[{} for x in {}]".format, inner, inner),
        st.builds("(lambda x: {})({})".format, inner, inner),
    ),
    max_leaves=8,
)
STATEMENTS = st.one_of(
    st.builds("x = {}".format, EXPRESSIONS),
    st.builds("def f(x, s3={}):\n    return {}".format, EXPRESSIONS, EXPRESSIONS),
    st.builds(
        "class A({}):\n    x = {}\n    def f(self):\n        self.x = {}".format, NAMES, EXPRESSIONS, EXPRESSIONS
    ),
    st.builds("global x\nfor x in {}: pass".format, EXPRESSIONS),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(source=st.lists(STATEMENTS, max_size=6).map("\n".join) | st.text())
@example(source="x = " + "(" * 5_000)
@example(source="x = " + "-" * 2_000 + "1")
@example(source="x" + ".x" * 3_000)
@example(source="class A(A): pass\nA().f()")
@example(source="for x in x, x.a, x.b, x.c, x(), boto3: pass")
def test_any_source_is_read_without_a_crash(source: str, tmp_path: Path) -> None:
    reading = read(Code((tmp_path,), "index", inline=IMPORTS + source))
    assert all(each.place.line >= 1 for each in reading.calls | reading.problems)
