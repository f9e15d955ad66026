"""The transform Lambda's lines: an event is compact JSON with its day, on either path."""

import functools
import json
from collections.abc import Callable
from datetime import date
from types import ModuleType
from typing import Any

import pytest

from contracts.events import CONTRACTS
from producers import damage, flights, weather

EVENT = next(flights.events())

Parse = Callable[[bytes], Any]
Import = Callable[[str], dict[str, ModuleType]]


@pytest.fixture(scope="module")
def logic(import_lambda: Import) -> ModuleType:
    return import_lambda("records_transform")["logic"]


@pytest.fixture(scope="module", params=["logic", "fast"])
def parser(request: pytest.FixtureRequest, import_lambda: Import) -> Callable[[str], Parse]:
    """What reads records of a contract: the reader alone, or behind the fast path."""
    modules = import_lambda("records_transform")
    if request.param == "fast":
        return lambda name: modules["fast"].parser(CONTRACTS[name])
    return lambda name: functools.partial(modules["logic"].parse, contract=CONTRACTS[name])


@pytest.mark.requirement("st-partition-date")
def test_a_valid_event_is_compact_json_in_contract_order_with_its_day(parser: Callable[[str], Parse]) -> None:
    shuffled = dict(reversed(EVENT.items())) | {"distance": 1400}
    outcome = parser("flights")(json.dumps(shuffled, indent=2).encode())
    assert outcome.event_id == EVENT["event_id"]
    assert outcome.partition == {"year": "2013", "month": "01", "day": "01"}
    assert outcome.data == json.dumps(EVENT, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize(("name", "source"), [("flights", flights), ("weather", weather)])
def test_real_events_are_lines_as_they_came(
    logic: ModuleType, parser: Callable[[str], Parse], name: str, source: ModuleType
) -> None:
    parse = parser(name)
    for event in source.events(months=[1, 7], days=[1, 15]):
        day = logic.partition(date(event["year"], event["month"], event["day"]))
        data = damage.encode(event)
        assert parse(data) == logic.Curated(event["event_id"], day, data + b"\n")
