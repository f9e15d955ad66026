"""The front door: `make help` and the README name what there is, and a wrong Python is refused."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.tools import ROOT

INTERNAL = {"python"}
# Runs this Python, which says that it is another.
PRETENDER = """#!/bin/sh
exec {python} -c 'import sys; sys.version_info = {version}; exec(sys.argv[2])' "$@"
"""


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run make as a user would, not as a part of the make that runs the tests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that has only what an installation begins with."""
    for name in ("Makefile", "requirements-dev.txt", "package-lock.json"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def pretender(folder: Path, version: tuple[int, int, int]) -> str:
    program = folder / "python"
    program.write_text(PRETENDER.format(python=sys.executable, version=version))
    program.chmod(0o755)
    return f"PYTHON={program}"


def commands() -> set[str]:
    """What `make help` lists."""
    return {line.split()[0] for line in make("help").stdout.splitlines()}


def test_help_lists_every_command() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert commands() == set(phony.split()) - INTERNAL


def test_every_command_of_the_readme_is_there() -> None:
    named = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert {"demo", "test", "deploy"} <= named <= commands()


def test_the_readme_leads_to_every_stack_and_page() -> None:
    readme = (ROOT / "README.md").read_text()
    linked = set(re.findall(r"\]\(([^)#]+)\)", readme))
    assert not [path for path in linked if not (ROOT / path).exists()]
    stacks = {f"stacks/{path.name}" for path in (ROOT / "stacks").glob("[a-z]*.py")}
    assert stacks | {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= linked


@pytest.mark.parametrize("version", [(3, 10, 9), (3, 13, 0)])
@pytest.mark.parametrize("installed", [False, True])
def test_a_python_that_is_not_supported_is_refused(clone: Path, version: tuple[int, int, int], installed: bool) -> None:
    if installed:
        for name in (".venv", "node_modules"):
            (clone / name).mkdir()
            (clone / name / ".installed").touch()
    given = pretender(clone, version)
    refused = make(given, "demo", folder=clone)
    assert refused.returncode == 2
    assert f"{given} is not Python 3.11 or 3.12: install one, or name it with make PYTHON=" in refused.stdout
    assert (clone / ".venv").exists() == installed


def test_a_python_that_is_not_there_is_refused(clone: Path) -> None:
    refused = make("PYTHON=/nowhere/python", "install", folder=clone)
    assert refused.returncode == 2
    assert "PYTHON=/nowhere/python is not Python 3.11 or 3.12" in refused.stdout


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 9)])
def test_a_python_that_is_supported_is_taken(clone: Path, version: tuple[int, int, int]) -> None:
    assert make(pretender(clone, version), "python", folder=clone).returncode == 0
