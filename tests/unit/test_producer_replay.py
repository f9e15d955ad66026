"""The producer's replay: later years, events out of order, going on from a ledger, partial failures that lose none."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from producers import __main__ as command
from producers import damage, disorder, flights, kinesis
from producers.kinesis import PutFailedError, Record, StreamProducer
from producers.ledger import Ledger, acknowledged, unsent

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def march() -> list[flights.Event]:
    return list(flights.events(months=[3], days=[9, 10]))


def scheduled(event: flights.Event) -> datetime:
    return datetime.fromisoformat(event["time_hour"]) + timedelta(minutes=event["minute"])


def test_a_later_year_has_the_same_flights_under_other_ids() -> None:
    events = list(flights.events(months=[2, 12], days=[28, 31], years=flights.YEARS))
    assert [event["year"] for event in events] == sorted(event["year"] for event in events)
    by_year = {year: [event for event in events if event["year"] == year] for year in flights.YEARS}
    assert len({len(found) for found in by_year.values()}) == 1
    assert len({event["event_id"] for event in events}) == len(events)
    assert [scheduled(event) for event in events] == sorted(map(scheduled, events))
    for event in events:
        again = {"year": 2013, "time_hour": "", "event_id": "", "tailnum": ""}
        assert any(event | again == first | again for first in by_year[2013])
        local = datetime(event["year"], event["month"], event["day"], event["hour"], tzinfo=UTC)
        assert event["event_id"].startswith(f"{local:%Y-%m-%d}-")
        assert timedelta(0) < datetime.fromisoformat(event["time_hour"]) - local < timedelta(hours=6)  # New York's


def test_a_share_of_the_events_is_late_by_up_to_an_hour(march: list[flights.Event]) -> None:
    sent = list(disorder.disordered(march, 0.2, seed=7))
    assert sent == list(disorder.disordered(march, 0.2, seed=7))
    assert sorted(event["event_id"] for event in sent) == sorted(event["event_id"] for event in march)
    latest, late = scheduled(sent[0]), []
    for event in sent:
        behind = latest - scheduled(event)
        assert behind <= HOUR
        if behind > timedelta(0):
            late.append(behind)
        latest = max(latest, scheduled(event))
    assert len(late) == pytest.approx(0.2 * len(march), rel=0.2)
    assert max(late) > HOUR * 0.9
    assert list(disorder.disordered(march, 0, seed=7)) == march
    assert list(disorder.disordered(march, 0.2, seed=8)) != sent


def test_resuming_sends_what_the_ledger_lacks(march: list[flights.Event], tmp_path: Path) -> None:
    rates = damage.Rates(damaged=0.1, oversize=0, resent=0.1)
    records = list(damage.records(march[:500], rates, seed=7))
    path = tmp_path / "ledger.csv"
    for done in (0, 100, len(records) - 10, len(records)):
        path.unlink(missing_ok=True)
        with Ledger(path) as ledger:
            ledger.add(records[:done])
        with path.open("a") as file:
            file.write("half a li")
        with Ledger(path) as ledger:
            rest = list(unsent(records, acknowledged(path)))
            ledger.add(rest)
        assert len(rest) == len(records) - done
        assert Counter(rest) + Counter(records[:done]) == Counter(records)


def test_the_command_goes_on_where_it_was_killed(
    deployed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ledger.csv"
    options = f"--environment sandbox --source flights --years 2014 --months 4 --days 2 --limit 600 --ledger {path}"
    options += " --late-rate 0.3 --damage-rate 0.1"
    command.main(options.split())
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    assert {line[:11] for line in lines[1:]} == {"2014-04-02-"}
    path.write_text("".join(lines[:200]) + lines[200][:30])  # as the kill of a process leaves it
    capsys.readouterr()
    command.main([*options.split(), "--resume"])
    assert json.loads(capsys.readouterr().out)["sent"] == len(lines) - 200
    assert path.read_text() == whole


ANSWER_LOST, REFUSED, NO_MORE = "answer lost", "refused", "no more"
# What a call meets: an error, or the positions of the records that are throttled (of those that it has).
OUTCOMES = st.one_of(st.sampled_from([ANSWER_LOST, REFUSED]), st.sets(st.integers(0, 7)))


class Stream:
    """A Kinesis client whose calls meet outcomes; keeps what it took and what it said that it took."""

    def __init__(self, outcomes: list[Any]) -> None:
        self._outcomes: Iterator[Any] = iter(outcomes)
        self.calls: list[list[int]] = []
        self.confirmed: list[int] = []

    def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:
        outcome = next(self._outcomes, NO_MORE)
        if outcome == REFUSED:
            raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "PutRecords")
        throttled = outcome if isinstance(outcome, set) else set()
        self.calls.append([int(record["Data"]) for record in Records])
        taken = [number for at, number in enumerate(self.calls[-1]) if at not in throttled]
        if outcome == ANSWER_LOST:
            raise ReadTimeoutError(endpoint_url="https://kinesis")
        self.confirmed += taken
        failed = {"ErrorCode": "ProvisionedThroughputExceededException"}
        return {"Records": [failed if at in throttled else {} for at in range(len(Records))]}


@given(
    keys=st.lists(st.sampled_from("abc"), max_size=20),
    outcomes=st.lists(OUTCOMES, max_size=30),
    size=st.integers(1, 6),
)
def test_no_partial_failure_loses_a_record(keys: list[str], outcomes: list[Any], size: int) -> None:
    """Acknowledged is what the stream confirmed, once each; all else is named by the error, or was not begun.

    Each call keeps the records' order, and no batch begins before all of the last one is acknowledged: that much order
    there can be within a key, since PutRecords promises none within a call that fails in part.
    """
    records = [Record(str(at), date(2013, 1, 1), key, str(at).encode(), "good") for at, key in enumerate(keys)]
    stream = Stream(outcomes)
    known: list[int] = []
    failed: list[int] = []
    begun = len(records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinesis, "MAX_BATCH_RECORDS", size)
        producer = StreamProducer(
            stream,
            "stream",
            acknowledged=lambda taken: known.extend(int(record.event_id) for record in taken),
            refuse=lambda record: pytest.fail(f"{record} is not too large"),
            sleep=lambda seconds: None,
        )
        try:
            progress = producer.send(records)
        except PutFailedError as error:
            failed = [int(record.event_id) for record in error.records]
            begun = (failed[-1] // size + 1) * size
        else:
            assert progress.sent == len(records)
    assert known == stream.confirmed
    assert sorted(known + failed) == list(range(len(records)))[:begun]
    assert all(call == sorted(call) for call in stream.calls)
    batches = [number // size for call in stream.calls for number in call]
    assert batches == sorted(batches)
