"""The registry's schemas are the contract's, and each can read what was written by the one before."""

import io
import json
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from typing import Any

import fastavro
import pytest
from fastavro.schema import SchemaParseException

from contracts.events import CONTRACTS
from schemas import avro

VALUES = {"string": "x", "int": 1, "double": 1.5}

Schema = dict[str, Any]


def readable(new: Schema, old: Schema) -> bool:
    """Whether `new` reads what `old` wrote, all known and nothing optional known: BACKWARD in the registry."""
    for known in (True, False):
        row = {field["name"]: value(field["type"], known) for field in old["fields"]}
        file = io.BytesIO()
        fastavro.schemaless_writer(file, deepcopy(old), row)
        file.seek(0)
        try:
            fastavro.schemaless_reader(file, deepcopy(old), deepcopy(new))
        except (fastavro.read.SchemaResolutionError, SchemaParseException):
            return False
    return True


def value(kind: str | list[str], known: bool) -> Any:
    """A value of an Avro type; None, where it may be, unless it is known."""
    if isinstance(kind, list):
        return VALUES[kind[1]] if known else None
    return VALUES[kind]


@pytest.mark.requirement("cat-glue-catalog")
@pytest.mark.parametrize("event", CONTRACTS)
def test_the_newest_version_is_the_contract(event: str) -> None:
    wanted, known = avro.text(avro.record(event)), avro.versions(event)
    assert known and known[-1] == wanted, f"save this as {avro.FOLDER}/{event}/{len(known) + 1}.json:\n{wanted}"


@pytest.mark.requirement("cat-glue-catalog")
@pytest.mark.parametrize("event", CONTRACTS)
def test_each_version_reads_the_one_before(event: str) -> None:
    known = [json.loads(version) for version in avro.versions(event)]
    for old, new in pairwise(known):
        assert readable(new, old)
    assert readable(known[-1], known[-1])


def changed(change: Callable[[list[Schema]], object]) -> Schema:
    """The newest flights schema with its fields changed."""
    schema: Schema = json.loads(avro.versions("flights")[-1])
    change(schema["fields"])
    return schema


def field(fields: list[Schema], name: str) -> Schema:
    return next(each for each in fields if each["name"] == name)


@pytest.mark.parametrize(
    ("change", "compatible"),
    [
        (lambda fields: fields.append({"name": "gate", "type": ["null", "string"], "default": None}), True),
        (lambda fields: fields.remove(field(fields, "minute")), True),
        (lambda fields: field(fields, "flight").update(type="double"), True),
        (lambda fields: field(fields, "carrier").update(type=["null", "string"], default=None), True),
        (lambda fields: fields.append({"name": "gate", "type": "string"}), False),
        (lambda fields: field(fields, "distance").update(type="int"), False),
        (lambda fields: field(fields, "dep_delay").update(type="double", default=0.0), False),
    ],
    ids=["new optional", "left out", "wider", "now optional", "new required", "narrower", "now required"],
)
def test_an_incompatible_change_is_found_before_the_registry_refuses_it(
    change: Callable[[list[Schema]], object], compatible: bool
) -> None:
    old = json.loads(avro.versions("flights")[-1])
    assert readable(changed(change), old) is compatible
