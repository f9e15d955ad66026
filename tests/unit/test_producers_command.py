"""The producer's command: it waits for the streams, sends a slice of both sources and leaves nothing unwritten."""

import base64
import hashlib
import itertools
import json
import re
import runpy
import sys
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from command_line.deployment import NotDeployedError, stack_prefix, stack_region
from config import sandbox
from config.settings import Settings
from producers import __main__ as command
from producers import damage, deployment, flights, weather
from producers.kinesis import Record
from producers.refused import RefusedEvents
from tests.unit.deployed import PREFIX, STACKS, TARGET, Stacks, received


class Described:
    """A Kinesis and Firehose client in one, whose statuses follow each other; the last one stays."""

    def __init__(self, stream: list[str], delivery: list[str]) -> None:
        self._stream = itertools.chain(stream, itertools.repeat(stream[-1]))
        self._delivery = itertools.chain(delivery, itertools.repeat(delivery[-1]))

    def describe_stream_summary(self, StreamName: str) -> dict[str, Any]:
        return {"StreamDescriptionSummary": {"StreamStatus": next(self._stream)}}

    def describe_delivery_stream(self, DeliveryStreamName: str) -> dict[str, Any]:
        return {"DeliveryStreamDescription": {"DeliveryStreamStatus": next(self._delivery)}}


def test_the_first_put_waits_for_streams_and_delivery_streams() -> None:
    waits: list[float] = []
    client = Described(["CREATING", "CREATING", "ACTIVE"], ["CREATING", "ACTIVE", "CREATING", "ACTIVE"])
    deployment.wait_until_read(client, client, TARGET, sleep=waits.append)
    assert len(waits) == 4


@pytest.mark.parametrize(
    ("status", "error"), [("CREATING_FAILED", deployment.FailedStreamError), ("CREATING", TimeoutError)]
)
def test_a_delivery_stream_that_never_reads_is_an_error(status: str, error: type[Exception]) -> None:
    client = Described(["ACTIVE"], [status])
    with pytest.raises(error, match="delivery stream weather-delivery"):
        deployment.wait_until_read(client, client, TARGET, sleep=lambda seconds: None)


