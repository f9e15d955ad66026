"""What was kept gives the very bytes of its records; what is no record is named and blocks none of the others."""

import base64
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers import kept
from producers.kept import Kept, Unreadable

STREAM_ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/flights"
DOCUMENTS = st.dictionaries(st.text(max_size=3), st.none() | st.text() | st.floats(allow_nan=False), max_size=3)


def data(found: kept.Found) -> list[bytes]:
    return [each.data for each in found if isinstance(each, Kept)]


def unreadable(found: kept.Found) -> list[tuple[str, int]]:
    return [(each.where, each.bytes) for each in found if isinstance(each, Unreadable)]


@given(st.lists(DOCUMENTS, max_size=5), st.sampled_from(["", "\n", " ", "\r\n"]), st.booleans())
def test_records_come_back_however_they_were_ended(documents: list[Any], end: str, ascii_only: bool) -> None:
    records = [f"{json.dumps(document, ensure_ascii=ascii_only)}{end}".encode() for document in documents]
    assert data(kept.source_records(b"".join(records))) == records


@given(
    st.lists(st.binary(max_size=9) | st.sampled_from([b"{", b"}", b"[]", b'{"a":1}', b"event_id,", b"\n"])).map(
        b"".join
    )
)
def test_no_bytes_are_lost_whatever_they_are(body: bytes) -> None:
    found = list(kept.source_records(body))
    sizes = [len(each.data) if isinstance(each, Kept) else each.bytes for each in found]
    blank = sum(len(line) for line in io.BytesIO(body) if not line.strip())
    assert sum(sizes) + blank == len(body)


def test_a_record_that_is_no_json_blocks_no_other_and_is_named() -> None:
    body = b'{"a":1}\n{"b":\n{"c":3}\nUA,1545,N14228\n\n{"d":4}{"e":\xff"}{"f":6}\n{"g":"\xff"}\n[7]'
    found = list(kept.source_records(body))
    assert data(iter(found)) == [b'{"a":1}\n', b'{"c":3}\n', b"UA,1545,N14228\n", b'{"d":4}', b'{"g":"\xff"}\n', b"[7]"]
    assert unreadable(iter(found)) == [("line 2", 6), ("line 6", 16)]


def test_a_header_stays_with_its_line() -> None:
    header, other = b"event_id,carrier,origin\n", b'"origin","event_id"\r\n'
    body = header + b"a,UA,EWR\nb,UA,LGA\n" + other + b"JFK,c\r\n" + header + b"{}\n" + header
    found = [header + b"a,UA,EWR\n", b"b,UA,LGA\n", other + b"JFK,c\r\n", header, b"{}\n", header]
    assert data(kept.source_records(body)) == found


def test_a_deep_document_is_unreadable_and_no_error() -> None:
    found = list(kept.source_records(b"[" * 100_000 + b"\n{}\n"))
    assert data(iter(found)) == [b"{}\n"]
    assert unreadable(iter(found)) == [("line 1", 100_001)]


def test_a_failed_delivery_gives_the_bytes_that_firehose_could_not_place() -> None:
    processing = {
        "attemptsMade": 4,
        "errorCode": "Lambda.FunctionError",
        "rawData": base64.b64encode(b"{broken").decode(),
    }
    converting = {"lastErrorCode": "DataFormatConversion.ParseError", "rawData": base64.b64encode(b"{}\n").decode()}
    lines = [
        json.dumps(processing),
        json.dumps(converting),
        '{"rawData":"!"}',
        '{"rawData":7}',
        '{"other":1}',
        '{"rawD',
    ]
    found = list(kept.failed_deliveries("\n".join(lines).encode()))
    assert data(iter(found)) == [b"{broken", b"{}\n"]
    assert [where for where, _ in unreadable(iter(found))] == ["line 3", "line 4", "line 5", "line 6"]


def letter(payload: Any, **changes: Any) -> bytes:
    """An invocation record as in docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html."""
    batch = {"shardId": "shardId-000000000001", "batchSize": 2, "streamArn": STREAM_ARN}
    context = {"requestId": "c9b8fa9f", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 1}
    return json.dumps({"requestContext": context, "KinesisBatchInfo": batch, "payload": payload} | changes).encode()


@pytest.mark.parametrize("as_text", [True, False])
def test_a_dead_letter_gives_its_batch_with_keys_and_stream(as_text: bool) -> None:
    records = [
        {"kinesis": {"partitionKey": key, "data": base64.b64encode(value).decode()}, "eventSourceARN": STREAM_ARN}
        for key, value in (("N1", b"{}"), ("N2", b"\xff"))
    ]
    payload = json.dumps({"Records": records}) if as_text else {"Records": records}
    assert list(kept.dead_letters(letter(payload))) == [Kept(b"{}", "N1", "flights"), Kept(b"\xff", "N2", "flights")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        letter("{"),
        letter(None),
        letter({"Records": [{"kinesis": {"data": "e30="}}]}),
        letter({"Records": [{"kinesis": {"partitionKey": "a", "data": "?"}}]}),
        letter({"Records": []}, KinesisBatchInfo=None),
        json.dumps({"KinesisBatchInfo": {"streamArn": STREAM_ARN}}).encode(),  # as SQS and SNS get it, without records
    ],
)
def test_what_is_no_dead_letter_is_named(body: bytes) -> None:
    (found,) = kept.dead_letters(body)
    assert isinstance(found, Unreadable)
    assert (found.where, found.bytes) == ("the object", len(body))
    assert found.reason.startswith("is no invocation record of a Kinesis batch: ")


def test_a_quarantined_record_comes_back_as_it_was_refused() -> None:
    assert list(kept.quarantined(json.dumps({"data": base64.b64encode(b"{x").decode()}).encode())) == [Kept(b"{x")]
    (found,) = kept.quarantined(b"{}")
    assert found == Unreadable("the object", "is no document with data: KeyError 'data'", 2)
