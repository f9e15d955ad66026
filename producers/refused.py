"""Writes events that are too large for the stream to the quarantine bucket."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from producers.kinesis import MAX_RECORD_BYTES, Record


class RefusedEvents:
    """The `refused/` part of a bucket. Keys are content hashes: writing an event twice changes nothing."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def put(self, record: Record) -> None:
        """Write one document with the record's bytes; raises ClientError if S3 does not take it."""
        digest = hashlib.sha256(record.data).hexdigest()
        document = {
            "sha256": digest,
            "event_id": record.event_id,
            "reason": "oversize",
            "detail": f"{record.size} bytes with the partition key, a record holds {MAX_RECORD_BYTES}",
            "received_at": datetime.now(UTC).isoformat(),
            "source": "producer",
            "data": base64.b64encode(record.data).decode(),
        }
        self._s3.put_object(
            Bucket=self._bucket,
            Key=f"refused/{record.source}/{record.day:year=%Y/month=%m/day=%d}/{digest}.json",
            Body=json.dumps(document).encode(),
            ContentType="application/json",
        )
