"""Firehose's record format conversion: JSON records to one Parquet file. MiniStack 1.5.33 converts one at a time."""

import io
import json
from base64 import b64decode
from functools import lru_cache
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.json as pa_json
import pyarrow.parquet as pq
from ministack.services import firehose, glue

from local.hooks.firehose_records import Record

PLAIN_TYPES = {pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float64(), pa.string(), pa.bool_()}
# A half of a surrogate pair, and an integer that no type holds, are found by Python's own errors.
UNFIT = (pa.ArrowException, UnicodeEncodeError, OverflowError)
Failed = list[tuple[Record, firehose._DeliveryError]]


def to_parquet(conversion: dict[str, Any], records: list[Record]) -> tuple[bytes, Failed]:
    """(A Parquet file with the Glue table's columns and types, the records that don't fit them).

    The file is empty bytes when no record fits.
    """
    schema = conversion["SchemaConfiguration"]
    table = glue._tables.get(f"{schema.get('DatabaseName')}/{schema.get('TableName')}") or {}
    columns = tuple((c["Name"], c["Type"]) for c in table.get("StorageDescriptor", {}).get("Columns", []))
    if not columns:
        return b"", [(record, firehose._conversion_error("table")) for record in records]
    target = arrow_schema(columns)
    bodies = [b64decode(record.data) for record in records]
    failed: Failed = []
    out = _flat(bodies, target)
    if out is None:
        out, failed = _one_by_one(records, bodies, target)
    if not out.num_rows:
        return b"", failed
    file = io.BytesIO()
    pq.write_table(out, file, compression="snappy", use_deprecated_int96_timestamps=True)  # Hive's timestamps
    return file.getvalue(), failed


@lru_cache(maxsize=64)
def arrow_schema(columns: tuple[tuple[str, str], ...]) -> pa.Schema:
    """The Arrow schema of (name, Hive type) columns, nested types included."""
    typed = [f'CAST(NULL AS {firehose._hive_to_duckdb_type(kind)}) AS "{name}"' for name, kind in columns]
    with duckdb.connect() as connection:
        return connection.sql(f"SELECT {', '.join(typed)}").to_arrow_table().schema


def _flat(bodies: list[bytes], target: pa.Schema) -> pa.Table | None:
    """The table in one go, which takes a quarter of the time; None unless each record is one plain object that fits.

    Arrow is stricter than Hive about a value's type: what it takes is what one by one would give. What it would take
    otherwise is looked for: a key in other case, objects within objects, or several or none in a record, broken UTF-8.
    """
    if not all(kind in PLAIN_TYPES for kind in target.types):
        return None
    lines = b"\n".join([body.strip() for body in bodies])
    found = {lines.count(b"{"), lines.count(b"\n") + 1, lines.count(b"\n{") + lines.startswith(b"{")}
    if found != {len(bodies)} or b"[" in lines:
        return None
    try:
        table = pa_json.read_json(
            io.BytesIO(lines),
            pa_json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
            pa_json.ParseOptions(explicit_schema=target),
        )
        lines.decode()
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    known = {name.lower() for name in target.names}
    if table.num_rows != len(bodies) or known & {name.lower() for name in table.column_names[len(target) :]}:
        return None
    return table.select(target.names)


def _one_by_one(records: list[Record], bodies: list[bytes], target: pa.Schema) -> tuple[pa.Table, Failed]:
    """(The table of the records that fit, those that don't)."""
    rows: list[tuple[Record, list[Any]]] = []
    failed: Failed = []
    for record, body in zip(records, bodies, strict=True):
        try:
            rows.extend((record, _row(document, target.names)) for document in firehose._json_documents(body))
        except firehose._DeliveryError as error:
            failed.append((record, error))
        except RecursionError:
            failed.append((record, firehose._conversion_error("malformed")))
    try:
        arrays = _arrays([row for _, row in rows], target)
    except UNFIT:
        unfit = [not _fits(row, target) for _, row in rows]
        mismatch = firehose._conversion_error("mismatch")
        failed += [(record, mismatch) for (record, _), bad in zip(rows, unfit, strict=True) if bad]
        rows = [item for item, bad in zip(rows, unfit, strict=True) if not bad]
        arrays = _arrays([row for _, row in rows], target)
    return pa.Table.from_arrays(arrays, schema=target), failed


def _row(document: dict[str, Any], names: list[str]) -> list[Any]:
    """A document's values in the order of the columns, whatever the case of its keys."""
    values = {key.lower(): value for key, value in document.items()}
    return [values.get(name.lower()) for name in names]


def _arrays(rows: list[list[Any]], target: pa.Schema) -> list[pa.Array]:
    """The columns typed as `target`. Raises one of UNFIT when a value doesn't fit its type."""
    columns = zip(*rows, strict=True) if rows else [()] * len(target)
    return [_array(values, item.type) for values, item in zip(columns, target, strict=True)]


def _array(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    """Values as one type, each as if it were alone. Raises one of UNFIT when one of them doesn't fit."""
    if pa.types.is_nested(kind):
        return pa.array(values, type=kind)
    given = {type(value) for value in values if value is not None}
    if len(given) > 1 and not (given == {int, float} and pa.types.is_floating(kind)):
        return pa.concat_arrays([_array((value,), kind) for value in values])
    try:
        return pa.array(values).cast(kind)  # with `type=kind` Arrow would cut 2.5 to 2
    except UNFIT:  # Hive reads a value by its text
        texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        return pa.array(texts, pa.string()).cast(kind)


def _fits(row: list[Any], target: pa.Schema) -> bool:
    try:
        _arrays([row], target)
    except UNFIT:
        return False
    return True
