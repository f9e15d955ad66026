"""The two kinds of events, each with a stream of its own, and what their records are keyed by."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from producers import flights, weather
from producers.flights import Event

# Characters: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html
_LONGEST_KEY = 256
# JSON can write half of a surrogate pair, UTF-8 can't: no request would take it.
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


class Source(NamedTuple):
    """One kind of event.

    `events` yields those of some months, days of the month and years, in time order. `impossible` are ids of events
    that the data themselves have wrong: the transform refuses them as an impossible value.
    """

    name: str
    events: Callable[[Collection[int], Collection[int], Sequence[int]], Iterator[Event]]
    key_fields: tuple[str, ...]
    impossible: frozenset[str] = frozenset()

    def partition_key(self, event: object, data: bytes) -> str:
        """Return the first of the key's fields that an event has; for what is no event, a digest of its bytes."""
        for name in self.key_fields:
            value = event.get(name) if isinstance(event, dict) else None
            if isinstance(value, str) and 0 < len(value) <= _LONGEST_KEY and not _HALF_CHARACTER.search(value):
                return value
        return hashlib.sha256(data).hexdigest()


# All of one aircraft is in one shard, in its order; so is the weather of one airport.
FLIGHTS = Source("flights", flights.events, ("tailnum", "carrier"))
WEATHER = Source("weather", weather.events, ("origin",), weather.IMPOSSIBLE_IDS)
# Weather first: a flight is joined with the weather that is there.
SOURCES = {source.name: source for source in (WEATHER, FLIGHTS)}
