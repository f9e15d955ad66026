"""The platform knows nothing of the local cloud it can run on, and its parts import each other one way only."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from checks.assembly import Assembly
from checks.calls.workloads import Index
from tests.assembly.synthesis import ROOT, sources

LOCAL = re.compile(
    r"localhost|127\.0\.0\.1|0\.0\.0\.0:|ministack|localstack|endpoint_url|AWS_ENDPOINT|\bmoto\b"
    r"|^\s*(from|import) local\b",
    re.IGNORECASE | re.MULTILINE,
)
DEPLOYED = (
    "app.py",
    "stacks",
    "components",
    "config",
    "containers",
    "contracts",
    "flink_jobs",
    "lambda",
    "glue_jobs",
    "ml",
    "pipelines",
    "schemas",
)
# folder -> the folders of this repository that it may import from, besides itself
ALLOWED = {
    "app.py": {"stacks", "components", "config"},
    "config": {"stacks", "components"},
    "stacks": {"components", "pipelines", "schemas"},
    "components": set(),
    "pipelines": {"ml"},
    "contracts": set(),
    "schemas": {"contracts"},
    "flink_jobs": {"contracts"},
    "lambda": {"contracts"},
    "glue_jobs": set(),
    "ml": set(),
}
CDK = {"aws_cdk", "cdk_nag", "constructs", "jsii"}
WITHOUT_CDK = ("pipelines", "contracts", "schemas", "flink_jobs", "lambda", "glue_jobs", "ml")


@pytest.fixture(scope="module")
def files() -> list[str]:
    return [path for path in sources() if path.split("/")[0] in DEPLOYED]


def test_no_source_mentions_the_local_cloud(files: list[str]) -> None:
    found = [
        f"{path}:{number} {match[0]}"
        for path in files
        if Path(path).suffix not in {".txt", ".in"}  # what pip resolves to
        for number, line in enumerate((ROOT / path).read_text().splitlines(), start=1)
        if (match := LOCAL.search(line))
    ]
    assert not found, "\n".join(found)


def test_no_template_mentions_the_local_cloud(assembly: Assembly) -> None:
    found = [
        f"{path.relative_to(assembly.folder)}: {match[0]}"
        for path in assembly.folder.rglob("*.template.json")
        if (match := LOCAL.search(path.read_text()))
    ]
    assert not found, "\n".join(found)


def test_imports_point_one_way(files: list[str]) -> None:
    ours = {path.split("/")[0].removesuffix(".py") for path in sources() if path.endswith(".py")}
    wrong = []
    for path in _python(files):
        part = path.split("/")[0]
        allowed = ALLOWED[part] | {part}
        wrong += [f"{path} imports {name}" for name in _imported(path) if name in ours - allowed]
    assert not wrong, "\n".join(wrong)


def test_only_app_config_stacks_and_components_know_the_cdk(files: list[str]) -> None:
    wrong = [
        f"{path} imports {name}"
        for path in _python(files)
        if path.split("/")[0] in WITHOUT_CDK
        for name in _imported(path)
        if name in CDK
    ]
    assert not wrong, "\n".join(wrong)


def test_stacks_do_not_import_each_other(files: list[str]) -> None:
    """Else none could be copied alone."""
    wrong = [path for path in _python(files) if path.startswith("stacks/") and "stacks" in set(_imported(path))]
    assert not wrong, "\n".join(wrong)


def test_a_function_imports_only_its_folder(files: list[str]) -> None:
    """Its folder is the root of what Lambda unpacks."""
    folders = {path.split("/")[1] for path in files if path.startswith("lambda/")}
    modules = {folder: {path.stem for path in (ROOT / "lambda" / folder).glob("*.py")} for folder in folders}
    everywhere = set().union(*modules.values())
    wrong = [
        f"{path} imports {name}"
        for path in _python(files)
        if path.startswith("lambda/")
        for name in _imported(path)
        if name in everywhere - modules[path.split("/")[1]]
    ]
    assert not wrong, "\n".join(wrong)


def test_a_function_takes_along_what_it_imports_of_this_repository(assembly: Assembly) -> None:
    index, ours = Index(assembly), {path.split("/")[0] for path in sources() if path.endswith(".py")}
    imports = {
        (stack.name, logical_id, name): (asset / name).is_dir()
        for stack, logical_id, function in assembly.resources("AWS::Lambda::Function")
        if (asset := index.asset(json.dumps(function["Properties"]["Code"])))
        for path in asset.glob("*.py")
        for name in ours.intersection(_imported(str(path)))
    }
    assert imports
    assert all(imports.values()), imports


def _python(files: list[str]) -> list[str]:
    return [path for path in files if path.endswith(".py")]


def _imported(path: str) -> Iterator[str]:
    """The first name of everything a file imports."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0] if not node.level else path.split("/")[0]
