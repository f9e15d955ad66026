"""The checker finds nothing in a clean run, and each injected fault by name: it can fail."""

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto import mock_aws

from demo import accounting
from producers import damage, flights, weather
from producers.ledger import Ledger
from producers.refused import RefusedEvents
from producers.sources import WEATHER

DAY = "year=2013/month=03/day=09"
BUCKETS = {"raw_bucket": "raw", "curated_bucket": "curated", "quarantine_bucket": "quarantine"}
CURATED_KEY = f"flights/{DAY}/part-0.parquet"
WEATHER_KEY = f"weather/{DAY}/firehose-1.parquet"
REASONS = ("broken_json", "missing_field", "wrong_type", "impossible_value", "unexpected_field")

Event = dict[str, Any]


def damaged(event: Event, reason: str) -> bytes:
    """The bytes of a flight that was damaged in the first way of its kind."""
    return damage.DAMAGES[reason][0](event) + b"\n"


class Run:
    """A run as S3 would show it: flights of a day, one of them twice, one damaged each way, one too large.

    And hours of weather, one of them twice, one damaged.
    """

    def __init__(self, s3: Any, folder: Path, events: list[Event], hours: list[Event]) -> None:
        self.s3 = s3
        self.ledger = folder / "ledger.csv"
        for bucket in BUCKETS.values():
            for item in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
                s3.delete_object(Bucket=bucket, Key=item["Key"])
        self.events = events
        self.flights = {event["event_id"] for event in events}
        self.good = events[6:]
        rates = damage.Rates(damaged=0, oversize=0, resent=0)
        records = list(damage.records(self.good, rates, seed=1))
        records.append(records[0])
        self.oversize = next(damage.records(events[:1], damage.Rates(oversize=1), seed=1))
        self.hours = hours
        self.weather = {event["event_id"] for event in hours}
        records += damage.records(hours[1:], rates, seed=1, source=WEATHER)
        records.append(records[-1])
        for reason, event in zip(REASONS, events[1:6], strict=True):
            data = damaged(event, reason)
            records.append(damage.Record(event["event_id"], self.oversize.day, "N1", data, reason))
            self.quarantine(event["event_id"], reason, data)
        data = damage.WEATHER_DAMAGES["wrong_type"][0](hours[0]) + b"\n"
        records.append(damage.Record(hours[0]["event_id"], self.oversize.day, "EWR", data, "wrong_type"))
        self.quarantine(hours[0]["event_id"], "wrong_type", data, source="weather")
        with Ledger(self.ledger) as ledger:
            ledger.add([*records, self.oversize])
        self.source = [record.data for record in records]
        s3.put_object(Bucket="raw", Key="source/both/1", Body=b"".join(self.source))
        RefusedEvents(s3, "quarantine").put(self.oversize)
        self.write("raw", f"flights/{DAY}/firehose-1.parquet", self.good)
        self.write("raw", f"flights/{DAY}/firehose-2.parquet", self.good[:1])
        self.write("raw", WEATHER_KEY, [*hours[1:], hours[-1]])
        self.write("curated", CURATED_KEY, self.good)

    def write(self, bucket: str, key: str, events: list[Event]) -> None:
        """Write events as Parquet, without their partition columns."""
        rows = [{k: v for k, v in event.items() if k not in ("year", "month", "day")} for event in events]
        body = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), body)
        self.s3.put_object(Bucket=bucket, Key=key, Body=body.getvalue())

    def quarantine(
        self, event_id: str | None, reason: str, data: bytes, held: bytes | None = None, source: str = "flights"
    ) -> None:
        """Write one document; `held` instead of the bytes that it names."""
        digest = hashlib.sha256(data).hexdigest()
        document = {
            "sha256": digest,
            "event_id": event_id,
            "reason": reason,
            "data": base64.b64encode(held or data).decode(),
        }
        key = f"{source}/{DAY}/{digest}.json"
        self.s3.put_object(Bucket="quarantine", Key=key, Body=json.dumps(document).encode())

    def check(self) -> accounting.Accounting:
        """Count this run."""
        return accounting.check(self.s3, **BUCKETS, ledger=self.ledger, flights=self.flights, weather=self.weather)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return list(flights.events(months=[3], days=[9], limit=20))


@pytest.fixture(scope="module")
def hours() -> list[Event]:
    return list(weather.events(months=[3], days=[9]))[:6]


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        for bucket in BUCKETS.values():
            client.create_bucket(Bucket=bucket)
        yield client


@pytest.fixture
def run(s3: Any, tmp_path: Path, events: list[Event], hours: list[Event]) -> Run:
    return Run(s3, tmp_path, events, hours)


