"""Ends records as they grow old. MiniStack 1.5.33 copies every record of the stream at each put to do so."""

import time
from bisect import bisect_left
from operator import itemgetter
from typing import Any

from ministack.services import kinesis

from local.hooks import swap


def expire(stream: dict[str, Any]) -> None:
    """Drop what is older than the retention period: the first ones, as a shard's records are in order of arrival."""
    cutoff = time.time() - stream["RetentionPeriodHours"] * 3600
    for shard in stream["shards"].values():
        if shard["records"] and shard["records"][0]["ApproximateArrivalTimestamp"] < cutoff:
            first = bisect_left(shard["records"], cutoff, key=itemgetter("ApproximateArrivalTimestamp"))
            shard["records"] = shard["records"][first:]


def install() -> None:
    """Take the place of what runs at each put."""
    swap(kinesis, "_expire_records", lambda _original: expire)
