"""What becomes of one record: a line for the lake with its day, or a document for quarantine. No AWS."""

import base64
import hashlib
import json
from datetime import UTC, date, datetime

import msgspec

from contracts.events import Contract
from contracts.reader import Rejected, read
from contracts.values import day_of

UNKNOWN_DAY = {"year": "0000", "month": "00", "day": "00"}

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Curated(msgspec.Struct, frozen=True, gc=False):
    """A valid event: compact JSON with every field in its contract's order and a newline, and its day."""

    event_id: str
    partition: dict[str, str]
    data: bytes


def parse(data: bytes, contract: Contract) -> Curated | Rejected:
    """Return what a record's bytes are under a contract; never raises, whatever the bytes."""
    event = read(data, contract)
    if isinstance(event, Rejected):
        return event
    return Curated(event["event_id"], partition(day_of(event)), _encode(event).encode() + b"\n")


def partition(day: date | None) -> dict[str, str]:
    """Return the partition of a day, or of records whose day is unknown."""
    return {"year": str(day.year), "month": f"{day.month:02}", "day": f"{day.day:02}"} if day else UNKNOWN_DAY


def quarantine_document(data: bytes, rejected: Rejected, received_at: datetime, prefix: str) -> tuple[str, bytes]:
    """Return key and body of a rejected record; the key is by content, so a retry writes the same object."""
    digest = hashlib.sha256(data).hexdigest()
    day = partition(rejected.day)
    key = f"{prefix}year={day['year']}/month={day['month']}/day={day['day']}/{digest}.json"
    document = {
        "sha256": digest,
        "event_id": rejected.event_id,
        "reason": rejected.reason,
        "detail": rejected.detail,
        "received_at": received_at.astimezone(UTC).isoformat(),
        "source": "transform",
        "data": base64.b64encode(data).decode(),
    }
    return key, _encode(document).encode()
