"""A template or manifest that is none is refused with a sentence, whichever app made it."""

import json
from pathlib import Path
from typing import Any

import pytest

from checks.assembly import AssemblyError
from checks.gates import judge
from tests.checks.made import assembly
from tests.checks.test_command import run

TEMPLATES: list[Any] = [
    [],
    {"Resources": []},
    {"Resources": {"Logs": "text"}},
    {"Resources": {"Logs": {"Properties": {}}}},
    {"Resources": {"Fn::ForEach::Logs": ["Name", ["a"], {}]}},
    {"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": None}}},
    {"Resources": {}, "Outputs": None},
    {"Resources": {}, "Outputs": {"Arn": "text"}},
]
STACK = {"type": "aws:cloudformation:stack", "properties": {"templateFile": "a.template.json"}, "displayName": "a"}
LOOP = {"type": "cdk:cloud-assembly", "properties": {"directoryName": ".", "displayName": "a"}}
MANIFESTS: list[Any] = [
    None,
    [],
    {},
    {"artifacts": []},
    {"artifacts": {}},
    {"artifacts": {"a": {}}},
    {"artifacts": {"a": {"type": "aws:cloudformation:stack"}}},
    {"artifacts": {"a": STACK | {"metadata": None}}},
    {"artifacts": {"a": STACK | {"metadata": {"/a": [{}]}}}},
    {"artifacts": {"a": LOOP}},
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


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_manifest_without_stacks_that_can_be_read_is_refused(tmp_path: Path, manifest: Any) -> None:
    made = assembly(tmp_path, {"a": {"Resources": {}}})
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(AssemblyError, match="cdk synth"):
        judge(made)


@pytest.mark.parametrize("report", ["{}", "[]", "[" * 100_000])
def test_a_validation_report_that_is_none_is_refused(tmp_path: Path, report: str) -> None:
    made = assembly(tmp_path, {"a": {"Resources": {}}})
    (tmp_path / "validation-report.json").write_text(report)
    with pytest.raises(AssemblyError, match="validation-report"):
        judge(made)


def test_properties_that_are_missing_crash_no_gate(tmp_path: Path) -> None:
    kinds = ["Custom::S3AutoDeleteObjects", "AWS::IAM::UserToGroupAddition", "AWS::KMS::Key", "AWS::Kinesis::Stream"]
    bare = {kind.rpartition(":")[2]: {"Type": kind} for kind in kinds}
    assert "kinesis-stream-key" in {each.rule for each in judge(assembly(tmp_path, {"a": {"Resources": bare}}))}


def test_the_last_stack_hides_no_other_of_its_name(tmp_path: Path) -> None:
    """Two constructs hold a stack each, with one id and, each in its region, one name."""
    everything = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    policy = {"Type": "AWS::IAM::Policy", "Properties": {"Roles": ["x"], "PolicyDocument": everything}}
    found = judge(assembly(tmp_path, {"eu/data": {"Resources": {"All": policy}}, "us/data": {"Resources": {}}}))
    assert ("access-admin-policy", "eu/data", "All") in {(each.rule, each.stack, each.resource) for each in found}
