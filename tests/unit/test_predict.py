"""The predict Lambda: answers in the order asked, and captures what it answered in SageMaker's format."""

import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from botocore.stub import Stubber
from moto import mock_aws

ENDPOINT, BUCKET, JSON_LINES = "millrace-test-flight-delays", "captured", "application/jsonlines"
BODY = '{"carrier": "UA", "dest": "IAH"}\n{"carrier": "B6", "dest": "São Paulo", "temp": null}'
OUTPUT = '{"late_probability": 0.25}\n{"late_probability": 0.75}\n'


@pytest.fixture
def modules(
    import_lambda: Callable[[str], dict[str, ModuleType]], monkeypatch: pytest.MonkeyPatch
) -> dict[str, ModuleType]:
    monkeypatch.setenv("ENDPOINT_NAME", ENDPOINT)
    monkeypatch.setenv("CAPTURE_BUCKET", BUCKET)
    return import_lambda("predict")


@pytest.fixture
def predict(modules: dict[str, ModuleType]) -> ModuleType:
    """The function of an endpoint that can't capture."""
    return modules["capturing"]


@pytest.fixture
def endpoint(modules: dict[str, ModuleType]) -> Iterator[Stubber]:
    with Stubber(modules["handler"].runtime) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def captured() -> Iterator[Callable[[], dict[str, bytes]]]:
    """What the capture bucket holds, by key."""
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

        def objects() -> dict[str, bytes]:
            keys = [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
            return {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}

        yield objects


Captured = Callable[[], dict[str, bytes]]


def test_it_answers_in_the_order_of_the_lines(predict: ModuleType, endpoint: Stubber, captured: Captured) -> None:
    _answer(endpoint)
    answer = predict.handler({"body": BODY}, None)
    assert answer["predictions"] == [0.25, 0.75]
    assert answer["variant"] == "AllTraffic"


def test_what_it_answered_is_captured_as_sagemaker_would(
    predict: ModuleType, endpoint: Stubber, captured: Captured
) -> None:
    _answer(endpoint)
    answer = predict.handler({"body": BODY}, None)
    ((key, content),) = captured().items()
    record = json.loads(content)
    assert content.endswith(b"}\n")
    assert content.count(b"\n") == 1
    at = datetime.strptime(record["eventMetadata"].pop("inferenceTime"), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert timedelta(0) <= datetime.now(UTC) - at < timedelta(minutes=1)
    milliseconds = f"{at.microsecond // 1000:03d}"
    assert key == f"{ENDPOINT}/AllTraffic/{at:%Y/%m/%d/%H/%M-%S}-{milliseconds}-{answer['event_id']}.jsonl"
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer["event_id"])
    assert record == {
        "captureData": {
            "endpointInput": {
                "observedContentType": JSON_LINES,
                "mode": "INPUT",
                "data": BODY,
                "encoding": "JSON",
            },
            "endpointOutput": {
                "observedContentType": JSON_LINES,
                "mode": "OUTPUT",
                "data": OUTPUT,
                "encoding": "JSON",
            },
        },
        "eventMetadata": {"eventId": answer["event_id"]},
        "eventVersion": "0",
    }


def test_an_endpoint_that_captures_by_itself_is_not_captured_again(
    modules: dict[str, ModuleType], endpoint: Stubber, captured: Captured
) -> None:
    _answer(endpoint)
    assert modules["handler"].handler({"body": BODY}, None)["predictions"] == [0.25, 0.75]
    assert not captured()


def test_a_capture_that_fails_is_logged_and_the_answer_given(
    predict: ModuleType, endpoint: Stubber, capsys: pytest.CaptureFixture[str]
) -> None:
    _answer(endpoint)
    with Stubber(predict.s3) as s3:
        s3.add_client_error("put_object", "SlowDown", "reduce your request rate", 503)
        answer = predict.handler({"body": BODY}, SimpleNamespace(aws_request_id="request-1"))
    assert answer["predictions"] == [0.25, 0.75]
    logged = json.loads(capsys.readouterr().out)
    assert (logged["capture_failed"], logged["request_id"]) == (1, "request-1")
    assert logged["event_id"] == answer["event_id"]
    assert "SlowDown" in logged["error"]


def test_a_capture_that_gets_no_answer_fails_soon(predict: ModuleType) -> None:
    config = predict.s3.meta.config
    assert (config.connect_timeout + config.read_timeout) * config.retries["total_max_attempts"] < 10


@pytest.mark.parametrize("event", [{}, {"body": ""}, {"body": " \n"}, {"body": None}, {"body": {"carrier": "UA"}}])
def test_a_request_without_lines_is_refused_with_what_it_needs(
    event: dict[str, Any], predict: ModuleType, endpoint: Stubber, captured: Captured
) -> None:
    with pytest.raises(ValueError, match='"body" of JSON lines, one object of features per flight'):
        predict.handler(event, None)
    assert not captured()


def test_an_error_of_the_endpoint_is_passed_on_and_nothing_captured(
    predict: ModuleType, endpoint: Stubber, captured: Captured
) -> None:
    endpoint.add_client_error("invoke_endpoint", "ModelError", "line 2: carrier is a number", 424)
    with pytest.raises(ClientError, match="line 2: carrier is a number"):
        predict.handler({"body": BODY}, None)
    assert not captured()


def _answer(endpoint: Stubber) -> None:
    """The endpoint's next answer; it expects BODY."""
    output = OUTPUT.encode()
    endpoint.add_response(
        "invoke_endpoint",
        {"Body": StreamingBody(io.BytesIO(output), len(output)), "InvokedProductionVariant": "AllTraffic"},
        {"EndpointName": ENDPOINT, "ContentType": JSON_LINES, "Accept": JSON_LINES, "Body": BODY},
    )