def test_the_command_sends_a_slice(
    deployed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ledger.csv"
    options = f"--environment sandbox --months 4 --days 2-3 --limit 600 --oversize-rate 0.01 --ledger {path}"
    command.main(options.split())
    summary = json.loads(capsys.readouterr().out)
    ledger = [line.split(",") for line in path.read_text().splitlines()[1:]]
    taken = [digest for _, digest, kind, _ in ledger if kind != damage.OVERSIZE]
    hours, departures = (received(deployed["kinesis"], stream.name) for stream in TARGET.streams.values())
    # All of the few records are looked at together, weather first.
    assert [hashlib.sha256(data).hexdigest() for _, data in hours + departures] == taken
    assert summary["sent"] == len(taken)
    assert len(ledger) == summary["sent"] + summary["refused"]
    assert len({event_id for event_id, *_ in ledger}) == 600 + len(list(weather.events([4], [2, 3])))
    assert {key for key, _ in hours} == {"EWR", "JFK", "LGA"}
    times = [found[0] for _, data in hours if (found := re.findall(rb'"time_hour":"2013-04-0.T..', data))]
    assert times == sorted(times) and len(times) > 100

    s3 = deployed["s3"]
    uploaded = {item["Key"] for item in s3.list_objects_v2(Bucket="raw")["Contents"]}
    assert uploaded == {"reference/planes/planes.csv", "reference/airports/airports.csv"}
    for name, source in flights.reference_files().items():
        assert s3.get_object(Bucket="raw", Key=f"reference/{name}/{name}.csv")["Body"].read() == source.read_bytes()
    refused = [item["Key"] for item in s3.list_objects_v2(Bucket="quarantine")["Contents"]]
    assert len(refused) == summary["refused"] > 0
    assert {key.split("/")[1] for key in refused} == {"flights", "weather"}
    document = json.load(s3.get_object(Bucket="quarantine", Key=refused[0])["Body"])
    digest = hashlib.sha256(base64.b64decode(document.pop("data"))).hexdigest()
    assert refused[0] == f"refused/flights/year=2013/month=04/day={document['event_id'][8:10]}/{digest}.json"
    assert digest in {line[1] for line in ledger}
    assert document.keys() == {"sha256", "event_id", "reason", "detail", "received_at", "source"}
    assert (document["sha256"], document["reason"], document["source"]) == (digest, "oversize", "producer")


def test_one_source_can_be_sent_alone(deployed: dict[str, Any], tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.csv"
    command.main(f"--environment sandbox --limit 9 --oversize-rate 0 --source weather --ledger {ledger}".split())
    assert [len(received(deployed["kinesis"], stream.name)) for stream in TARGET.streams.values()] == [9, 0]


def test_what_one_deployment_has_taken_is_not_left_out_of_another() -> None:
    given = ("--environment sandbox", "--environment production", "--environment sandbox --prefix another")
    assert len({command.parse_args(options.split()).ledger for options in given}) == 3


def test_the_deployment_is_the_one_that_config_describes(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = sandbox.SETTINGS | {"prefix": "moved", "region": "eu-central-1"}
    asked = command.parse_args(["--environment", "sandbox"])
    assert (stack_prefix(asked), stack_region(asked)) == (sandbox.SETTINGS["prefix"], Settings(prefix="any").region)
    monkeypatch.setattr(sandbox, "SETTINGS", moved)
    assert (stack_prefix(asked), stack_region(asked)) == ("moved", "eu-central-1")
    named = command.parse_args(["--environment", "sandbox", "--prefix", "mine", "--region", "us-west-2"])
    assert (stack_prefix(named), stack_region(named)) == ("mine", "us-west-2")


def test_weather_comes_with_or_before_the_flights_of_its_day() -> None:
    arguments = ["--environment", "sandbox", "--months", "1", "--days", "1-3", "--duplicate-rate", "0.1"]
    records = list(command._records(command.parse_args(arguments), ["weather", "flights"]))
    assert len({record.event_id for record in records}) == 842 + 943 + 914 + len(list(weather.events([1], [1, 2, 3])))
    first: dict[str, int] = {}
    for position, record in enumerate(records):
        first.setdefault(record.event_id, position)
    for day in {record.day for record in records}:
        hours, departures = (
            [first[record.event_id] for record in records if record.source == name and record.day == day]
            for name in ("weather", "flights")
        )
        assert max(hours) < min(departures)


def test_a_missing_stack_or_output_says_what_to_do() -> None:
    assert deployment.find(STACKS, PREFIX) == TARGET
    with pytest.raises(NotDeployedError, match=r"there is no stack another-data-lake .* deploy it first"):
        deployment.find(STACKS, "another")
    with pytest.raises(NotDeployedError, match="has no output QuarantineBucketName"):
        deployment.find(Stacks(data_lake={"RawBucketName": "raw"}), PREFIX)


def test_what_ends_a_command_is_said_without_a_traceback(
    deployed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended_by(error: BaseException, *words: str) -> object:
        monkeypatch.setattr(deployed["kinesis"], "describe_stream_summary", Mock(side_effect=error))
        monkeypatch.setattr(sys, "argv", ["producers", *words, "--environment", "sandbox"])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(command.__file__, run_name="__main__")
        return end.value.code

    assert ended_by(NoCredentialsError()) == "Unable to locate credentials"
    expired = ClientError({"Error": {"Code": "ExpiredTokenException", "Message": "expired"}}, "DescribeStreamSummary")
    assert "ExpiredTokenException" in str(ended_by(expired, "redrive"))
    assert "No space left" in str(ended_by(OSError(28, "No space left on device")))
    assert ended_by(KeyboardInterrupt()) == 130
    assert "stopped; the same command goes on from here" in capsys.readouterr().err


def test_a_refused_event_is_written_once(deployed: dict[str, Any]) -> None:
    refused = RefusedEvents(deployed["s3"], "quarantine")
    for _ in range(2):
        refused.put(Record("a", date(2013, 1, 2), "N1", b"x", "oversize", "weather"))
    (item,) = deployed["s3"].list_objects_v2(Bucket="quarantine")["Contents"]
    assert item["Key"].startswith("refused/weather/year=2013/month=01/day=02/")


@pytest.mark.parametrize(
    "wrong",
    [
        "--months 0-4",
        "--months 4-1",
        "--days x",
        "--damage-rate 2",
        "--limit 0",
        "--limit -1",
        "--limit x",
        "--source planes",
        "--environment test",
    ],
)
def test_wrong_options_are_named(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.parse_args(["--environment", "sandbox", *wrong.split()])
    assert wrong.split()[0] in capsys.readouterr().err
