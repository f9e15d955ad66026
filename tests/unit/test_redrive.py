"""The redrive: what was kept is in its stream again, marked once all of it is, and nothing is moved or deleted."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from producers import redrive
from producers.kinesis import PutFailedError
from tests.unit.deployed import TARGET, received

FLIGHT = b'{"event_id":"2013-01-01-UA-1545-EWR","tailnum":"N14228","carrier":"UA"}\n'
NO_TAIL = b'{"event_id":"2013-01-01-UA-1-EWR","tailnum":null,"carrier":"UA"}\n'
HOUR = b'{"event_id":"2013-01-01T06Z-EWR","origin":"EWR"}\n'
BROKEN = b'{"event_id":"2013-01-01-UA-2-EWR\n'
ERRORS = "errors/flights/processing-failed/2026/11/28/10/a"
SOURCE = "source/flights/year=2026/month=11/day=28/hour=10/a"
LETTER = "aws/lambda/14b064e5/shardId-000000000000/2026/11/28/2026-11-28T10.00.00-f8d2"
QUARANTINED = "weather/year=2013/month=01/day=01/0.json"


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
def kept(deployed: dict[str, Any]) -> dict[str, Any]:
    """One object of each place, and the clients."""
    s3 = deployed["s3"]
    errors = b"".join(json.dumps({"rawData": base64_of(data)}).encode() + b"\n" for data in (FLIGHT, BROKEN))
    batch = [{"kinesis": {"partitionKey": "N9", "data": base64_of(data)}} for data in (FLIGHT, NO_TAIL)]
    letter = {
        "KinesisBatchInfo": {"streamArn": "arn:aws:kinesis:eu-west-1:123456789012:stream/stream"},
        "payload": json.dumps({"Records": batch}),
    }
    s3.put_object(Bucket="raw", Key=ERRORS, Body=errors)
    s3.put_object(Bucket="raw", Key=SOURCE, Body=FLIGHT + BROKEN + NO_TAIL)
    s3.put_object(Bucket="raw", Key=SOURCE.replace("flights", "weather"), Body=HOUR)
    s3.put_object(Bucket="raw", Key="flights/year=2013/month=01/day=01/a.parquet", Body=b"PAR1")
    s3.put_object(Bucket="quarantine", Key=LETTER, Body=json.dumps(letter).encode())
    s3.put_object(Bucket="quarantine", Key=QUARANTINED, Body=json.dumps({"data": base64_of(HOUR)}).encode())
    return deployed


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """The summary of a command that ends with `code`."""
    assert redrive.main(["--environment", "sandbox", *arguments]) == code
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def streams(clients: dict[str, Any]) -> dict[str, list[tuple[str, bytes]]]:
    return {source: received(clients["kinesis"], stream.name) for source, stream in TARGET.streams.items()}


def keys(clients: dict[str, Any]) -> set[str]:
    return {
        item["Key"]
        for bucket in ("raw", "quarantine")
        for item in clients["s3"].list_objects_v2(Bucket=bucket).get("Contents", [])
    }


def test_failures_are_sent_again_by_default_and_once(kept: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    before = keys(kept)
    summary = run(capsys)
    assert (summary["objects"], summary["records"], summary["sent"], summary["unreadable"]) == (2, 4, 4, 0)
    sent = streams(kept)
    assert sent["weather"] == []
    assert sent["flights"][0] == ("N14228", FLIGHT)
    assert sent["flights"][1][1] == BROKEN  # as it is: the transform says what is wrong with it
    assert sent["flights"][2:] == [("N9", FLIGHT), ("N9", NO_TAIL)]
    assert keys(kept) == before | {f"redriven/{ERRORS}", f"redriven/{LETTER}"}
    mark = json.load(kept["s3"].get_object(Bucket="raw", Key=f"redriven/{ERRORS}")["Body"])
    assert mark.keys() == {"redriven_at", "records", "unreadable"}

    again = run(capsys)
    assert (again["objects"], again["sent"], again["marked_before"]) == (0, 0, 2)
    assert run(capsys, "--again")["sent"] == 4
    assert len(streams(kept)["flights"]) == 8


def test_source_records_go_each_to_their_stream_and_what_breaks_off_is_named(
    kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    summary = run(capsys, "--from", "source", "--under", "source/")
    assert (summary["objects"], summary["records"], summary["unreadable"]) == (2, 3, 1)
    (problem,) = summary["problems"]
    assert problem.startswith(f"s3://raw/{SOURCE}: line 2 ({len(BROKEN)} bytes) is no JSON: ")
    assert streams(kept) == {"flights": [("N14228", FLIGHT), ("UA", NO_TAIL)], "weather": [("EWR", HOUR)]}


def test_quarantine_is_sent_again_on_request(kept: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--from", "quarantine")["sent"] == 1
    assert streams(kept)["weather"] == [("EWR", HOUR)]


def test_a_dry_run_counts_and_changes_nothing(kept: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    before = keys(kept)
    summary = run(capsys, "--dry-run", "--from", "errors,source,dead-letters,quarantine")
    assert (summary["objects"], summary["records"], summary["sent"], summary["unreadable"]) == (5, 8, 0, 1)
    assert keys(kept) == before
    assert streams(kept) == {"flights": [], "weather": []}


def test_time_and_key_choose_objects(kept: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    source = ("--dry-run", "--from", "source")
    assert run(capsys, *source, "--since", (now + hour).isoformat())["objects"] == 0
    assert run(capsys, *source, "--until", (now - hour).isoformat())["objects"] == 0
    assert run(capsys, *source, "--since", str(now.date() - timedelta(days=1)))["objects"] == 2
    assert run(capsys, *source, "--under", "source/weather/")["records"] == 1
    assert run(capsys, "--dry-run", "--from", "errors,source", "--under", "source/weather/")["objects"] == 1


def test_an_interrupted_redrive_goes_on_with_the_object_it_was_at(
    kept: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = kept["kinesis"].put_records

    def interrupted(**request: Any) -> Any:
        if request["Records"][0]["PartitionKey"] == "N9":
            raise KeyboardInterrupt
        return put(**request)

    monkeypatch.setattr(kept["kinesis"], "put_records", interrupted)
    summary = run(capsys, code=130)
    assert (summary["interrupted"], summary["sent"]) == (True, 2)
    assert f"redriven/{ERRORS}" in keys(kept)
    assert f"redriven/{LETTER}" not in keys(kept)
    monkeypatch.setattr(kept["kinesis"], "put_records", put)
    assert run(capsys)["sent"] == 2


def test_what_fails_again_is_left_to_the_next_redrive(
    kept: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put, letter = kept["kinesis"].put_records, kept["s3"].get_object(Bucket="quarantine", Key=LETTER)["Body"].read()

    def given_up(**request: Any) -> Any:
        kept["s3"].put_object(Bucket="quarantine", Key=f"{LETTER}-again", Body=letter)
        return put(**request)

    monkeypatch.setattr(kept["kinesis"], "put_records", given_up)
    assert run(capsys, "--from", "errors,dead-letters,errors")["objects"] == 2
    assert run(capsys)["objects"] == 1


def test_an_object_whose_records_the_stream_does_not_take_is_not_marked(
    kept: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def throttled(**request: Any) -> Any:
        raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "PutRecords")

    monkeypatch.setattr(kept["kinesis"], "put_records", throttled)
    monkeypatch.setattr("producers.kinesis._wait_seconds", lambda attempt: 0)
    with pytest.raises(PutFailedError, match="did not take 2 records"):
        redrive.main(["--environment", "sandbox"])
    assert json.loads(capsys.readouterr().out)["sent"] == 0
    assert not any(key.startswith("redriven/") for key in keys(kept))


def test_an_archived_object_is_named_and_the_others_go_on(
    kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    kept["s3"].put_object(Bucket="raw", Key=SOURCE, Body=FLIGHT, StorageClass="GLACIER")
    summary = run(capsys, "--from", "source", "--under", "source/", code=1)
    assert (summary["archived"], summary["sent"]) == (1, 1)
    assert summary["problems"] == [f"s3://raw/{SOURCE} is in an archive: restore it, then redrive again"]


def test_a_record_of_another_stream_or_no_source_is_named(
    kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    records = json.dumps({"Records": [{"kinesis": {"partitionKey": "k", "data": base64_of(b"x")}}]})
    batch = {"streamArn": "arn:aws:kinesis:eu-west-1:123456789012:stream/another"}
    letter = json.dumps({"KinesisBatchInfo": batch, "payload": records})
    kept["s3"].put_object(Bucket="quarantine", Key=LETTER, Body=letter.encode())
    kept["s3"].put_object(Bucket="raw", Key="errors/planes/a", Body=b'{"rawData":"e30="}')
    summary = run(capsys)
    assert (summary["sent"], summary["unreadable"]) == (2, 2)
    assert summary["problems"][0].startswith("s3://raw/errors/planes/a: a record of no source that its key names")
    assert summary["problems"][1].startswith(f"s3://quarantine/{LETTER}: a record of another")
    # No stream has taken them: they are named until one does.
    again = run(capsys)
    assert (again["marked_before"], again["unreadable"]) == (1, 2)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("--from errors,letters", "'letters' is none of errors, dead-letters, source, quarantine"),
        ("--since yesterday", "'yesterday' is no ISO date or time"),
        ("--under flights/", "with this --from it begins with errors/ or aws/lambda/"),
        ("--from errors,source", "say which, with --until or --under"),
    ],
)
def test_wrong_options_say_what_is_allowed(wrong: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        redrive.parse_args(["--environment", "sandbox", *wrong.split()])
    assert said in capsys.readouterr().err