def test_a_clean_run_adds_up(run: Run) -> None:
    found = run.check()
    assert found.problems() == []
    assert found.records_expected == found.records_sent == 20
    assert found.records_curated == 14
    assert found.records_quarantined == dict.fromkeys((*REASONS, "oversize"), 1)
    assert found.records_duplicate == 1
    assert found.records_sent == found.records_curated + sum(found.records_quarantined.values())
    assert found.weather == accounting.Weather(expected=6, sent=6, landed=5, quarantined=1, duplicate=1)


def lose_a_curated_row(run: Run) -> None:
    run.write("curated", CURATED_KEY, run.good[1:])


def lose_a_quarantined_record(run: Run) -> None:
    key = run.s3.list_objects_v2(Bucket="quarantine", Prefix="flights/")["Contents"][0]["Key"]
    run.s3.delete_object(Bucket="quarantine", Key=key)


def lose_a_refused_event(run: Run) -> None:
    key = run.s3.list_objects_v2(Bucket="quarantine", Prefix="refused/")["Contents"][0]["Key"]
    run.s3.delete_object(Bucket="quarantine", Key=key)


def curate_an_event_twice(run: Run) -> None:
    run.write("curated", f"flights/{DAY}/part-1.parquet", run.good[:1])


def quarantine_a_curated_event(run: Run) -> None:
    run.quarantine(run.good[0]["event_id"], "wrong_type", damage.encode(run.good[0]) + b"\n")


def quarantine_instead_of_curating(run: Run) -> None:
    lose_a_curated_row(run)
    quarantine_a_curated_event(run)


def give_a_wrong_reason(run: Run) -> None:
    event = run.events[1]
    run.quarantine(event["event_id"], "wrong_type", damaged(event, "broken_json"))


def change_a_curated_value(run: Run) -> None:
    run.write("curated", CURATED_KEY, [run.good[0] | {"dep_delay": 0.125}, *run.good[1:]])


def curate_into_another_day(run: Run) -> None:
    run.s3.delete_object(Bucket="curated", Key=CURATED_KEY)
    run.write("curated", CURATED_KEY.replace("day=09", "day=10"), run.good)


def change_quarantined_bytes(run: Run) -> None:
    event = run.events[1]
    run.quarantine(event["event_id"], "broken_json", damaged(event, "broken_json"), held=b"{")


def name_another_event(run: Run) -> None:
    run.quarantine("another", "broken_json", damaged(run.events[1], "broken_json"))


def leave_out_an_id_that_can_be_read(run: Run) -> None:
    run.quarantine(None, "wrong_type", damaged(run.events[3], "wrong_type"))


def leave_out_the_id_of_an_impossible_value(run: Run) -> None:
    run.quarantine(None, "impossible_value", damaged(run.events[4], "impossible_value"))


def leave_out_the_id_of_a_refused_event(run: Run) -> None:
    refused = run.oversize
    RefusedEvents(run.s3, "quarantine").put(replace(refused, event_id=None))  # type: ignore[arg-type]


def never_send_a_flight(run: Run) -> None:
    run.flights.add("2013-03-09-AA-1-JFK")


def send_what_is_no_flight(run: Run) -> None:
    run.flights.remove(run.good[3]["event_id"])


def lose_a_duplicate_in_raw(run: Run) -> None:
    run.s3.delete_object(Bucket="raw", Key=f"flights/{DAY}/firehose-2.parquet")


def curate_what_was_never_sent(run: Run) -> None:
    run.write("curated", f"flights/{DAY}/part-1.parquet", [run.good[0] | {"event_id": "ghost"}])


def fail_a_delivery(run: Run) -> None:
    run.s3.put_object(Bucket="raw", Key="errors/flights/processing-failed/1", Body=b"{")


def lose_a_source_record(run: Run) -> None:
    run.s3.put_object(Bucket="raw", Key="source/both/1", Body=b"".join(run.source[:-1]))


def lose_a_copy_of_a_source_record(run: Run) -> None:
    run.s3.put_object(Bucket="raw", Key="source/both/1", Body=b"".join(run.source[1:]))


def lose_an_hour(run: Run) -> None:
    run.write("raw", WEATHER_KEY, [*run.hours[2:], run.hours[-1]])


def change_an_hour(run: Run) -> None:
    run.write("raw", WEATHER_KEY, [run.hours[1] | {"temp": 0.5}, *run.hours[2:], run.hours[-1]])


def land_a_refused_hour(run: Run) -> None:
    run.write("raw", f"weather/{DAY}/firehose-2.parquet", run.hours[:1])


def never_send_an_hour(run: Run) -> None:
    run.weather.add("2013-03-09T23Z-JFK")


def send_what_is_no_hour(run: Run) -> None:
    run.weather.remove(run.hours[-1]["event_id"])


def refuse_under_the_transforms_prefix(run: Run) -> None:
    lose_a_refused_event(run)
    run.quarantine(run.oversize.event_id, "oversize", run.oversize.data)


