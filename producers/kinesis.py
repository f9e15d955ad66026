"""Puts records into a stream in full batches; each is acknowledged, refused or named in an error."""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html (a stream may opt in to 10 MiB)
MAX_RECORD_BYTES = 1 << 20
MAX_BATCH_BYTES = 5 << 20
MAX_BATCH_RECORDS = 500

_MAX_TRIES = 12
_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 5.0
# Codes of a whole refused call that mean "later"; within a response every failed record means that.
_RETRIED_CODES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "LimitExceededException",
        "KMSThrottlingException",
        "ThrottlingException",
        "InternalFailure",
        "ServiceUnavailable",
    }
)


@dataclass(frozen=True, slots=True)
class Record:
    """An event's bytes on their way: `kind` is "good" or how it was damaged, `day` the event's own."""

    event_id: str
    day: date
    partition_key: str
    data: bytes
    kind: str
    source: str = "flights"

    @property
    def size(self) -> int:
        """Bytes that count against the limits of Kinesis."""
        return len(self.data) + len(self.partition_key.encode())


@dataclass
class Progress:
    """Counts so far: acknowledged, refused as too large, tries repeated, acknowledged bytes."""

    sent: int = 0
    refused: int = 0
    retried: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, producers: Iterable["StreamProducer"]) -> "Progress":
        """Return the sum over some producers."""
        counts = [vars(producer.progress).values() for producer in producers]
        return cls(*map(sum, zip(*counts, strict=True)))


class PutFailedError(RuntimeError):
    """Records that Kinesis did not take in the allowed tries: `records`, and its last error code."""

    def __init__(self, stream: str, records: list[Record], code: str) -> None:
        ids = ", ".join(record.event_id for record in records[:5])
        super().__init__(
            f"stream {stream} did not take {len(records)} records in {_MAX_TRIES} tries (last: {code}); "
            f"they are not in the ledger; add shards or send them again: {ids}, ..."
        )
        self.records = records
        self.code = code


def batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Group records into the largest calls that PutRecords takes, in order."""
    batch: list[Record] = []
    size = 0
    for record in records:
        if batch and (len(batch) == MAX_BATCH_RECORDS or size + record.size > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += record.size
    if batch:
        yield batch


class StreamProducer:
    """Sends to one stream; `acknowledged` gets the records that it took, `refuse` each that is too large.

    `progress` has the counts so far.
    """

    def __init__(
        self,
        client: Any,
        stream: str,
        *,
        acknowledged: Callable[[list[Record]], None],
        refuse: Callable[[Record], None],
        progress: Callable[[Progress], None] = lambda progress: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._stream = stream
        self._acknowledged = acknowledged
        self._refuse = refuse
        self._report = progress
        self._sleep = sleep
        self.progress = Progress()

    def send(self, records: Iterable[Record]) -> Progress:
        """Send each record at least once, return the counts; raises PutFailedError with those not taken."""
        for batch in batches(self._small_enough(records)):
            self._put(batch)
            self._report(self.progress)
        return self.progress

    def _small_enough(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            if record.size > MAX_RECORD_BYTES:
                self._refuse(record)
                self.progress.refused += 1
            else:
                yield record

    def _put(self, batch: list[Record]) -> None:
        code = ""
        for attempt in range(_MAX_TRIES):
            if attempt:
                self.progress.retried += len(batch)
                self._sleep(_wait_seconds(attempt))
            taken, batch, code = self._put_once(batch)
            self._acknowledged(taken)
            self.progress.sent += len(taken)
            self.progress.bytes += sum(len(record.data) for record in taken)
            if not batch:
                return
        raise PutFailedError(self._stream, batch, code)

    def _put_once(self, batch: list[Record]) -> tuple[list[Record], list[Record], str]:
        """Return the records taken, those to retry, and an error code of theirs."""
        try:
            response = self._client.put_records(
                StreamName=self._stream,
                Records=[{"Data": record.data, "PartitionKey": record.partition_key} for record in batch],
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in _RETRIED_CODES:
                raise
            return [], batch, code
        except (ConnectionError, HTTPClientError) as error:  # no answer: it may have taken them, hence at least once
            return [], batch, type(error).__name__
        taken, failed, code = [], [], ""
        for record, result in zip(batch, response["Records"], strict=True):
            if result.get("ErrorCode"):
                failed.append(record)
                code = result["ErrorCode"]
            else:
                taken.append(record)
        return taken, failed, code


def _wait_seconds(attempt: int) -> float:
    """Exponential backoff with equal jitter: half of the wait is random, so that producers spread out."""
    longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  jitter, not a secret
