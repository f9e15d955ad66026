"""The alerts function: people hear of anomalies alone, and a record it can't read stops nothing before it."""

import base64
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

TOPIC = "arn:aws:sns:eu-west-1:123456789012:delays"
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


@pytest.fixture
def handler(import_lambda: Callable[[str], dict[str, ModuleType]], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("TOPIC_ARN", TOPIC)
    return import_lambda("delay_alerts")["handler"]


def test_the_anomalies_of_a_batch_are_one_message(handler: ModuleType) -> None:
    with Stubber(handler.sns) as sns:
        line = "{} 2013-01-01T10:15:00Z: 2 of 3 departed, 200 minutes late on average, 240 at most (score 1.61)"
        message = {
            "TopicArn": TOPIC,
            "Subject": "Unusual delays at EWR, JFK",
            "Message": f"{line.format('JFK')}\n{line.format('EWR')}",
        }
        sns.add_response("publish", {"MessageId": "1"}, message)
        answer = handler.handler(_batch(USUAL, UNUSUAL, UNUSUAL | {"airport": "EWR"}), None)
        sns.assert_no_pending_responses()
    assert answer == {"batchItemFailures": []}


def test_nobody_hears_of_usual_minutes(handler: ModuleType) -> None:
    with Stubber(handler.sns):  # which would refuse any call
        assert handler.handler(_batch(USUAL, USUAL), None) == {"batchItemFailures": []}


@pytest.mark.parametrize("damaged", ["{", '"text"', "{}", "[]"])
def test_lambda_starts_again_at_a_record_that_cannot_be_read(damaged: str, handler: ModuleType) -> None:
    batch = _batch(UNUSUAL, UNUSUAL, UNUSUAL)
    batch["Records"][1]["kinesis"]["data"] = base64.b64encode(damaged.encode()).decode()
    with Stubber(handler.sns) as sns:
        sns.add_response("publish", {"MessageId": "1"}, {"TopicArn": TOPIC, "Subject": ANY, "Message": ANY})
        assert handler.handler(batch, None) == {"batchItemFailures": [{"itemIdentifier": "1"}]}


def _batch(*metrics: dict[str, Any]) -> dict[str, Any]:
    encoded = (base64.b64encode(json.dumps(each).encode()).decode() for each in metrics)
    return {"Records": [{"kinesis": {"sequenceNumber": str(n), "data": data}} for n, data in enumerate(encoded)]}
