"""The endpoint: every row of a good request is answered in order, every bad one is refused by row and field."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import model, serve
from ml.requests import JSON, JSON_LINES, BadRequest, columns, parse
from ml.schema import BASE_RATE, Field

ROW: dict[str, Any] = {
    "year": 2013,
    "month": 7,
    "day": 4,
    "carrier": "UA",
    "origin": "EWR",
    "dest": "IAH",
    "hour": 5,
    "minute": 15,
    "sched_arr_time": 819,
    "distance": 1400.0,
    "temp": 39.02,
    "dewp": 28.04,
    "humid": 64.43,
    "wind_dir": 260.0,
    "wind_speed": 12.66,
    "wind_gust": None,
    "precip": 0.0,
    "pressure": 1011.9,
    "visib": 10.0,
}
FIELDS = model.Baseline.columns
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def good_values(field: Field) -> st.SearchStrategy[Any]:
    """Values a field may have; the calendar's are those of real dates."""
    if field.name in ("year", "month", "day"):
        return st.integers(1, {"year": 9999, "month": 12, "day": 28}[field.name])
    values: dict[str, st.SearchStrategy[Any]] = {
        "String": st.text(max_size=5),
        "Integral": st.integers(-(2**60), 2**60),
        "Fractional": st.floats(allow_nan=False, allow_infinity=False, width=32),
    }
    return st.none() | values[field.kind]


GOOD_ROWS = st.lists(
    st.fixed_dictionaries({field.name: good_values(field) for field in FIELDS}), min_size=1, max_size=5
)


def lines(*rows: Any) -> bytes:
    """The rows as JSON lines."""
    return "\n".join(json.dumps(row) for row in rows).encode()


def invoke(body: bytes, content_type: str = JSON_LINES) -> tuple[int, str]:
    """Status and text of the baseline's answer."""
    status, _, answer = serve.invoke(model.Baseline(), body, content_type)
    return status, answer.decode()


def refusal(*rows: Any) -> str:
    """The error of a request that is refused."""
    status, text = invoke(lines(*rows))
    assert status == 400
    return str(json.loads(text)["error"])


@settings(max_examples=50)
@given(rows=GOOD_ROWS, as_lines=st.booleans(), newline=st.booleans())
def test_every_good_row_is_read_as_it_was_sent(rows: list[Any], as_lines: bool, newline: bool) -> None:
    body = lines(*rows) + b"\n" * newline if as_lines else json.dumps(rows).encode()
    read = columns(parse(body, JSON_LINES if as_lines else JSON), FIELDS)
    assert {name: len(values) for name, values in read.items()} == {field.name: len(rows) for field in FIELDS}
    for field in FIELDS:
        for row, value in zip(rows, read[field.name], strict=True):
            assert value == (float(row[field.name]) if isinstance(row[field.name], int) else row[field.name])


