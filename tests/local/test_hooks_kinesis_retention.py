"""Contract test of local/hooks/kinesis_retention.py: what is past a stream's retention goes, and nothing else."""

import time
from typing import Any

import pytest

from local.hooks import kinesis_retention


@pytest.mark.requirement("str-kds")
def test_old_records_end() -> None:
    now = time.time()
    arrivals = [now - 24 * 3600 - 60, now - 24 * 3600 - 1, now - 24 * 3600 + 60, now]
    shards: dict[str, Any] = {
        "mixed": {"records": [{"ApproximateArrivalTimestamp": arrival} for arrival in arrivals]},
        "old": {"records": [{"ApproximateArrivalTimestamp": arrival} for arrival in arrivals[:2]]},
        "empty": {"records": []},
    }
    kinesis_retention.expire({"RetentionPeriodHours": 24, "shards": shards})
    left = {
        name: [record["ApproximateArrivalTimestamp"] for record in shard["records"]] for name, shard in shards.items()
    }
    assert left == {"mixed": arrivals[2:], "old": [], "empty": []}
