"""Firehose's records on their way, and what holds them together; MiniStack 1.5.33 has no buffers."""

import time
from dataclasses import dataclass, field
from typing import NamedTuple

MB = 1024 * 1024
NEVER = "9" * 30  # as a sequence number: behind them all, which are digits of this length


class Record(NamedTuple):
    """A stream's record: its bytes in base64, arrival in epoch milliseconds, sequence number."""

    data: str
    arrival: int
    sequence: str

    @property
    def size(self) -> int:
        """Bytes once decoded."""
        return len(self.data) * 3 // 4


@dataclass
class Buffer:
    """Records on their way to a Lambda or an object."""

    records: list[Record] = field(default_factory=list)
    size: int = 0
    opened: float = 0.0
    oldest: str = NEVER  # of the records' sequence numbers

    def add(self, record: Record) -> None:
        """Append a record; the first one starts the clock."""
        self.opened = self.opened or time.monotonic()
        self.oldest = min(self.oldest, record.sequence)
        self.records.append(record)
        self.size += record.size

    def due(self, hints: dict[str, float]) -> bool:
        """Whether the size or the age of what it holds has come to BufferingHints."""
        age = time.monotonic() - self.opened
        return bool(self.records) and (self.size >= hints["SizeInMBs"] * MB or age >= hints["IntervalInSeconds"])