@settings(max_examples=150)
@given(body=st.binary(max_size=60) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_other_body_is_refused_or_answered_but_never_breaks(body: bytes) -> None:
    for content_type in (JSON, JSON_LINES):
        assert invoke(body, content_type)[0] == 400  # no row that hypothesis makes up has all columns


@settings(max_examples=150)
@given(field=st.sampled_from(FIELDS), value=JSON_VALUES, before=st.integers(0, 3))
def test_a_wrong_value_is_named_by_row_and_field(field: Field, value: Any, before: int) -> None:
    body = lines(*[ROW] * before, {**ROW, field.name: value})
    try:
        columns(parse(body, JSON_LINES), FIELDS)
    except BadRequest as error:
        assert f"row {before + 1}" in str(error)
        assert f"'{field.name}'" in str(error) or "is not JSON" in str(error)
    else:
        assert value is None or field.value(value) is not None


def test_the_request_of_the_documentation_is_answered() -> None:
    page = (Path(__file__).parents[2] / "docs" / "model.md").read_text()
    (payload,) = re.findall(r'^ +(\{"body": .*\})$', page, re.MULTILINE)
    assert invoke(json.loads(payload)["body"].encode()) == (200, f'{{"late_probability": {BASE_RATE}}}\n')


def test_the_row_and_the_field_are_named() -> None:
    without = {name: value for name, value in ROW.items() if name != "temp"}
    assert refusal(ROW, without) == "row 2: field 'temp' is missing; send null if it is unknown"
    assert refusal({**ROW, "temp": "mild"}) == "row 1: field 'temp' needs a finite number or null, not 'mild'"
    assert refusal({**ROW, "temp": True}) == "row 1: field 'temp' needs a finite number or null, not True"
    assert refusal({**ROW, "hour": 5.5}) == "row 1: field 'hour' needs a whole number or null, not 5.5"
    assert refusal({**ROW, "carrier": 9}) == "row 1: field 'carrier' needs text or null, not 9"
    assert "row 1: fields 'year', 'month', 'day' make no date" in refusal({**ROW, "day": 32})
    assert "row 2: needs a JSON object" in refusal(ROW, [ROW])
    assert "row 1 is not JSON: NaN is not a JSON number" in refusal({**ROW, "temp": float("nan")})
    assert invoke(b"\n")[1] == '{"error": "the body has no rows"}'
    assert "the body is not UTF-8" in invoke(b"\xff")[1]
    assert "is not JSON" in invoke(b"[" * 100_000)[1]
    assert "needs a whole number" in refusal({**ROW, "hour": 10**400})


def test_whole_numbers_may_be_written_as_fractions_and_unknown_columns_are_ignored() -> None:
    assert invoke(lines({**ROW, "hour": 5.0, "tailnum": "N14228"}))[0] == 200


def test_separators_that_json_allows_in_text_do_not_end_a_line() -> None:
    body = json.dumps({**ROW, "dest": "a\u2028b"}, ensure_ascii=False).encode()
    assert invoke(body)[0] == 200


def test_both_content_types_are_answered_in_json_lines() -> None:
    expected = f'{{"late_probability": {BASE_RATE}}}\n'
    assert invoke(lines(ROW, ROW) + b"\n") == (200, expected * 2)
    assert invoke(json.dumps([ROW, ROW]).encode(), JSON) == (200, expected * 2)
    assert invoke(json.dumps(ROW).encode(), "Application/JSON; charset=utf-8") == (200, expected)
    assert invoke(lines(ROW), "text/csv")[0] == 415


def test_unknown_paths_are_refused() -> None:
    async def call(method: str, path: str) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        await serve.app(model.Baseline())({"method": method, "path": path, "headers": []}, receive, send)
        return sent

    assert asyncio.run(call("GET", "/ping"))[0]["status"] == 200
    assert asyncio.run(call("GET", "/invocations"))[0]["status"] == 404
    assert asyncio.run(call("POST", "/invocations"))[0]["status"] == 415


def test_a_folder_with_half_a_model_is_no_baseline(tmp_path: Path) -> None:
    assert isinstance(model.load(tmp_path / "absent"), model.Baseline)
    assert isinstance(model.load(tmp_path), model.Baseline)
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"encoder\.json"):
        model.load(tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a served image without a model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path), "SAGEMAKER_BIND_TO_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "ml.serve"], env=environment, stderr=subprocess.PIPE)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"{address}/ping", timeout=5)  # noqa: S310
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None and time.monotonic() < deadline, "the server did not start"
                time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        assert process.wait(10) is not None


def test_the_image_without_a_model_serves_the_base_rate(server: str) -> None:
    request = urllib.request.Request(  # noqa: S310
        f"{server}/invocations", data=lines(ROW, ROW), headers={"Content-Type": JSON_LINES}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
        assert answer.headers["Content-Type"] == JSON_LINES
        assert answer.read().splitlines() == [b'{"late_probability": 0.231}'] * 2
