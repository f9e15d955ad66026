"""Another app's synth runs the pack, by one import."""

from pathlib import Path

import pytest

from checks.assembly import Assembly
from checks.gates import judge
from checks.packs import findings as packs
from checks.rules import PACK
from checks.rules import findings as rules
from tests.assembly.synthesis import ROOT, SynthesisError, synthesize

APP = Path(__file__).parent / "apps/models.py"


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    return Assembly(synthesize(ROOT, tmp_path_factory.mktemp("cdk.out"), APP, validate=False))


def test_an_open_finding_fails_the_synth_and_says_where_and_how_to_mend_it(tmp_path: Path) -> None:
    with pytest.raises(SynthesisError) as failed:
        synthesize(ROOT, tmp_path, APP, "open", validate=False)
    said = str(failed.value)
    assert "sagemaker-model-vpc" in said
    assert "test/models/Open" in said
    assert "test/models/Accepted" not in said
    assert "Set VpcConfig with subnets" in said


def test_an_accepted_finding_is_in_the_report_with_its_reason(assembly: Assembly) -> None:
    accepted = [(each.rule, each.path, each.reason) for each in assembly.acknowledged]
    assert accepted == [
        ("sagemaker-model-vpc", "test/models/Accepted", "isolated: it has no network that a VPC could hold")
    ]


def test_a_low_finding_warns(assembly: Assembly) -> None:
    (report,) = [each for each in assembly.validation if each["pluginName"] == PACK]
    assert report["conclusion"] == "success"
    assert [(each["ruleName"], each["severity"]) for each in report["violations"]] == [("log-retention", "warning")]


def test_the_gates_find_what_the_app_has_not_accepted_and_once(assembly: Assembly) -> None:
    assert "sagemaker-model-vpc" in {each.rule for each in rules(assembly)}
    assert [(each.rule, each.stack, each.resource) for each in judge(assembly, (rules, packs))] == [
        ("log-retention", "test/models", "Forever")
    ]