@pytest.mark.parametrize(
    ("inject", "problem"),
    [
        (lose_a_curated_row, "1 events are in no place: 2013-03-09-"),
        (lose_a_quarantined_record, "1 events are in no place: 2013-03-09-"),
        (lose_a_refused_event, r"1 events are in no place: .*\(oversize\)"),
        (curate_an_event_twice, r"1 events are in more than one place: .*\(curated, curated\)"),
        (quarantine_a_curated_event, r"1 events are in more than one place: .*\(curated, wrong_type\)"),
        (quarantine_instead_of_curating, r"1 events are in the wrong place: .*\(wrong_type, not curated\)"),
        (give_a_wrong_reason, r"1 events are in the wrong place: .*\(wrong_type, not broken_json\)"),
        (change_a_curated_value, "1 curated events differ from what was sent"),
        (curate_into_another_day, "14 curated events differ from what was sent: .*, ..."),
        (change_quarantined_bytes, "1 quarantined documents do not hold the bytes they name"),
        (name_another_event, "1 quarantined documents name another event"),
        (leave_out_an_id_that_can_be_read, "1 quarantined documents lack an event_id that can be read"),
        (leave_out_the_id_of_an_impossible_value, "1 quarantined documents lack an event_id that can be read"),
        (leave_out_the_id_of_a_refused_event, "1 quarantined documents lack an event_id that can be read"),
        (never_send_a_flight, "1 flights of the data were never sent: 2013-03-09-AA-1-JFK"),
        (send_what_is_no_flight, "1 events sent are no flight of the data: 2013-03-09-"),
        (lose_a_duplicate_in_raw, r"1 events have other copies in raw than were sent: .*\(1, not 2\)"),
        (curate_what_was_never_sent, "1 curated events were never sent: ghost"),
        (fail_a_delivery, "1 objects are under the delivery streams' error prefix: errors/flights/"),
        (lose_a_source_record, "1 events are not among the source records: 2013-03-09T"),
        (lose_a_copy_of_a_source_record, "1 events are not among the source records: 2013-03-09-"),
        (lose_an_hour, "1 events are in no place: 2013-03-09T"),
        (change_an_hour, "1 raw events differ from what was sent: 2013-03-09T"),
        (land_a_refused_hour, r"1 events are in more than one place: 2013-03-09T.*\(raw, wrong_type\)"),
        (never_send_an_hour, "1 hours of the data's weather were never sent: 2013-03-09T23Z-JFK"),
        (send_what_is_no_hour, "1 events sent are no flight of the data: 2013-03-09T"),
        (refuse_under_the_transforms_prefix, "1 quarantined documents have a reason that their prefix"),
    ],
)
def test_each_fault_is_found(run: Run, inject: Callable[[Run], None], problem: str) -> None:
    inject(run)
    problems = run.check().problems()
    assert [line for line in problems if re.match(problem, line)], problems


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("broken_json", b'{"event_id":"2013-'),
        ("missing_field", b'{"year":2013}'),
        ("missing_field", b'{"event_id":null}'),
        ("wrong_type", b'{"event_id":7}'),
        ("wrong_type", b"[]"),
    ],
)
def test_an_event_without_a_readable_id_is_known_by_its_bytes(run: Run, reason: str, data: bytes) -> None:
    with Ledger(run.ledger) as ledger:
        ledger.add([damage.Record("lost", run.oversize.day, "N1", data, reason)])
    run.flights.add("lost")
    run.quarantine(None, reason, data)
    run.s3.put_object(Bucket="raw", Key="source/both/2", Body=data)
    found = run.check()
    assert found.problems() == []
    assert found.records_quarantined[reason] == 2


def test_every_flight_of_the_data_is_expected() -> None:
    # All of 2013: https://github.com/tidyverse/nycflights13
    assert len(accounting.flights_of(range(1, 13), range(1, 32))) == 336_776


def test_the_flights_expected_are_those_that_the_producer_reads() -> None:
    sent = {event["event_id"] for event in flights.events(months=[2, 3], days=[9, 28, 31])}
    assert accounting.flights_of([2, 3], [9, 28, 31]) == sent
    hours = {event["event_id"] for event in weather.events(months=[2, 11], days=[3, 28])}
    assert accounting.weather_of([2, 11], [3, 28]) == hours


def test_a_failed_delivery_that_was_redriven_is_no_fault(run: Run) -> None:
    fail_a_delivery(run)
    run.s3.put_object(Bucket="raw", Key="redriven/errors/flights/processing-failed/1", Body=b"{}")
    assert run.check().problems() == []


def test_a_ledger_of_two_contents_is_refused(run: Run) -> None:
    with run.ledger.open("a") as file:
        file.write(f"{run.good[0]['event_id']},00,good,1\n")
    with pytest.raises(ValueError, match="two contents"):
        run.check()
