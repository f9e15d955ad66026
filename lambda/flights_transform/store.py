"""Writes rejected records to the quarantine bucket, several at a time."""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_THREADS = 8
# Well inside an invocation: a stalled write becomes ProcessingFailed, not a timeout of the whole batch.
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

    def put(self, documents: Mapping[str, bytes]) -> set[str]:
        """Write bodies by key; return the keys that S3 did not take after retries."""
        written = self._pool.map(self._put_one, documents, documents.values())
        return {key for key, done in zip(documents, written, strict=True) if not done}

    def _put_one(self, key: str, body: bytes) -> bool:
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType="application/json")
        except (ClientError, BotoCoreError) as error:
            log.error("quarantine of %s failed, Firehose keeps the record: %s", key, error)
            return False
        return True
