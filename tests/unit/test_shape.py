"""The project keeps its shape: small files, a small local cloud, imports that point one way."""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [
    "benchmarks",
    "checks",
    "command_line",
    "components",
    "config",
    "contracts",
    "demo",
    "flink_jobs",
    "glue_jobs",
    "lambda",
    "local",
    "ml",
    "pipelines",
    "producers",
    "schemas",
    "stacks",
    "tests",
]
LONGEST_FILE = 400
LOCAL_LINES = 3_000  # of code: without blank lines, comments and docstrings
# What each folder imports of the others: stacks are made of components, and nothing deployed knows the local cloud.
IMPORTS: dict[str, set[str]] = {
    "checks": set(),
    "command_line": {"config"},
    "components": set(),
    "config": {"components", "stacks"},
    "contracts": set(),
    "flink_jobs": {"command_line", "contracts"},
    "glue_jobs": set(),
    "lambda": {"contracts"},
    "local": set(),
    "ml": set(),
    "pipelines": {"ml"},
    "producers": {"command_line"},
    "schemas": {"contracts"},
    "stacks": {"components", "pipelines", "schemas"},
}
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (ROOT / folder).rglob("*.py")


def code_lines(path: Path) -> int:
    source = path.read_text()
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in _NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def imported(path: Path) -> Iterator[str]:
    """The folders of this project that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        yield from {name.partition(".")[0] for name in names} & set(FOLDERS)


def test_imports_point_one_way() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for folder, allowed in IMPORTS.items()
        for path in files(folder)
        for name in imported(path)
        if name not in {folder, *allowed}
    ]
    assert not wrong, "\n".join(wrong)


def test_no_file_is_too_long_to_read() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {count}"
        for path in files(*FOLDERS)
        if (count := len(path.read_text().splitlines())) > LONGEST_FILE
    ]
    assert not long, "\n".join(long)


def test_the_local_cloud_stays_small() -> None:
    assert sum(map(code_lines, files("local"))) < LOCAL_LINES
