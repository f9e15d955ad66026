"""Finds the records in what was kept of them: source backups, Firehose's and Lambda's failures, quarantine.

Each function goes from an object's bytes to the very bytes of its records. What is no record is named, not dropped.
"""

import base64
import io
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_decoder = json.JSONDecoder()
_space = re.compile(r"\s*")
_header = re.compile(rb'([\w"]+,)*"?event_id"?(,|\s*$)')  # of CSV


class Kept(NamedTuple):
    """A record's bytes, and what is known of its way: its partition key, the name of its stream."""

    data: bytes
    partition_key: str | None = None
    stream: str | None = None


class Unreadable(NamedTuple):
    """A part of an object that no record can be made of: where it is, why, how many bytes it has."""

    where: str
    reason: str
    bytes: int


Found = Iterator[Kept | Unreadable]


def source_records(body: bytes) -> Found:
    """Records of a source backup: Firehose writes them one after the other, with nothing in between.

    https://docs.aws.amazon.com/firehose/latest/dev/basic-deliver.html
    Our producer ends each with a newline, others may not. A line of JSON documents is as many records; a line that
    does not begin as JSON is one, as CSV is, together with a header before it. A line that begins as JSON and then
    breaks off gives the records up to there; the rest is unreadable, since more than one record may be in it.
    """
    for _, part in _parts(body):
        yield part if isinstance(part, Unreadable) else Kept(part)


def failed_deliveries(body: bytes) -> Found:
    """Records of Firehose's error documents, of which there is one a line.

    https://docs.aws.amazon.com/firehose/latest/dev/data-transformation-failure-handling.html,
    https://docs.aws.amazon.com/firehose/latest/dev/record-format-conversion-error-handling.html
    """
    for where, part in _parts(body):
        yield part if isinstance(part, Unreadable) else _of_document(where, part, "rawData")


def quarantined(body: bytes) -> Found:
    """The record of a quarantine document."""
    yield _of_document("the object", body, "data")


def dead_letters(body: bytes) -> Found:
    """Records of a batch that Lambda gave up, which it writes whole into the payload of its invocation record.

    https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
    """
    try:
        letter = json.loads(body)
        stream = letter["KinesisBatchInfo"]["streamArn"].rpartition("/")[2]
        payload = letter["payload"]
        records = (json.loads(payload) if isinstance(payload, str) else payload)["Records"]
        kept: list[Kept | Unreadable] = [
            Kept(_decoded(record["kinesis"]["data"]), record["kinesis"]["partitionKey"], stream) for record in records
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"is no invocation record of a Kinesis batch: {type(error).__name__} {error}"
        kept = [Unreadable("the object", reason[:200], len(body))]
    yield from kept


def _parts(body: bytes) -> Iterator[tuple[str, bytes | Unreadable]]:
    """Yield each JSON document, and each line that does not begin as one, with where it is."""
    header = b""
    for number, line in enumerate(io.BytesIO(body), 1):
        where = f"line {number}"
        if _header.match(line):
            header += line
        elif line.lstrip().startswith((b"{", b"[")):
            yield from ((where, part) for part in (header, *_documents(where, line)) if part)
            header = b""
        elif line.strip():
            yield where, header + line
            header = b""
    if header:
        yield "the last line", header


def _documents(where: str, line: bytes) -> Iterator[bytes | Unreadable]:
    text = line.decode(errors="surrogateescape")
    at, end = 0, _after_space(text, 0)
    while at < len(text):
        try:
            end = _after_space(text, _decoder.raw_decode(text, end)[1])
        except (ValueError, RecursionError) as error:
            size = len(text[at:].encode(errors="surrogateescape"))
            yield Unreadable(where, f"is no JSON: {error}"[:200], size)
            return
        yield text[at:end].encode(errors="surrogateescape")
        at = end


def _after_space(text: str, at: int) -> int:
    found = _space.match(text, at)
    return found.end() if found else at


def _of_document(where: str, document: bytes, field: str) -> Kept | Unreadable:
    try:
        return Kept(_decoded(json.loads(document)[field]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"is no document with {field}: {type(error).__name__} {error}"
        return Unreadable(where, reason[:200], len(document))


def _decoded(text: Any) -> bytes:
    """Raises ValueError or TypeError for what is no base64."""
    return base64.b64decode(text, validate=True)
