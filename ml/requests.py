"""The request format: JSON objects of raw values by column, one a line (application/jsonlines) or in one JSON value.

Every column of the model must be there, null where it is unknown; what the model does not use is ignored, so that a
client can send the same row to a model that uses more.
"""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from ml.schema import CALENDAR, Field, weekday

JSON = "application/json"
JSON_LINES = "application/jsonlines"

Row = dict[str, Any]


class BadRequest(ValueError):
    """A request that can't be answered; the message names the row (from 1) and the field."""


def media_type(header: str) -> str:
    """A Content-Type header without its parameters."""
    return header.partition(";")[0].strip().lower()


def parse(body: bytes | str, content_type: str) -> list[Row]:
    """The rows of a request body, which is JSON lines unless its content type is JSON. Raises BadRequest."""
    try:
        text = body.decode() if isinstance(body, bytes) else body
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: {error}") from None
    if media_type(content_type) == JSON:
        value = _json(text, "the body")
        found = value if isinstance(value, list) else [value]
    else:
        # str.splitlines would also split at characters that JSON allows inside a string.
        lines = text.removesuffix("\n").split("\n") if text.strip() else []
        found = [_json(line, f"row {number}") for number, line in enumerate(lines, 1)]
    if not found:
        raise BadRequest("the body has no rows")
    for number, row in enumerate(found, 1):
        if not isinstance(row, dict):
            raise BadRequest(f"row {number}: needs a JSON object of values by field, not {str(row)[:60]!r}")
    return found


def columns(rows: Sequence[Row], fields: Sequence[Field]) -> dict[str, list[Any]]:
    """The rows' values by field, each field's list in the order of the rows. Raises BadRequest."""
    values: dict[str, list[Any]] = {field.name: [] for field in fields}
    for number, row in enumerate(rows, 1):
        for field in fields:
            if field.name not in row:
                raise BadRequest(f"row {number}: field {field.name!r} is missing; send null if it is unknown")
            try:
                values[field.name].append(field.value(row[field.name]))
            except ValueError as error:
                raise BadRequest(f"row {number}: field {field.name!r} {error}") from None
        try:
            weekday(*(values[field.name][-1] for field in CALENDAR))
        except ValueError as error:
            raise BadRequest(f"row {number}: fields 'year', 'month', 'day' make no date: {error}") from None
    return values


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{what} is not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number; send null")
