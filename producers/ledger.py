"""Writes down what was sent: one CSV line for each acknowledged record or refused event."""

import csv
import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from producers.kinesis import Record

HEADER = ("event_id", "sha256", "kind", "copies")

log = logging.getLogger(__name__)


class Ledger:
    """An append-only CSV of HEADER. An event sent again gets another line: its copies are the sum.

    A last line that a crash has left without its end is cut off, with a warning.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _cut_half_line(path)
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")
        if not self._file.tell():
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


def acknowledged(path: Path) -> Counter[str]:
    """Return how often each record is in an opened ledger (which has no half line), by the hash of its bytes."""
    copies: Counter[str] = Counter()
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            copies[row["sha256"]] += int(row["copies"])
    return copies


def unsent(records: Iterable[Record], acknowledged: Counter[str]) -> Iterator[Record]:
    """Yield the records but for those that a ledger has, as often as it has them. Uses `acknowledged` up."""
    for record in records:
        digest = hashlib.sha256(record.data).hexdigest()
        if acknowledged[digest]:
            acknowledged[digest] -= 1
        else:
            yield record


def _cut_half_line(path: Path) -> None:
    """Cut off what follows the last end of a line: the next line would be written on to it."""
    with path.open("r+b") as file:
        content = file.read()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            file.truncate(end)
            half = content[end:].decode(errors="replace")
            log.warning(
                "%s ended within a line, as a crash leaves it; cut off: %r. The last events of that run may be in the "
                "stream without being in the ledger, and be accounted as never sent",
                path,
                half,
            )
