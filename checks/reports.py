"""Findings for a reviewer's CI: SARIF 2.1.0 (code scanning) and JUnit XML (test reports)."""

import json
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

from checks.finding import Finding, Severity

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note"}


def to_sarif(findings: Iterable[Finding], files: dict[str, str]) -> str:
    """One run with a result per finding; `files` names the template of each stack, relative to the repository."""
    found = list(findings)
    rules = {finding.rule: finding for finding in found}
    run = {
        "tool": {"driver": {"name": "millrace-checks", "rules": [_rule(rules[name]) for name in sorted(rules)]}},
        "results": [_result(finding, files) for finding in found],
    }
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _rule(finding: Finding) -> dict[str, Any]:
    return {"id": finding.rule, "shortDescription": {"text": finding.rule}, "help": {"text": finding.fix}}


def _result(finding: Finding, files: dict[str, str]) -> dict[str, Any]:
    where = {
        "physicalLocation": {"artifactLocation": {"uri": files.get(finding.stack, finding.stack)}},
        "logicalLocations": [{"fullyQualifiedName": f"{finding.stack}/{finding.resource}", "kind": "resource"}],
    }
    return {
        "ruleId": finding.rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.resource}: {finding.message} Fix: {finding.fix}"},
        "locations": [where],
    }


def to_junit(findings: Iterable[Finding], stacks: Iterable[str]) -> str:
    """A test case for each stack, which fails with its findings."""
    found = list(findings)
    cases = sorted({*stacks, *(finding.stack for finding in found)})
    failed = {finding.stack for finding in found}
    counts = {"tests": str(len(cases)), "failures": str(len(failed))}
    suite = ElementTree.Element("testsuite", {"name": "millrace-checks", **counts})
    for stack in cases:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "checks", "name": stack})
        if own := [finding for finding in found if finding.stack == stack]:
            failure = ElementTree.SubElement(case, "failure", {"message": f"{len(own)} finding(s)"})
            failure.text = "\n".join(map(str, own))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)
