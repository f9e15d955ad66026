"""A template that is none is refused with a sentence, whichever app made it."""

from pathlib import Path
from typing import Any

import pytest

from tests.checks.made import assembly
from tests.checks.test_command import run

TEMPLATES: list[Any] = [
    [],
    {"Resources": []},
    {"Resources": {"Logs": "text"}},
    {"Resources": {"Logs": {"Properties": {}}}},
    {"Resources": {"Fn::ForEach::Logs": ["Name", ["a"], {}]}},
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_without_resources_exits_2_and_says_which(tmp_path: Path, template: Any) -> None:
    assembly(tmp_path, {"logs": template})
    ended = run(tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("logs: ")
    assert "Traceback" not in ended.stderr


def test_an_unencrypted_stream_of_an_app_without_metadata_is_found(tmp_path: Path) -> None:
    assembly(tmp_path, {"a": {"Resources": {"Stream": {"Type": "AWS::Kinesis::Stream"}}}})
    ended = run(tmp_path)
    assert ended.returncode == 1
    assert "kinesis-stream-key  a/Stream\n       records are not encrypted\n       fix: Set Stream" in ended.stdout
