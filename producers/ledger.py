"""Writes down what was sent: one CSV line for each acknowledged record or refused event."""

import csv
import hashlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from producers.kinesis import Record

HEADER = ("event_id", "sha256", "kind", "copies")


class Ledger:
    """An append-only CSV of HEADER. An event sent again gets another line: its copies are the sum."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists() or path.stat().st_size == 0
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")
        if is_new:
            self._writer.writerow(HEADER)

    def add(self, records: Iterable[Record]) -> None:
        """Write records down, past this process's buffers before it returns."""
        for record in records:
            digest = hashlib.sha256(record.data).hexdigest()
            self._writer.writerow((record.event_id, digest, record.kind, 1))
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
