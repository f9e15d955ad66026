"""Each rule finds the templates that break it, and nothing in those that don't: tests/checks/rules/AREA.yaml.

`sound` are resources with nothing wrong; `breaks` and `fine` change one or more of their properties (null takes away).
"""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint import ManualArgs
from cfnlint.api import lint
from hypothesis import given
from hypothesis import strategies as st

from checks.rules import RULES, judge
from checks.rules.__main__ import table

AREAS = {path.stem: yaml.safe_load(path.read_text()) for path in (Path(__file__).parent / "rules").glob("*.yaml")}
ROOT = Path(__file__).parents[2]
UNKNOWN_PROPERTY = "E3002"  # of cfn-lint, which has CloudFormation's schemas
BY_ID = {rule.id: rule for rule in RULES}


def cases(kind: str) -> list[Any]:
    return [
        pytest.param(area, rule, changes, id=f"{rule}-{number}")
        for area, content in AREAS.items()
        for rule, pair in content["rules"].items()
        for number, changes in enumerate(pair.get(kind, []))
    ]


def changed(area: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The area's sound template with `changes`: a resource by its name, or `Name.Property.0.Property` to new value."""
    resources = copy.deepcopy(AREAS[area]["sound"])
    for path, value in changes.items():
        name, *steps = path.split(".")
        holder, *steps = (resources[name]["Properties"], *steps) if steps else (resources, name)
        for step in steps[:-1]:
            holder = holder[int(step)] if isinstance(holder, list) else holder.setdefault(step, {})
        if value is None:
            del holder[steps[-1]]
        elif isinstance(holder, list):
            holder[int(steps[-1]) : int(steps[-1]) + 1] = [value]
        else:
            holder[steps[-1]] = value
    return {"Resources": resources}


def found(template: dict[str, Any]) -> list[tuple[str, str]]:
    return [(rule.id, logical_id) for rule, logical_id, _ in judge(template, "test")]


@pytest.mark.parametrize("area", AREAS)
def test_nothing_is_found_in_sound_resources(area: str) -> None:
    assert found({"Resources": AREAS[area]["sound"]}) == []


@pytest.mark.parametrize("area", AREAS)
def test_sound_resources_have_no_property_that_cloudformation_does_not_know(area: str) -> None:
    """A misspelled property would be misspelled in the rule as well, and never be found in a real template."""
    unknown = ManualArgs(mandatory_checks=[UNKNOWN_PROPERTY], ignore_checks=["E", "W", "I"], regions=["us-east-1"])
    wrong = lint(json.dumps({"Resources": AREAS[area]["sound"]}), config=unknown)
    assert not [str(each) for each in wrong if each.rule.id == UNKNOWN_PROPERTY]


@pytest.mark.parametrize(("area", "rule", "changes"), cases("breaks"))
def test_what_breaks_a_rule_is_found_by_that_rule_alone(area: str, rule: str, changes: dict[str, Any]) -> None:
    assert {identifier for identifier, _ in found(changed(area, changes))} == {rule}


@pytest.mark.parametrize(("area", "rule", "changes"), cases("fine"))
def test_what_a_rule_allows_is_not_found(area: str, rule: str, changes: dict[str, Any]) -> None:
    assert found(changed(area, changes)) == []


def test_every_rule_has_a_template_that_breaks_it() -> None:
    tried = {rule for content in AREAS.values() for rule, pair in content["rules"].items() if pair["breaks"]}
    assert tried == set(BY_ID)
    assert len(BY_ID) == len(RULES)


def test_every_type_that_a_rule_judges_is_found_broken_and_found_sound() -> None:
    """But for users and their keys and nested stacks, which are never sound."""
    judged = {kind for rule in RULES for kind in rule.types}
    sound = {each["Type"] for content in AREAS.values() for each in content["sound"].values()}
    assert judged - sound == {"AWS::IAM::User", "AWS::IAM::AccessKey", "AWS::CloudFormation::Stack"}
    broken = set()
    for area, _, changes in (case.values for case in cases("breaks")):
        template = changed(area, changes)
        broken |= {template["Resources"][name]["Type"] for _, name in found(template)}
    assert broken == judged


def test_every_rule_says_what_why_and_how_to_mend_it() -> None:
    for rule in RULES:
        assert all(text.endswith(".") for text in (rule.what, rule.why, rule.fix)), rule.id
        assert rule.source.startswith("https://") or not rule.source, rule.id
        assert "refuse" not in rule.why or rule.source, f"{rule.id} tells of a limit of AWS without a source"


def test_the_page_of_rules_is_up_to_date() -> None:
    assert (ROOT / "docs/rules.md").read_text() == table(), "`python -m checks.rules > docs/rules.md` writes it"


def test_each_branch_is_judged_however_many_conditions_there_are() -> None:
    """Of seven conditions only the fourth takes the retention away."""
    days: Any = 30
    for number in range(7):
        days = {"Fn::If": [f"C{number}", {"Ref": "AWS::NoValue"} if number == 3 else 30, days]}
    template = {"Resources": {"Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": days}}}}
    assert found(template) == [("log-retention", "Logs")]


NAMES = ["Ref", "Fn::If", "Fn::Sub", "Fn::Join", "Fn::GetAtt", "Statement", "Condition", "Principal", "AWS", "Action"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["*", "${", "true"])
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, each in parts for deeper in paths(each, (*path, key)))]


PLACES = [
    (area, name, path)
    for area, content in AREAS.items()
    for name, each in content["sound"].items()
    for path in paths(each["Properties"])
]


@given(place=st.sampled_from(PLACES), value=JSON)
def test_any_json_in_any_place_is_judged_without_an_error(place: tuple[str, str, tuple[Any, ...]], value: Any) -> None:
    area, name, path = place
    resources = copy.deepcopy(AREAS[area]["sound"])
    holder, last = resources[name], "Properties"
    for step in path:
        holder, last = holder[last], step
    holder[last] = value
    found({"Resources": resources})
