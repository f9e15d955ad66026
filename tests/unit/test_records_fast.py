"""The transform Lambda's fast path answers what its logic would, for events that are right and those nearly so."""

import base64
import json
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.events import CONTRACTS
from producers import damage
from tests.unit.near_events import EVENTS, NUMBERS, near_events

Import = Callable[[str], dict[str, ModuleType]]


@pytest.mark.parametrize("name", CONTRACTS)
def test_both_paths_answer_alike(import_lambda: Import, name: str) -> None:
    modules = import_lambda("records_transform")
    contract = CONTRACTS[name]
    parse = modules["fast"].parser(contract)

    @settings(max_examples=600)
    @given(near_events(name))
    def check(data: bytes) -> None:
        assert parse(data) == modules["logic"].parse(data, contract)

    check()


@pytest.mark.parametrize("name", CONTRACTS)
def test_no_pattern_takes_what_json_would_write_otherwise(name: str) -> None:
    patterns = [field.pattern for field in CONTRACTS[name].fields]

    @settings(max_examples=50)
    @given(st.one_of([st.from_regex(pattern, fullmatch=True) for pattern in patterns if pattern]))
    def check(text: str) -> None:
        assert json.dumps(text) == f'"{text}"'
        assert not set(text) & set(' "\\')

    check()


@pytest.mark.parametrize("name", CONTRACTS)
@pytest.mark.parametrize("field", ["arr_delay", "dep_time", "flight", "distance", "hour", "temp", "precip"])
def test_numbers_in_any_writing_are_answered_alike(import_lambda: Import, name: str, field: str) -> None:
    modules = import_lambda("records_transform")
    contract = CONTRACTS[name]
    parse = modules["fast"].parser(contract)
    event = EVENTS[name][0]
    for number in NUMBERS:
        text = json.dumps({**event, field: "here"}, separators=(",", ":")).replace('"here"', number)
        assert parse(text.encode()) == modules["logic"].parse(text.encode(), contract), text


@pytest.mark.parametrize("name", CONTRACTS)
def test_what_is_right_needs_no_second_look(import_lambda: Import, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Else the fast path could be right about everything by leaving everything to the logic."""
    modules = import_lambda("records_transform")
    lines = [damage.encode(event) for event in EVENTS[name]]
    monkeypatch.setattr(modules["logic"], "parse", lambda data, contract: pytest.fail(f"looked twice at {data!r}"))
    parse = modules["fast"].parser(CONTRACTS[name])
    for event, line in zip(EVENTS[name], lines, strict=True):
        as_dumped, indented = json.dumps(event).encode(), json.dumps(event, indent=1).encode()
        shuffled = json.dumps(dict(reversed(event.items()))).encode()
        for data in (line, as_dumped, indented, shuffled):
            assert parse(data).data == parse(data + b"\n").data == line + b"\n"


@pytest.fixture
def answer(import_lambda: Import, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[Any], dict[str, Any]]]:
    """Return a function from a batch's bytes to the handler's answers and the documents that it put in quarantine."""
    module = import_lambda("records_transform")["handler"]
    held: dict[str, Any] = {}

    def put(documents: dict[str, bytes], seconds: float) -> set[str]:
        held.update(documents)
        return set()

    monkeypatch.setattr(module, "_quarantine", lambda: SimpleNamespace(put=put))
    monkeypatch.setenv("QUARANTINE_PREFIX", "any/")
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)

    def answer(contract: str, batch: list[bytes]) -> tuple[list[Any], dict[str, Any]]:
        held.clear()
        monkeypatch.setenv("CONTRACT", contract)
        records = [{"recordId": f"r{at}", "data": base64.b64encode(data).decode()} for at, data in enumerate(batch)]
        return module.handler({"records": records}, context)["records"], {
            document["sha256"]: base64.b64decode(document["data"]) for document in map(json.loads, held.values())
        }

    return answer


@pytest.mark.requirement("str-firehose-lambda")
@pytest.mark.parametrize("name", CONTRACTS)
def test_every_record_of_any_batch_is_answered_once_in_order_and_kept(answer: Callable[..., Any], name: str) -> None:
    @settings(max_examples=100)
    @given(st.lists(st.binary(max_size=40) | near_events(name), max_size=6))
    def check(batch: list[bytes]) -> None:
        answers, held = answer(name, batch)
        assert [result["recordId"] for result in answers] == [f"r{at}" for at in range(len(batch))]
        for data, result in zip(batch, answers, strict=True):
            if result["result"] == "Ok":
                assert set(result["metadata"]["partitionKeys"]) == {"year", "month", "day"}
                assert base64.b64decode(result["data"]).endswith(b"}\n")
            else:
                assert result["result"] == "Dropped"
                assert base64.b64decode(result["data"]) == data
                assert data in held.values()

    check()


def test_every_damage_is_dropped_for_what_it_is(answer: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    event = EVENTS["flights"][0]
    batch = [way(event) for ways in damage.DAMAGES.values() for way in ways]
    answers, held = answer("flights", [damage.encode(event), *batch])
    assert [result["result"] for result in answers] == ["Ok"] + ["Dropped"] * len(batch)
    assert sorted(held.values()) == sorted(batch)
    counted = json.loads(capsys.readouterr().out)
    assert {reason: counted[reason] for reason in damage.DAMAGES} == {
        reason: len(ways) for reason, ways in damage.DAMAGES.items()
    }
