"""`python -m checks`: what it prints, writes and exits with."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from checks import linters
from checks.accepted import Accepted
from checks.assembly import AssemblyError
from checks.finding import Finding, Severity
from tests.checks.made import assembly

ROOT = Path(__file__).resolve().parents[2]
NAMED = {"Resources": {"Model": {"Type": "AWS::SageMaker::Model", "Properties": {"ModelName": "flights"}}}}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "checks", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_sound_assembly_exits_0(tmp_path: Path) -> None:
    assembly(tmp_path, {"a": {"Resources": {}}})
    ended = run(tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "0 finding(s) in 1 stacks\n")


def test_findings_are_printed_as_json_and_exit_1(tmp_path: Path) -> None:
    assembly(tmp_path, {"a": NAMED})
    ended = run(tmp_path, "--json")
    assert ended.returncode == 1
    found = next(each for each in json.loads(ended.stdout) if each["rule"] == "fixed-name")
    assert set(found) == {"rule", "severity", "stack", "resource", "message", "fix"}
    assert (found["stack"], found["resource"]) == ("a", "Model")


def test_a_folder_without_an_assembly_exits_2_and_says_what_makes_one(tmp_path: Path) -> None:
    ended = run(tmp_path)
    assert ended.returncode == 2
    assert "cdk synth" in ended.stderr
    (tmp_path / "manifest.json").write_text("{")
    assert run(tmp_path).returncode == 2


def test_a_reviewers_ci_gets_sarif_and_junit(tmp_path: Path) -> None:
    assembly(tmp_path, {"a": NAMED, "b": {"Resources": {}}})
    sarif, junit = tmp_path / "out" / "found.sarif", tmp_path / "out" / "found.xml"
    run(tmp_path, "--sarif", sarif, "--junit", junit)
    result = next(
        each for each in json.loads(sarif.read_text())["runs"][0]["results"] if each["ruleId"] == "fixed-name"
    )
    place = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert (result["level"], Path(place).name) == ("warning", "a.template.json")
    suite = ElementTree.parse(junit).getroot()  # noqa: S314  our own file
    assert suite.attrib["tests"] == "2"
    assert [case.attrib["name"] for case in suite if case.find("failure") is not None] == ["a"]


def test_a_finding_is_accepted_where_its_construct_or_a_holder_below_the_stack_explains_it(tmp_path: Path) -> None:
    made = assembly(tmp_path, {"a": NAMED})
    said = [{"type": "millrace:explained", "data": {"finding": "fixed-.*", "reason": "because"}}]
    finding = Finding("fixed-name", Severity.LOW, "a", "Model", "", "")
    stack = made.stacks[0]
    stack.metadata["/a/Serving/Model"] = [{"type": "aws:cdk:logicalId", "data": "Model"}]
    for path, accepted in (("/a/Serving/Model", True), ("/a/Serving", True), ("/a", False), ("/a/Other", False)):
        before = stack.metadata.get(path, [])
        stack.metadata[path] = [*before, *said]
        assert (Accepted(made).reason(finding) == "because") is accepted, path
        stack.metadata[path] = before


@pytest.mark.parametrize(
    "said",
    [
        *(
            {"finding": regex, "reason": "because"}
            for regex in (".*", ".+", "[a-z-]*", "access-.*", "CKV_.*", "[A-Z]\\w+", "(")
        ),
        {"finding": "fixed-name", "reason": " "},
        {"finding": "fixed-name"},
        None,
    ],
)
def test_an_explanation_of_everything_or_without_a_reason_is_refused(tmp_path: Path, said: object) -> None:
    made = assembly(tmp_path, {"a": NAMED})
    made.stacks[0].metadata["/a/Serving"] = [{"type": "millrace:explained", "data": said}]
    with pytest.raises(AssemblyError, match="/a/Serving"):
        Accepted(made)


def test_a_holder_that_a_stack_lies_in_accepts_nothing_of_it(tmp_path: Path) -> None:
    made = assembly(tmp_path, {"group/a": NAMED})
    stack = made.stacks[0]
    stack.metadata["/group/a/Model"] = [{"type": "aws:cdk:logicalId", "data": "Model"}]
    finding = Finding("fixed-name", Severity.LOW, "group/a", "Model", "", "")
    said = [{"type": "millrace:explained", "data": {"finding": "fixed-name", "reason": "because"}}]
    for path, accepted in (("/group", False), ("/group/a", False), ("/group/a/Model", True)):
        stack.metadata[path] = [*stack.metadata.get(path, []), *said]
        assert bool(Accepted(made).reason(finding)) is accepted, path


def test_without_checkov_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linters, "CHECKOV", tmp_path / "nowhere")
    with pytest.raises(AssemblyError, match="make check"):
        list(linters.findings(assembly(tmp_path, {"a": NAMED})))
