"""The transform Lambda's handler: one answer a record, in order; what is rejected is in quarantine exactly once."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from components.delivery import TRANSFORM_MIB
from contracts.events import CONTRACTS
from producers import damage, flights, weather
from tests.unit.near_events import row

EVENT = next(flights.events())
GOOD = damage.encode(EVENT)
EXTRA = damage.encode({**EVENT, "extra": 1})
BUCKET = "quarantine"

Import = Callable[[str], dict[str, ModuleType]]


@pytest.fixture
def quarantine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        monkeypatch.setenv("CONTRACT", "flights")
        monkeypatch.setenv("QUARANTINE_BUCKET", BUCKET)
        monkeypatch.setenv("QUARANTINE_PREFIX", "flights/")
        monkeypatch.setenv("METRIC_NAMESPACE", "Millrace/Transform")
        yield s3


@pytest.fixture
def handler(import_lambda: Import, quarantine: Any) -> Callable[..., dict[str, Any]]:
    module = import_lambda("records_transform")["handler"]
    module._quarantine.cache_clear()
    return lambda *records, seconds=180: module.handler(
        {
            "records": [
                {
                    "recordId": str(number),
                    "data": base64.b64encode(data).decode(),
                    "approximateArrivalTimestamp": 1_795_000_000_000,
                }
                for number, data in enumerate(records)
            ]
        },
        SimpleNamespace(get_remaining_time_in_millis=lambda: seconds * 1000, function_name="transform"),
    )


def documents(s3: Any) -> dict[str, dict[str, Any]]:
    listed = s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {item["Key"]: json.load(s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"]) for item in listed}


@pytest.mark.requirement("str-firehose-lambda")
def test_handler_answers_firehose_and_fills_quarantine(
    handler: Callable[..., dict[str, Any]], quarantine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    good, broken, extra = GOOD, b"{", EXTRA
    answer = handler(good, broken, extra, good, broken)["records"]
    assert [record["recordId"] for record in answer] == ["0", "1", "2", "3", "4"]
    assert [record["result"] for record in answer] == ["Ok", "Dropped", "Dropped", "Ok", "Dropped"]
    assert answer[0]["metadata"] == {"partitionKeys": {"year": "2013", "month": "01", "day": "01"}}
    assert base64.b64decode(answer[0]["data"]).endswith(b"}\n")
    digest = hashlib.sha256(broken).hexdigest()
    found = documents(quarantine)
    assert found[f"flights/year=0000/month=00/day=00/{digest}.json"] == {
        "sha256": digest,
        "event_id": None,
        "reason": "broken_json",
        "detail": found[f"flights/year=0000/month=00/day=00/{digest}.json"]["detail"],
        "received_at": "2026-11-18T11:06:40+00:00",
        "source": "transform",
        "data": base64.b64encode(broken).decode(),
    }
    assert f"flights/year=2013/month=01/day=01/{hashlib.sha256(extra).hexdigest()}.json" in found
    assert len(found) == 2
    assert json.loads(capsys.readouterr().out) == {
        "records": 5,
        "quarantine_failed": 0,
        "curated": 2,
        "broken_json": 2,
        "unexpected_field": 1,
    }


def test_a_retried_batch_writes_the_same_objects(handler: Callable[..., Any], quarantine: Any) -> None:
    handler(b"{", EXTRA)
    before = documents(quarantine)
    handler(b"{", EXTRA)
    assert documents(quarantine) == before


def test_firehose_keeps_the_bytes_when_quarantine_refuses_and_cloudwatch_counts_them(
    handler: Callable[..., dict[str, Any]], quarantine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    quarantine.delete_bucket(Bucket=BUCKET)
    answer = handler(GOOD, b"{")["records"]
    assert [record["result"] for record in answer] == ["Ok", "ProcessingFailed"]
    assert base64.b64decode(answer[1]["data"]) == b"{"
    line = json.loads(capsys.readouterr().out)
    assert (line["FunctionName"], line["quarantine_failed"]) == ("transform", 1)
    assert line["_aws"]["Timestamp"] / 1000 == pytest.approx(time.time(), abs=60)
    assert line["_aws"]["CloudWatchMetrics"] == [
        {
            "Namespace": "Millrace/Transform",
            "Dimensions": [["FunctionName"]],
            "Metrics": [{"Name": "quarantine_failed", "Unit": "Count"}],
        }
    ]


def test_firehose_keeps_the_bytes_that_quarantine_had_no_time_for(
    import_lambda: Import,
    handler: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    over = threading.Event()
    monkeypatch.setattr(quarantine_of(import_lambda), "put_object", lambda **_: over.wait(30))
    broken = [b"{" * length for length in range(1, 21)]
    answer = handler(GOOD, *broken, seconds=10.2)["records"]
    over.set()
    assert [record["result"] for record in answer] == ["Ok"] + ["ProcessingFailed"] * 20
    assert [base64.b64decode(record["data"]) for record in answer[1:]] == broken
    assert "20 of 20 quarantine writes not done in time, Firehose keeps the records" in caplog.text


@pytest.mark.parametrize("event", [EVENT, next(weather.events())])
def test_the_answer_to_a_full_buffer_is_small_enough_for_lambda(
    import_lambda: Import, monkeypatch: pytest.MonkeyPatch, event: dict[str, Any]
) -> None:
    """However short the lines, which grow most. docs.aws.amazon.com/firehose/latest/dev/data-transformation.html"""
    name = "flights" if "flight" in event else "weather"
    short = {"event_id": "a", "flight": 1, "sched_dep_time": 5, "sched_arr_time": 5, "distance": 1}
    fields = CONTRACTS[name].fields
    data = row(*(short.get(field.name, event[field.name]) if field.required else "" for field in fields))
    monkeypatch.setenv("CONTRACT", name)
    monkeypatch.setenv("QUARANTINE_PREFIX", f"{name}/")
    given = {"recordId": "4" * 64, "data": base64.b64encode(data).decode()}
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
    (answer,) = import_lambda("records_transform")["handler"].handler({"records": [given]}, context)["records"]
    assert answer["result"] == "Ok"
    records = TRANSFORM_MIB * 2**20 // len(data)
    assert records * len(json.dumps(answer) + ", ") < 6_000_000


@pytest.mark.requirement("str-firehose-lambda")
def test_csv_goes_on_as_json(handler: Callable[..., dict[str, Any]]) -> None:
    (answer,) = handler(row(*EVENT.values()))["records"]
    assert base64.b64decode(answer["data"]) == GOOD + b"\n"


def quarantine_of(import_lambda: Import) -> Any:
    """The S3 client that the handler writes to quarantine with."""
    return import_lambda("records_transform")["handler"]._quarantine()._client
