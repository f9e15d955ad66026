"""No rule has an open finding, and each accepted one is explained where it is, once, for a reviewer."""

import json
import re
from collections.abc import Iterator

from checks.accepted import EXPLAINED
from checks.assembly import Assembly
from checks.finding import Finding
from tests.assembly.acknowledged import RECORD, count
from tests.assembly.synthesis import ROOT

PACKS = {"AwsSolutions", "NIST.800.53.R5", "HIPAA.Security", "PCI.DSS.321", "Serverless"}


def test_no_finding_is_open(assembly: Assembly) -> None:
    """cdk-nag's packs and, with this flag, CloudFormation's own rules; the latter report only what they find."""
    assert json.loads((ROOT / "cdk.json").read_text())["context"]["@aws-cdk/core:validateAgainstDefaultRules"]
    assert {report["pluginName"] for report in assembly.validation} >= PACKS
    found = [
        f"{finding['ruleName']} at {construct.get('constructPath', construct)}"
        for report in assembly.validation
        for finding in report["violations"]
        for construct in finding["violatingConstructs"]
    ]
    assert not found, "\n".join(found)


def test_no_more_is_acknowledged_than_is_recorded(assembly: Assembly) -> None:
    again = "after `make synth ENV=all`, `python -m tests.assembly.acknowledged cdk.out` records it: review the change"
    assert count(assembly) == json.loads(RECORD.read_text()), again


def test_every_acknowledgment_is_at_one_resource_and_gives_a_reason(assembly: Assembly) -> None:
    scopes = {f"{stack.environment}/{stack.layer}" for stack in assembly.stacks} | set(assembly.environments) | {""}
    wrong = [f"{each.rule} at {each.at}" for each in assembly.acknowledged if each.at in scopes or each.at != each.path]
    wrong += [
        f"{each.rule}: {each.reason!r} says too little" for each in assembly.acknowledged if len(each.reason) <= 20
    ]
    wrong += [
        f"{path}: {finding} is explained on a stack" for path, finding, _ in _explained(assembly) if path in scopes
    ]
    assert not wrong, "\n".join(wrong)


def test_every_explanation_explains_a_finding_in_some_environment(assembly: Assembly, judged: list[Finding]) -> None:
    used: dict[bool, set[str]] = {False: set(), True: set()}
    stacks = {stack.label: stack for stack in assembly.stacks}
    found = [(each.path, each.rule.partition("-")[2]) for each in assembly.acknowledged]
    found += [(stacks[each.stack].path(each.resource), each.rule) for each in judged]
    for path, finding, _ in _explained(assembly):
        explains = any(_explains(path, finding, *each) for each in found)
        used[explains].add(f"{path.split('/', 1)[1]}: {finding}")
    unused = used[False] - used[True]
    assert not unused, "\n".join(sorted(unused))


def test_a_finding_has_all_of_its_reasons_and_no_other(assembly: Assembly) -> None:
    """One regex may be given twice, as for two APIs without resources; two regexes that match are one too wide."""
    explained = list(_explained(assembly))
    wrong = []
    for each in assembly.acknowledged:
        matching = {
            (finding, reason)
            for path, finding, reason in explained
            if _explains(path, finding, each.path, each.rule.partition("-")[2])
        }
        if len({finding for finding, _ in matching}) > 1:
            wrong.append(f"{each.path} {each.rule}: matched by {sorted(matching)}")
        else:
            wrong += [
                f"{each.path} {each.rule}: not said: {reason}" for _, reason in matching if reason not in each.reason
            ]
    assert not wrong, "\n".join(wrong)


def _explained(assembly: Assembly) -> Iterator[tuple[str, str, str]]:
    """(construct path, regex of findings, reason) of each explanation."""
    for stack in assembly.stacks:
        for path, entries in stack.metadata.items():
            for entry in entries:
                if entry["type"] == EXPLAINED:
                    yield path.removeprefix("/"), entry["data"]["finding"], entry["data"]["reason"]


def _explains(holder: str, finding: str, path: str, rule: str) -> bool:
    within = path == holder or path.startswith(f"{holder}/")
    return within and bool(re.fullmatch(finding, rule, re.DOTALL))
