"""Writes rejected records to the quarantine bucket, several at a time."""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_THREADS = 8
# One write that stalls takes half a minute at most; what bounds a batch of them is the time that put() is given.
_CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    max_pool_connections=_THREADS,
    retries={"mode": "standard", "total_max_attempts": 4},
)

log = logging.getLogger(__name__)


class Quarantine:
    """A bucket for rejected records. Keys are content hashes: writing one twice changes nothing."""

    def __init__(self, bucket: str, client: Any = None) -> None:
        self._bucket = bucket
        self._client = client or boto3.client("s3", config=_CONFIG)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="quarantine")

    def put(self, documents: Mapping[str, bytes], seconds: float) -> set[str]:
        """Write bodies by key; return the keys that S3 did not take after retries, or not within `seconds`."""
        writes = {key: self._pool.submit(self._put_one, key, body) for key, body in documents.items()}
        late = wait(writes.values(), timeout=seconds).not_done
        for write in late:
            write.cancel()  # one that has begun goes on: the same key and bytes as when the record is sent again
        if late:
            log.error(
                "%d of %d quarantine writes not done in time, Firehose keeps the records", len(late), len(documents)
            )
        return {key for key, write in writes.items() if write in late or not write.result()}

    def _put_one(self, key: str, body: bytes) -> bool:
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType="application/json")
        except (ClientError, BotoCoreError) as error:
            log.error("quarantine of %s failed, Firehose keeps the record: %s", key, error)
            return False
        return True
