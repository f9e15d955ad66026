"""Schema versions of events for the registry: Avro, by the columns of the raw tables and their day.

A version, once registered, is never edited: schemas/registry/<event>/1.json, 2.json and so on are committed. A test
holds the newest to the columns and the transform's contract, and each to the one before, as the registry will.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from schemas.flights import Column

FOLDER = Path(__file__).parent / "registry"
_TYPES = {"string": "string", "int": "int", "double": "double"}


def record(name: str, columns: Sequence[Column], optional: Collection[str]) -> dict[str, Any]:
    """An event as an Avro record; an optional field is null where it is unknown."""
    fields: list[dict[str, Any]] = []
    for column, glue_type in columns:
        kind = _TYPES[glue_type]
        fields.append(
            {"name": column, "type": ["null", kind], "default": None}
            if column in optional
            else {"name": column, "type": kind}
        )
    return {"type": "record", "name": name, "namespace": "millrace", "fields": fields}


def versions(event: str) -> list[str]:
    """The registered definitions of an event, oldest first. Raises FileNotFoundError when a number is left out."""
    count = len(list((FOLDER / event).glob("*.json")))
    return [(FOLDER / event / f"{number}.json").read_text() for number in range(1, count + 1)]


def text(definition: dict[str, Any]) -> str:
    """A definition as it is committed and registered."""
    return json.dumps(definition, indent=1) + "\n"
