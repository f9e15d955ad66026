"""Holds a share of the events back, as delayed networks do: they come after others of up to an hour later."""

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from producers.damage import draw
from producers.flights import Event

LATEST = timedelta(hours=1)  # of event time


def disordered(events: Iterable[Event], share: float, seed: int) -> Iterator[Event]:
    """Yield events that come in time order, a share (0 to 1) of them up to LATEST later than their own time.

    Which ones, and how late, depends on the seed and their id alone.
    """
    waiting: list[tuple[datetime, str, Event]] = []
    for event in events:
        now = datetime.fromisoformat(event["time_hour"]) + timedelta(minutes=event.get("minute", 0))
        while waiting and waiting[0][0] <= now:
            yield heapq.heappop(waiting)[2]
        drawn = draw(seed, f"late {event['event_id']}")
        if drawn < share:
            heapq.heappush(waiting, (now + LATEST * (drawn / share), event["event_id"], event))
        else:
            yield event
    while waiting:
        yield heapq.heappop(waiting)[2]
