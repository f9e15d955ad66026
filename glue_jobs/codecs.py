"""Tables as Avro and XML and back, for the workers of Spark, which on Glue writes neither.

An encoder gives a file of rows. A decoder gives a file's rows and raises ValueError for what it would lose: the message
says what is wrong with the file, not which file that is.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pyspark.sql import Row

Columns = list[tuple[str, str]]  # name, Spark's name of the type
Encoder = Callable[[Columns, Iterable[Row]], bytes]
Decoder = Callable[[Columns, bytes], Iterator[tuple[Any, ...]]]
AVRO_TYPES = {"string": "string", "int": "int", "bigint": "long", "double": "double", "boolean": "boolean"}
# What XML 1.0 can't hold, even escaped: https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def encode_avro(columns: Columns, rows: Iterable[Row]) -> bytes:
    """An Avro file of the rows, each column a union with null."""
    import fastavro

    fields = [{"name": name, "type": ["null", AVRO_TYPES[kind]]} for name, kind in columns]
    file = io.BytesIO()
    fastavro.writer(
        file, {"type": "record", "name": "row", "fields": fields}, (row.asDict() for row in rows), "deflate"
    )
    return file.getvalue()


def avro_columns(body: bytes) -> Columns:
    """The columns that an Avro file of flat records says it has. Raises ValueError for another."""
    import fastavro

    schema: Any = fastavro.reader(io.BytesIO(body)).writer_schema
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise ValueError(f"its schema is {schema}, no record: write each value as a record that has a field a column")
    names = {avro: spark for spark, avro in AVRO_TYPES.items()} | {"float": "double"}
    columns = []
    for field in schema["fields"]:
        union = field["type"] if isinstance(field["type"], list) else [field["type"]]
        kinds = [kind for kind in union if kind != "null"]
        if len(kinds) != 1 or str(kinds[0]) not in names:
            raise ValueError(f"field {field['name']} is {field['type']}; a flat table has {', '.join(names)}")
        columns.append((field["name"], names[kinds[0]]))
    return columns


def decode_avro(columns: Columns, body: bytes) -> Iterator[tuple[Any, ...]]:
    """The rows of an Avro file whose fields are the columns, in any order."""
    import fastavro

    if other := set(avro_columns(body)) ^ set(columns):
        fields = ", ".join(f"{name} {kind}" for name, kind in sorted(other))
        raise ValueError(f"not all Avro files, or not the schema, have {fields}: convert what is alike by itself")
    records: Iterator[Any] = fastavro.reader(io.BytesIO(body))
    for record in records:
        yield tuple(record[name] for name, _ in columns)


def encode_xml(columns: Columns, rows: Iterable[Row]) -> bytes:
    """<rows><row><column>value</column></row></rows>; a null has no element.

    Raises ValueError for a character that XML can't hold.
    """
    from xml.sax.saxutils import escape

    def element(name: str, kind: str, value: Any) -> str:
        text = str(value).lower() if kind == "boolean" else repr(value) if kind == "double" else str(value)
        if found := _NOT_XML.search(text):
            raise ValueError(f"column {name} has {found[0]!r}, which XML can't hold")
        escaped = escape(text, {"\r": "&#13;"})  # a parser takes every line end for \n, unless it is escaped
        return f"<{name}>{escaped}</{name}>"

    file = io.StringIO()
    file.write('<?xml version="1.0" encoding="UTF-8"?>\n<rows>\n')
    for row in rows:
        cells = [element(name, kind, row[name]) for name, kind in columns if row[name] is not None]
        file.write(f"<row>{''.join(cells)}</row>\n")
    file.write("</rows>\n")
    return file.getvalue().encode()


def decode_xml(columns: Columns, body: bytes) -> Iterator[tuple[Any, ...]]:
    """The rows of such a document; they may be anywhere in it, but it has some, unless it is an empty <rows>."""
    from defusedxml.ElementTree import iterparse

    kinds, number = dict(columns), 0
    events = iterparse(io.BytesIO(body), events=("start", "end"))
    _, root = next(events)
    for event, row in events:
        if event == "end" and row.tag == "row":
            number += 1
            found = _cells(row, kinds, number)
            yield tuple(found.get(name) for name in kinds)
            row.clear()
    if not number and (root.tag != "rows" or len(root)):
        raise ValueError(f"<{root.tag}> has no <row>: that is what a row's element is called, rename those it has")


def _cells(row: Any, kinds: dict[str, str], number: int) -> dict[str, Any]:
    """A row's values by column. Raises ValueError for what is no column's value."""
    found: dict[str, Any] = {}
    for cell in row:
        if cell.tag not in kinds:
            raise ValueError(f"row {number} has <{cell.tag}>, which is no column; columns are {', '.join(kinds)}")
        if cell.tag in found:
            raise ValueError(f"row {number} has <{cell.tag}> twice")
        if cell.attrib or len(cell):
            raise ValueError(f"row {number}: <{cell.tag}> has attributes or elements; a column has text alone")
        try:
            found[cell.tag] = _XML_PARSERS[kinds[cell.tag]](cell.text or "")
        except (ValueError, KeyError):
            raise ValueError(f"row {number}: <{cell.tag}> is {cell.text!r}, no {kinds[cell.tag]}") from None
    between = [row.text, *(cell.tail for cell in row)]
    if row.attrib or any(text and text.strip() for text in between):
        raise ValueError(f"row {number} has attributes, or text that is in no column")
    return found


def _integer(bits: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not -(2 ** (bits - 1)) <= (number := int(_written(text))) < 2 ** (bits - 1):
            raise ValueError(text)
        return number

    return parse


def _double(text: str) -> float:
    return float(_written(text))


def _written(number: str) -> str:
    """The number, if others read it as Python does: 1_000 is a thousand in Python alone."""
    if "_" in number:
        raise ValueError(number)
    return number


_XML_PARSERS: dict[str, Callable[[str], Any]] = {
    "string": str, "int": _integer(32), "bigint": _integer(64), "double": _double,
    "boolean": {"true": True, "false": False}.__getitem__,
}  # fmt: skip
CODECS: dict[str, tuple[Encoder, Decoder]] = {"avro": (encode_avro, decode_avro), "xml": (encode_xml, decode_xml)}
