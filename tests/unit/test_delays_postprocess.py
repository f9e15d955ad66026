"""The post-processor of delays: one notice for people and programs, figures for CloudWatch, and nothing lost."""

import base64
import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws

BUCKET, PREFIX = "raw", "reference/airports/"
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
LINE = "{} 2013-01-01T10:15:00Z: 2 of 3 departed, 200 minutes late on average, 240 at most (score 1.61)"

Heard = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """The notices that a queue subscribed to the topic has had, with a bucket that has the airports' names."""
    with mock_aws():
        sns, sqs, s3 = (boto3.client(name) for name in ("sns", "sqs", "s3"))
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}airports.csv", Body=b"faa,name,lat\nJFK,John F Kennedy Intl,40.64\n")
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
    monkeypatch.setenv("DEPLOYMENT", "millrace-test")
    monkeypatch.setenv("REFERENCE_BUCKET", BUCKET)
    monkeypatch.setenv("AIRPORTS_PREFIX", PREFIX)
    return import_lambda("delays_postprocess")


@pytest.fixture
def handler(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["handler"]


@pytest.mark.requirement("str-kda-lambda", "str-kda-destinations")
def test_the_anomalies_of_a_batch_are_one_notice_with_the_airports_names(handler: ModuleType, heard: Heard) -> None:
    assert handler.handler(_batch(USUAL, UNUSUAL, UNUSUAL | {"airport": "XYZ"}), None) == {"batchItemFailures": []}
    (notice,) = heard()
    assert notice["Subject"] == "Unusual delays at JFK, XYZ"
    assert json.loads(notice["Message"]) == [
        UNUSUAL | {"airport_name": "John F Kennedy Intl"},
        UNUSUAL | {"airport": "XYZ", "airport_name": "XYZ"},
    ]


def test_a_table_that_is_none_costs_names_and_no_notice(handler: ModuleType, heard: Heard) -> None:
    for number, body in enumerate((b"code,title\nJFK,x\n", b"faa,name\nJFK\n", b"faa,name\nLGA,\xff\n", b"")):
        handler.s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}wrong/{number}.csv", Body=body)
    assert handler.handler(_batch(UNUSUAL), None) == {"batchItemFailures": []}
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
    handler.handler(_batch(USUAL, NOBODY, UNUSUAL, NOBODY | {"airport": "EWR"}), None)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kennedy, newark = (line for line in lines if "_aws" in line)
    values = {"Flights": [3, 3, 3], "MeanDelay": [7.5, 200.0], "AnomalyScore": [1.61]}
    (directive,) = kennedy.pop("_aws")["CloudWatchMetrics"]
    assert kennedy == {"Deployment": "millrace-test", "Airport": "JFK", **values}
    assert directive["Namespace"] == "Millrace/Delays"
    assert directive["Dimensions"] == [["Deployment", "Airport"]]
    assert [metric["Name"] for metric in directive["Metrics"]] == list(values)
    assert newark["Flights"] == [3]
    assert "MeanDelay" not in newark


def test_nobody_hears_of_usual_minutes(handler: ModuleType, heard: Heard) -> None:
    assert handler.handler(_batch(USUAL, USUAL), None) == {"batchItemFailures": []}
    assert heard() == []


def test_people_hear_without_names_where_there_is_no_table(
    handler: ModuleType, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRPORTS_PREFIX", "reference/none/")
    handler.handler(_batch(UNUSUAL), None)
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
def test_lambda_starts_again_at_a_record_that_cannot_be_read(damaged: str, handler: ModuleType, heard: Heard) -> None:
    batch = _batch(UNUSUAL, UNUSUAL, UNUSUAL)
    batch["Records"][1]["kinesis"]["data"] = base64.b64encode(damaged.encode()).decode()
    assert handler.handler(batch, None) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    (notice,) = heard()
    assert len(json.loads(notice["Message"])) == 1


def _batch(*metrics: dict[str, Any]) -> dict[str, Any]:
    encoded = (base64.b64encode(json.dumps(each).encode()).decode() for each in metrics)
    return {"Records": [{"kinesis": {"sequenceNumber": str(n), "data": data}} for n, data in enumerate(encoded)]}
