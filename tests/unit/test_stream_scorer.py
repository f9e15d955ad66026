"""The stream's scorer: one request a batch, one item a flight, and what fails is tried again."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import ModuleType
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber
from moto import mock_aws

from ml.captured import INCOMPLETE
from ml.requests import JSON_LINES, columns, parse
from ml.schema import FEATURE_SETS, SERVED_FEATURE_SET, columns_of
from stacks.stream_scoring import TIMEOUT
from tests.unit.invocation import context, create_table, records

ENDPOINT, TABLE = "millrace-test-flight-delays", "scores"
# fmt: off
DEPARTURE: dict[str, Any] = {
    "event_id": "2013-01-01-B6-725-JFK", "scheduled": "2013-01-01T10:45:00Z", "year": 2013, "month": 1, "day": 1,
    "carrier": "B6", "origin": "JFK", "dest": "BQN", "hour": 5, "minute": 45, "sched_arr_time": 1022,
    "distance": 1576.0,
}
# fmt: on
CONTEXT = context("score")
OTHER = DEPARTURE | {"event_id": "2013-01-01-UA-1545-EWR", "origin": "EWR"}

Kept = Callable[[], dict[str, dict[str, Any]]]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """The table's items by flight."""
    with mock_aws():
        create_table(TABLE, "event_id")
        table = boto3.resource("dynamodb").Table(TABLE)
        monkeypatch.setenv("TABLE_NAME", TABLE)
        yield lambda: {str(item["event_id"]): item for item in table.scan()["Items"]}


@pytest.fixture
def modules(
    import_lambda: Callable[[str], dict[str, ModuleType]], kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> dict[str, ModuleType]:
    monkeypatch.setenv("ENDPOINT_NAME", ENDPOINT)
    monkeypatch.setenv("KEEP_DAYS", "7")
    return import_lambda("stream_scorer")


@pytest.fixture
def scorer(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["handler"]


@pytest.fixture
def endpoint(scorer: ModuleType) -> Iterator[Stubber]:
    with Stubber(scorer.runtime) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.mark.requirement("str-kda-destinations")
def test_each_flight_has_its_score(scorer: ModuleType, endpoint: Stubber, kept: Kept) -> None:
    _answers(endpoint, 0.25, 0.75)
    assert scorer.handler(records(DEPARTURE, OTHER), CONTEXT) == {"batchItemFailures": []}
    items = kept()
    assert {name: item["late_probability"] for name, item in items.items()} == {
        DEPARTURE["event_id"]: Decimal("0.25"),
        OTHER["event_id"]: Decimal("0.75"),
    }
    item = items[DEPARTURE["event_id"]]
    assert (item["scheduled"], item["carrier"], item["dest"]) == (DEPARTURE["scheduled"], "B6", "BQN")
    assert item["variant"] == "AllTraffic"


def test_a_batch_that_comes_twice_changes_no_score(scorer: ModuleType, endpoint: Stubber, kept: Kept) -> None:
    for _ in range(2):
        _answers(endpoint, 0.25, 0.25)
        scorer.handler(records(DEPARTURE, DEPARTURE), CONTEXT)
    assert [item["late_probability"] for item in kept().values()] == [Decimal("0.25")]


def test_the_model_understands_what_it_is_asked(modules: dict[str, ModuleType]) -> None:
    asked = columns_of(FEATURE_SETS[SERVED_FEATURE_SET])
    (row, _) = parse(modules["logic"].request([DEPARTURE, OTHER]), JSON_LINES)
    assert row.keys() == {field.name for field in asked}
    assert columns([row], asked)["origin"] == ["JFK"]
    assert columns([row], asked)["temp"] == [None]


def test_the_drift_monitor_knows_the_requests_that_lack_columns(modules: dict[str, ModuleType]) -> None:
    assert modules["logic"].INCOMPLETE == INCOMPLETE


@pytest.mark.parametrize("damaged", ["{", '"text"', "{}", "[" * 100_000, json.dumps(DEPARTURE | {"event_id": 7})])
def test_all_but_what_cannot_be_read_is_scored(damaged: str, scorer: ModuleType, endpoint: Stubber, kept: Kept) -> None:
    batch = records(DEPARTURE, DEPARTURE, OTHER)
    batch["Records"][1]["kinesis"]["data"] = base64.b64encode(damaged.encode()).decode()
    _answers(endpoint, 0.25, 0.75)
    assert scorer.handler(batch, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert kept().keys() == {DEPARTURE["event_id"], OTHER["event_id"]}
    batch["Records"] = batch["Records"][1:2]
    with pytest.raises(BatchProcessingError, match="All records failed"):
        scorer.handler(batch, CONTEXT)


def test_the_function_has_time_for_all_attempts_at_an_answer_that_takes_a_minute(scorer: ModuleType) -> None:
    config, writing = scorer.runtime.meta.config, 30
    assert config.read_timeout > 60
    attempts = config.retries["total_max_attempts"] * (config.connect_timeout + config.read_timeout)
    assert attempts + writing < TIMEOUT.to_seconds()


def test_a_throttled_endpoint_leaves_the_batch_to_lambda(scorer: ModuleType, endpoint: Stubber, kept: Kept) -> None:
    endpoint.add_client_error("invoke_endpoint", "ThrottlingException", http_status_code=400)
    with pytest.raises(ClientError, match="ThrottlingException"):
        scorer.handler(records(DEPARTURE), CONTEXT)
    assert kept() == {}


def test_an_answer_that_lacks_flights_is_no_answer(scorer: ModuleType, endpoint: Stubber, kept: Kept) -> None:
    _answers(endpoint, 0.25)
    with pytest.raises(RuntimeError, match="answered 1 times for 2 flights"):
        scorer.handler(records(DEPARTURE, OTHER), CONTEXT)
    assert kept() == {}


def _answers(endpoint: Stubber, *probabilities: float) -> None:
    """The endpoint answers the next request so, if it is one of the scorer's."""
    body = "".join(json.dumps({"late_probability": each}) + "\n" for each in probabilities).encode()
    endpoint.add_response(
        "invoke_endpoint",
        {"Body": StreamingBody(io.BytesIO(body), len(body)), "InvokedProductionVariant": "AllTraffic"},
        {
            "EndpointName": ENDPOINT,
            "ContentType": JSON_LINES,
            "Accept": JSON_LINES,
            "CustomAttributes": INCOMPLETE,
            "Body": ANY,
        },
    )
