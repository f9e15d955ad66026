"""Schema versions of events for the registry: Avro, by the columns of the raw tables and their day.

A version, once registered, is never edited: schemas/registry/<event>/1.json, 2.json and so on are committed. A test
holds the newest to the contract, and each to the one before, as the registry will.
"""

import json
from pathlib import Path
from typing import Any

from contracts.events import CONTRACTS
from schemas.flights import PARTITION_KEYS, raw_columns

FOLDER = Path(__file__).parent / "registry"


def record(event: str) -> dict[str, Any]:
    """An event's contract as an Avro record; an optional field is null where it is unknown."""
    contract = CONTRACTS[event]
    optional = {field.name for field in contract.fields if not field.required}
    fields = [
        {"name": name, "type": ["null", kind], "default": None} if name in optional else {"name": name, "type": kind}
        for name, kind in [*raw_columns(contract), *PARTITION_KEYS]  # whose types have the same names in Avro
    ]
    return {"type": "record", "name": event, "namespace": "millrace", "fields": fields}


def versions(event: str) -> list[str]:
    """The registered definitions of an event, oldest first. Raises FileNotFoundError when a number is left out."""
    count = len(list((FOLDER / event).glob("*.json")))
    return [(FOLDER / event / f"{number}.json").read_text() for number in range(1, count + 1)]


def text(definition: dict[str, Any]) -> str:
    """A definition as it is committed and registered."""
    return json.dumps(definition, indent=1) + "\n"
