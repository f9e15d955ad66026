"""20,000 flights and their weather meet every fault at once; `make bench-faults` does the same with a million."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import faults
from benchmarks.injected import ANSWERED
from demo import accounting, ingest
from local import tools
from local.cloud import Cloud

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[faults.Run, accounting.Accounting]]:
    """The scenario, whose cloud still runs."""
    folder = tmp_path_factory.mktemp("faults")
    cloud = Cloud(folder / "cloud", tools.free_port(), keep=True)
    run = faults.Run(cloud, faults.SMALL, folder / "run", print)
    try:
        yield run, faults.carry_out(run)
    finally:
        cloud.stop()


def test_a_run_removes_what_an_earlier_one_has_written_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = faults.Run(Cloud(tmp_path / "cloud", 1), faults.SMALL, tmp_path, print)
    (run.crashes / "transform").mkdir(parents=True)
    for file in (run.ledger, run.log, tmp_path / "another's"):
        file.touch()
    monkeypatch.setattr(faults, "start_and_deploy", Mock(side_effect=tools.ToolError("no cloud")))
    with pytest.raises(tools.ToolError):
        faults.carry_out(run)
    assert [path.name for path in tmp_path.iterdir()] == ["another's"]


def test_every_event_is_accounted_for(ran: tuple[faults.Run, accounting.Accounting]) -> None:
    _, account = ran
    assert account.problems() == []
    assert account.records_expected == account.records_sent == 20_013
    assert account.records_sent == account.records_curated + sum(account.records_quarantined.values())
    assert sum(account.records_quarantined.values()) == pytest.approx(0.02 * 20_013, rel=0.2)
    assert account.records_quarantined["oversize"] > 0
    weather = account.weather
    assert weather.expected == weather.sent == weather.landed + weather.quarantined == 1_650


def test_every_fault_has_struck(ran: tuple[faults.Run, accounting.Accounting]) -> None:
    """And each left its trace: records sent again, redriven, and delivered more than once."""
    run, account = ran
    wire = run.found["wire"]
    assert min(wire["throttled_calls"], wire["throttled_records"], wire["lost_answers"], wire["unreachable"]) > 0
    given_up, saved = run.found["transform"]
    assert (len(given_up), len(saved)) == (4, 3)  # of the deployed number of attempts
    assert given_up[0][1] == ANSWERED  # a part of the batch was in quarantine
    # More where a busy machine has let a write to quarantine wait too long.
    assert run.redriven["errors"] >= given_up[0][0]
    (alone,) = run.found["consumer"]
    assert alone[0][1] == ANSWERED < alone[1][1]  # a part of the batch was in the table, then all of a part
    sizes = [records for records, _ in alone]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1
    assert run.redriven["dead-letters"] >= 1
    assert 0 < run.found["resumed"] < wire["passed"]
    repeated = account.records_duplicate - account.records_redelivered
    assert repeated == pytest.approx(0.03 * 20_013, rel=0.2)
    assert account.records_redelivered > 0


def test_the_account_fails_when_anything_is_lost_or_doubled(ran: tuple[faults.Run, accounting.Accounting]) -> None:
    """On the same data, after one object, one document, one row and one item are gone.

    Another row is twice there, another item is of an older copy.
    """
    run, _ = ran
    s3 = run.platform.client("s3")
    ingest.stop_trigger(run.platform)  # a run for the last objects might do the days again meanwhile

    def some(zone: str) -> dict[str, str]:
        bucket = run.platform.outputs[f"{zone}BucketName"]
        item = s3.list_objects_v2(Bucket=bucket, Prefix="flights/", MaxKeys=1)["Contents"][0]
        return {"Bucket": bucket, "Key": item["Key"]}

    def read(**place: str) -> Any:
        return pq.ParquetFile(io.BytesIO(s3.get_object(**place)["Body"].read())).read()

    raw, curated, quarantined = some("Raw"), some("Curated"), some("Quarantine")
    lost = len(set(read(**raw)["event_id"].to_pylist()))
    s3.delete_object(**raw)
    s3.delete_object(**quarantined)
    rows = read(**curated)
    body = io.BytesIO()
    pq.write_table(pa.concat_tables([rows.slice(1), rows.slice(1, 1)]), body)
    s3.put_object(**curated, Body=body.getvalue())
    dynamodb, table = run.platform.client("dynamodb"), run.platform.outputs["FlightStateTableName"]
    gone, older = dynamodb.scan(TableName=table, Limit=2)["Items"]
    dynamodb.delete_item(TableName=table, Key={"event_id": gone["event_id"]})
    dynamodb.put_item(TableName=table, Item=older | {"version": {"S": "2.056.1"}})
    dynamodb.put_item(TableName=table, Item={"event_id": {"S": "of no flight"}})

    found = faults.check(run).findings
    assert len(found["events have other copies in raw than were sent"]) == lost
    nowhere = found["events are in no place"]
    assert len(nowhere) == 2
    assert f"{rows['event_id'][0]} (good)" in nowhere
    assert found["events are in more than one place"] == [f"{rows['event_id'][1]} (curated, curated)"]
    assert found["flights have no item in the table"] == [gone["event_id"]["S"]]
    assert found["items of the table are not what the last copy of their flight says"] == [older["event_id"]["S"]]
    assert len(found["items of the table are of no undamaged flight"]) == 1
