"""The post-processor of delays: one notice for people and programs, figures for CloudWatch, and nothing lost."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError
from botocore.exceptions import ClientError
from moto import mock_aws

from tests.unit.invocation import context, create_table, records

BUCKET, PREFIX, TABLE = "raw", "reference/airports/", "told"
USUAL = {
    "airport": "JFK",
    "window_start": "2013-01-01T10:15:00Z",
    "flights": 3,
    "departed": 2,
    "mean_delay": 7.5,
    "max_delay": 16.0,
    "share_late": 0.5,
    "score": None,
    "anomaly": False,
}
UNUSUAL = USUAL | {"mean_delay": 200.0, "max_delay": 240.0, "score": 1.61, "anomaly": True}
NOBODY = USUAL | {"departed": 0, "mean_delay": None, "max_delay": None, "share_late": None}
CONTEXT = context("postprocess")
LINE = "{} 2013-01-01T10:15:00Z: 2 of 3 departed, 200 minutes late on average, 240 at most (score 1.61)"

Heard = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """The notices that a queue subscribed to the topic has had since it was asked; the bucket has airports' names."""
    with mock_aws():
        sns, sqs, s3 = (boto3.client(name) for name in ("sns", "sqs", "s3"))
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}airports.csv", Body=b"faa,name,lat\nJFK,John F Kennedy Intl,40.64\n")
        create_table(TABLE, "id")
        topic = sns.create_topic(Name="delays")["TopicArn"]
        queue = sqs.create_queue(QueueName="programs")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        monkeypatch.setenv("TOPIC_ARN", topic)
        yield lambda: [
            json.loads(message["Body"])
            for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        ]


