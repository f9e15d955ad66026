"""The project keeps its shape: small files, a small local cloud."""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [
    "benchmarks",
    "checks",
    "components",
    "config",
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


def test_no_file_is_too_long_to_read() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {count}"
        for path in files(*FOLDERS)
        if (count := len(path.read_text().splitlines())) > LONGEST_FILE
    ]
    assert not long, "\n".join(long)


def test_the_local_cloud_stays_small() -> None:
    assert sum(map(code_lines, files("local"))) < LOCAL_LINES
