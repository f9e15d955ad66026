"""cfn-lint and checkov over an assembly's templates, as findings.

checkov pins other versions of what the rest needs, so it has an environment of its own: `make install` makes it from
checks/checkov.txt.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from checks.assembly import Assembly, AssemblyError, Stack
from checks.finding import Finding, Severity

CHECKOV = Path(__file__).resolve().parents[1] / ".venv-checkov" / "bin" / "checkov"
SECONDS = 300
# (rule of cfn-lint, what its message or place says, why it is no finding)
NO_FINDING = (
    ("E1022", r"Fn::GetStackOutput", "an intrinsic function of 2026 that cfn-lint doesn't know within Fn::Join yet"),
    ("W3005", r"dependency already enforced", "the CDK's dependency on a role and its policy names the role too"),
)
_LEVELS = {"Error": Severity.HIGH, "Warning": Severity.MEDIUM, "Informational": Severity.LOW}


def findings(assembly: Assembly) -> Iterator[Finding]:
    """What both linters find, accepted or not. Raises AssemblyError when one can't run."""
    stacks = {stack.file.resolve(): stack for stack in assembly.stacks}
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda linter: list(linter(stacks)), (_cfn_lint, _checkov)):
            yield from found


def _cfn_lint(stacks: dict[Path, Stack]) -> Iterator[Finding]:
    for match in _run([str(Path(sys.executable).with_name("cfn-lint")), "--format", "json", "--", *map(str, stacks)]):
        rule, message = match["Rule"], match["Message"]
        if any(rule["Id"] == known and re.search(said, message) for known, said, _ in NO_FINDING):
            continue
        place = match["Location"]["Path"] or []
        resource = str(place[1]) if len(place) > 1 and place[0] == "Resources" else "/".join(map(str, place))
        where = stacks[Path(match["Filename"]).resolve()]
        severity = _LEVELS[match["Level"]]
        yield Finding(rule["Id"], severity, where.label, resource, message, rule["Source"])


def _checkov(stacks: dict[Path, Stack]) -> Iterator[Finding]:
    if not CHECKOV.exists():
        raise AssemblyError("checkov is not installed: run `make check`, which installs it.")
    options = ("--framework", "cloudformation", "--compact", "--quiet", "--skip-download", "--output", "json")
    # By short names: it takes 40 letters, digits and slashes in a row for a secret, those of a template's path too.
    with TemporaryDirectory(prefix="checkov-") as folder:
        links = [Path(folder, f"template-{number}.json") for number in range(len(stacks))]
        for link, file in zip(links, stacks, strict=True):
            link.symlink_to(file)
        report = _run([str(CHECKOV), *options, *(word for link in links for word in ("--file", str(link)))])
        named = {str(link): stack for link, stack in zip(links, stacks.values(), strict=True)}
    if broken := report.get("summary", report)["parsing_errors"]:  # without a resource it prints the summary alone
        raise AssemblyError(f"checkov can't read {broken} of the templates")
    for check in report.get("results", {}).get("failed_checks", []):
        where = named[check["file_abs_path"]]
        resource = check["resource"].rpartition(".")[2]
        fix = check["guideline"] or "See checkov's own page of this check."
        yield Finding(check["check_id"], Severity.MEDIUM, where.label, resource, check["check_name"], fix)


def _run(command: list[str]) -> Any:
    """What a linter prints as JSON; its exit code says how much it found. Raises AssemblyError for anything else."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    try:
        return json.loads(ended.stdout)
    except ValueError:
        said = (ended.stderr or ended.stdout).strip()[-2000:]
        raise AssemblyError(f"{Path(command[0]).name} exited with {ended.returncode}:\n{said}") from None