@pytest.fixture
def modules(
    import_lambda: Callable[[str], dict[str, ModuleType]], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> dict[str, ModuleType]:
    for name, value in (
        ("DEPLOYMENT", "millrace-test"),
        ("REFERENCE_BUCKET", BUCKET),
        ("AIRPORTS_PREFIX", PREFIX),
        ("TOLD_TABLE_NAME", TABLE),
        ("TOLD_DAYS", "1"),
        ("POWERTOOLS_METRICS_NAMESPACE", "Millrace/Delays"),
        ("POWERTOOLS_SERVICE_NAME", "real-time"),
    ):
        monkeypatch.setenv(name, value)
    found = import_lambda("delays_postprocess")
    found["handler"]._told.cache_clear()
    return found


@pytest.fixture
def handler(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["handler"]


@pytest.fixture
def impatient(modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a crash has left is forgotten soon."""
    monkeypatch.setattr(modules["store"], "CLAIM_SECONDS", 0.05)
    monkeypatch.setattr(modules["store"], "_ASKED_AGAIN_SECONDS", 0.02)


@pytest.mark.requirement("str-kda-lambda", "str-kda-destinations")
def test_the_anomalies_of_a_batch_are_one_notice_with_the_airports_names(handler: ModuleType, heard: Heard) -> None:
    assert handler.handler(records(USUAL, UNUSUAL, UNUSUAL | {"airport": "XYZ"}), CONTEXT) == {"batchItemFailures": []}
    (notice,) = heard()
    assert notice["Subject"] == "Unusual delays at JFK, XYZ"
    assert json.loads(notice["Message"]) == [
        UNUSUAL | {"airport_name": "John F Kennedy Intl"},
        UNUSUAL | {"airport": "XYZ", "airport_name": "XYZ"},
    ]


def test_a_table_that_is_none_costs_names_and_no_notice(handler: ModuleType, heard: Heard) -> None:
    tables = (b"code,title\nJFK,x\n", b"faa,name\nJFK\n", b"faa,name\nLGA,\xff\n", b"", b"faa,name\n" + b"x" * 200_000)
    for number, body in enumerate(tables):
        handler.s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}wrong/{number}.csv", Body=body)
    assert handler.handler(records(UNUSUAL), CONTEXT) == {"batchItemFailures": []}
    (notice,) = heard()
    assert json.loads(notice["Message"])[0]["airport_name"] == "John F Kennedy Intl"


@pytest.mark.requirement("str-kda-lambda")
def test_people_read_text_and_programs_json(modules: dict[str, ModuleType]) -> None:
    logic = modules["logic"]
    anomalies = logic.named([UNUSUAL, UNUSUAL | {"airport": "XYZ"}], {"JFK": "John F Kennedy Intl"})
    message = json.loads(logic.notice(anomalies)["Message"])
    assert message["default"] == f"{LINE.format('John F Kennedy Intl (JFK)')}\n{LINE.format('XYZ')}"
    assert json.loads(message["sqs"]) == anomalies


@pytest.mark.requirement("str-kda-lambda", "str-kda-destinations")
def test_cloudwatch_gets_the_minutes_of_an_airport_in_one_line(
    handler: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    handler.handler(records(USUAL, NOBODY, UNUSUAL, NOBODY | {"airport": "EWR"}), CONTEXT)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    newark, kennedy = (line for line in lines if "_aws" in line)
    values = {"Flights": [3, 3, 3], "MeanDelay": [7.5, 200.0], "AnomalyScore": [1.61]}
    (directive,) = kennedy.pop("_aws")["CloudWatchMetrics"]
    assert kennedy == {"Deployment": "millrace-test", "Airport": "JFK", **values}
    assert directive["Namespace"] == "Millrace/Delays"
    assert directive["Dimensions"] == [["Deployment", "Airport"]]
    assert [metric["Name"] for metric in directive["Metrics"]] == list(values)
    assert newark["Flights"] == [3]
    assert "MeanDelay" not in newark


def test_nobody_hears_of_usual_minutes(handler: ModuleType, heard: Heard) -> None:
    assert handler.handler(records(USUAL, USUAL), CONTEXT) == {"batchItemFailures": []}
    assert heard() == []


def test_people_hear_without_names_where_there_is_no_table(
    handler: ModuleType, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRPORTS_PREFIX", "reference/none/")
    handler.handler(records(UNUSUAL), CONTEXT)
    (notice,) = heard()
    assert json.loads(notice["Message"]) == [UNUSUAL | {"airport_name": "JFK"}]


@pytest.mark.parametrize(
    "damaged",
    [
        "{",
        '"text"',
        "{}",
        "[]",
        "[" * 100_000,
        json.dumps(UNUSUAL | {"score": None}),
        json.dumps(USUAL | {"flights": "3"}),
    ],
)
def test_lambda_starts_again_at_a_record_that_cannot_be_read(
    damaged: str, handler: ModuleType, heard: Heard, capsys: pytest.CaptureFixture[str]
) -> None:
    """People have heard of those after it when they come again, and CloudWatch has not: it has no way to know them."""
    batch = records(UNUSUAL, UNUSUAL, UNUSUAL | {"airport": "LGA"})
    batch["Records"][1]["kinesis"]["data"] = base64.b64encode(damaged.encode()).decode()
    assert handler.handler(batch, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert _airports(heard()) == [["JFK", "LGA"]]
    measured = [line for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    assert [json.loads(line)["Airport"] for line in measured] == ["JFK"]
    batch["Records"] = batch["Records"][1:]
    assert handler.handler(batch, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    batch["Records"] = batch["Records"][:1]
    with pytest.raises(BatchProcessingError):
        handler.handler(batch, CONTEXT)
    assert heard() == []


def test_a_batch_given_again_whole_or_in_halves_is_told_once(handler: ModuleType, heard: Heard) -> None:
    minutes = [UNUSUAL | {"airport": airport} for airport in ("EWR", "JFK", "LGA", "SEA")]
    for batch in (minutes, minutes, minutes[:2], minutes[2:], minutes[3:]):
        assert handler.handler(records(*batch), CONTEXT) == {"batchItemFailures": []}
    assert _airports(heard()) == [["EWR", "JFK", "LGA", "SEA"]]


def test_what_is_new_in_a_batch_of_which_a_part_was_told_is_told(handler: ModuleType, heard: Heard) -> None:
    later = UNUSUAL | {"window_start": "2013-01-01T10:16:00Z"}
    handler.handler(records(UNUSUAL), CONTEXT)
    handler.handler(records(later, UNUSUAL, later, UNUSUAL | {"airport": "EWR"}), CONTEXT)
    assert _airports(heard()) == [["EWR", "JFK"], ["JFK"]]


def test_what_sns_refused_is_told_when_it_is_tried_again(
    handler: ModuleType, heard: Heard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = handler.os.environ["TOPIC_ARN"]
    monkeypatch.setenv("TOPIC_ARN", f"{topic}-that-is-none")
    with pytest.raises(ClientError, match="NotFound"):
        handler.handler(records(UNUSUAL, UNUSUAL | {"airport": "EWR"}), CONTEXT)
    assert _table() == []
    assert "_aws" not in capsys.readouterr().out  # or CloudWatch would count the batch at every try
    monkeypatch.setenv("TOPIC_ARN", topic)
    handler.handler(records(UNUSUAL | {"airport": "EWR"}), CONTEXT)
    handler.handler(records(UNUSUAL), CONTEXT)
    assert _airports(heard()) == [["EWR"], ["JFK"]]


@pytest.mark.usefixtures("impatient")
def test_what_a_crash_left_untold_is_told(
    handler: ModuleType, heard: Heard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can't be known is whether the crash was before or after people heard: twice is better than never."""

    class CrashError(BaseException):
        """The process is gone: nothing that is written for errors runs."""

    def crash(**_notice: str) -> None:
        raise CrashError

    with monkeypatch.context() as patched:
        patched.setattr(handler.sns, "publish", crash)
        with pytest.raises(CrashError):
            handler.handler(records(UNUSUAL, UNUSUAL | {"airport": "EWR"}), CONTEXT)
    assert [item["status"]["S"] for item in _table()] == ["INPROGRESS", "INPROGRESS"]
    handler.handler(records(UNUSUAL, UNUSUAL | {"airport": "EWR"}), CONTEXT)
    assert _airports(heard()) == [["EWR", "JFK"]]
    assert [item["status"]["S"] for item in _table()] == ["COMPLETED", "COMPLETED"]


@pytest.mark.usefixtures("impatient")
def test_what_another_call_is_telling_is_left_to_it(
    modules: dict[str, ModuleType], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flink, restarted, writes a minute again, perhaps into another shard, whose function runs at the same time."""
    handler, store = modules["handler"], modules["store"]
    monkeypatch.setattr(store, "CLAIM_SECONDS", 60.0)
    other = store.Told(TABLE, 1).untold([UNUSUAL])
    assert other.__enter__() == [UNUSUAL]
    monkeypatch.setattr(store.time, "sleep", lambda _seconds: other.__exit__(None, None, None))
    handler.handler(records(UNUSUAL, UNUSUAL | {"airport": "LGA"}), CONTEXT)
    assert _airports(heard()) == [["LGA"]]


def test_a_table_that_fails_after_the_notice_is_logged_and_the_batch_is_done(
    handler: ModuleType, heard: Heard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = handler._told()._minutes.client
    monkeypatch.setattr(client, "update_item", lambda **_item: client.get_item(TableName="none", Key={}))
    assert handler.handler(records(UNUSUAL), CONTEXT) == {"batchItemFailures": []}
    assert _airports(heard()) == [["JFK"]]
    assert "people know of JFK 2013-01-01T10:15:00Z, the table does not" in caplog.text


def test_nobody_is_told_while_the_table_fails(
    handler: ModuleType, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(handler._told()._minutes, "table_name", "none")
        with pytest.raises(ClientError, match="ResourceNotFound"):
            handler.handler(records(UNUSUAL), CONTEXT)
    assert heard() == []
    handler.handler(records(UNUSUAL), CONTEXT)
    assert _airports(heard()) == [["JFK"]]


def test_what_was_told_is_forgotten_when_its_days_are_over(
    handler: ModuleType, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler.handler(records(UNUSUAL), CONTEXT)
    (item,) = _table()
    now = time.time()
    assert int(item["expires_at"]["N"]) == pytest.approx(now + 86_400, abs=60)
    item["expires_at"]["N"] = str(int(now) - 1)  # DynamoDB deletes it within two days
    boto3.client("dynamodb").put_item(TableName=TABLE, Item=item)
    handler.handler(records(UNUSUAL), CONTEXT)
    assert len(heard()) == 2


def _airports(notices: list[dict[str, Any]]) -> list[list[str]]:
    """Which airports each notice names, without regard to the order of notices, which a queue does not keep."""
    return sorted([minute["airport"] for minute in json.loads(notice["Message"])] for notice in notices)


def _table() -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = boto3.client("dynamodb").scan(TableName=TABLE)["Items"]
    return items
