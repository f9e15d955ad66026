"""Firehose's record format conversion: JSON records to one Parquet file. MiniStack 1.5.33 converts one at a time."""

import io
import json
from base64 import b64decode
from functools import lru_cache
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from ministack.services import firehose, glue


class Record(NamedTuple):
    """A stream's record: its bytes in base64, arrival in epoch milliseconds, sequence number."""

    data: str
    arrival: int
    sequence: str

    @property
    def size(self) -> int:
        """Bytes once decoded."""
        return len(self.data) * 3 // 4


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
    rows: list[tuple[Record, list[Any]]] = []
    failed: Failed = []
    for record in records:
        try:
            documents = firehose._json_documents(b64decode(record.data))
            rows.extend((record, _row(document, target.names)) for document in documents)
        except firehose._DeliveryError as error:
            failed.append((record, error))
    try:
        arrays = _arrays([row for _, row in rows], target)
    except pa.ArrowException:
        unfit = [not _fits(row, target) for _, row in rows]
        mismatch = firehose._conversion_error("mismatch")
        failed += [(record, mismatch) for (record, _), bad in zip(rows, unfit, strict=True) if bad]
        rows = [item for item, bad in zip(rows, unfit, strict=True) if not bad]
        arrays = _arrays([row for _, row in rows], target)
    if not rows:
        return b"", failed
    file, out = io.BytesIO(), pa.Table.from_arrays(arrays, schema=target)
    pq.write_table(out, file, compression="snappy", use_deprecated_int96_timestamps=True)  # Hive's timestamps
    return file.getvalue(), failed


@lru_cache(maxsize=64)
def arrow_schema(columns: tuple[tuple[str, str], ...]) -> pa.Schema:
    """The Arrow schema of (name, Hive type) columns, nested types included."""
    typed = [f'CAST(NULL AS {firehose._hive_to_duckdb_type(kind)}) AS "{name}"' for name, kind in columns]
    with duckdb.connect() as connection:
        return connection.sql(f"SELECT {', '.join(typed)}").to_arrow_table().schema


def _row(document: dict[str, Any], names: list[str]) -> list[Any]:
    """A document's values in the order of the columns, whatever the case of its keys."""
    values = {key.lower(): value for key, value in document.items()}
    return [values.get(name.lower()) for name in names]


def _arrays(rows: list[list[Any]], target: pa.Schema) -> list[pa.Array]:
    """The columns typed as `target`. Raises ArrowException when a value doesn't fit its type."""
    columns = zip(*rows, strict=True) if rows else [()] * len(target)
    return [_array(values, item.type) for values, item in zip(columns, target, strict=True)]


def _array(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    if pa.types.is_nested(kind):
        return pa.array(values, type=kind)
    try:
        return pa.array(values).cast(kind)  # with `type=kind` Arrow would cut 2.5 to 2
    except pa.ArrowException:  # mixed values: Hive reads each by its text
        texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        return pa.array(texts, pa.string()).cast(kind)


def _fits(row: list[Any], target: pa.Schema) -> bool:
    try:
        _arrays([row], target)
    except pa.ArrowException:
        return False
    return True
