"""Reads a record that is a line of CSV as the event it stands for. No AWS."""

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

from contracts.events import EVENT_ID, ID, Contract

_NULLS = ("", "NA")
# As JSON writes a number: no sign but a minus, no leading zero, no NaN.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
# A record is CSV if it starts with an event id, in quotes or not, or nothing, and a comma. No JSON text does.
_START = re.compile(rb'("?)((?:%s)?)\1,' % ID.pattern.encode())


class BrokenCsvError(ValueError):
    """A record that starts as CSV and is no event's line; the message says why."""


def is_csv(data: bytes) -> bool:
    """Whether a record's bytes are to be read as CSV, else as JSON."""
    return _START.match(data) is not None


def id_of(data: bytes) -> str | None:
    """Return what stands where a line has its event's id, if that can be one; a best effort, for quarantine."""
    found = _START.match(data)
    text = found[2].decode() if found else ""
    return None if text in (*_NULLS, EVENT_ID.name) else text


def event_of(data: bytes, contract: Contract) -> dict[str, Any]:
    """Return the event of a line whose columns are the contract's fields in order, or in that of a header before it.

    An empty column or NA is null. A numeric field's column is a number if JSON would take it for one, else it stays
    text. Raises BrokenCsvError for all that is not one line.
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True) if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise BrokenCsvError(f"the record is no CSV: {error}") from None
    names: Sequence[str] = contract.names
    if EVENT_ID.name in rows[0]:
        names = rows.pop(0)
        if len(set(names)) != len(names):
            raise BrokenCsvError("a column occurs twice in the header")
    if len(rows) != 1:
        raise BrokenCsvError(f"the record has {len(rows)} lines besides a header, an event is one")
    if len(rows[0]) != len(names):
        raise BrokenCsvError(f"the line has {len(rows[0])} columns, not the {len(names)} of {','.join(names)}")
    texts = {field.name for field in contract.fields if field.types == (str,)}
    return {
        name: value if name in texts and value not in _NULLS else _scalar(value)
        for name, value in zip(names, rows[0], strict=True)
    }


def _scalar(value: str) -> Any:
    if value in _NULLS:
        return None
    if not _NUMBER.fullmatch(value):
        return value
    try:
        return json.loads(value)
    except ValueError:  # past Python's limit of 4,300 digits
        return value
