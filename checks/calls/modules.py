"""The modules of one workload: the file that is started and what it imports from the same folders."""

import ast
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

# Looked at as what they are, even when they are shipped with a function.
SDKS = {"boto3", "botocore", "s3transfer", "aiobotocore", "aioboto3"}
INLINE = Path("index.py")  # Lambda's name for code that stands in the template itself


class Unreadable(Exception):
    """A file is no Python that can be read; the message says why, `line` where."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Code:
    """What a workload runs: `entry` is a dotted module, `roots` the folders it and its imports are looked for in.

    `inline` is the text of the entry module when it stands in the template or is a file of another name
    (`inline_path`); `handler` is the function that is called.
    """

    roots: tuple[Path, ...]
    entry: str
    handler: str = ""
    inline: str = ""
    inline_path: Path = INLINE

    def file(self, module: str) -> Path | None:
        """The file of a module, or None when it is not part of this code."""
        if self.inline and module == self.entry:
            return self.inline_path
        if not all(part.isidentifier() for part in module.split(".")) or module.split(".")[0] in self._installed:
            return None
        path = Path(*module.split("."))
        candidates = (root / each for root in self.roots for each in (path.with_suffix(".py"), path / "__init__.py"))
        return next((file for file in candidates if file.is_file()), None)

    def holds(self, module: str) -> bool:
        """Whether a module, or a package without an __init__.py, is part of this code."""
        path = Path(*module.split("."))
        return self.file(module) is not None or (
            module.split(".")[0] not in self._installed and any((root / path).is_dir() for root in self.roots)
        )

    @cached_property
    def _installed(self) -> frozenset[str]:
        """The top-level names of libraries that were installed into a folder: not the workload's own code."""
        notes = [note for root in self.roots for note in root.glob("*.dist-info")]
        said = [file for note in notes for file in (note / "RECORD", note / "top_level.txt") if file.is_file()]
        lines = (line for file in said for line in file.read_text(errors="replace").splitlines())
        named = {line.split(",")[0].split("/")[0].removesuffix(".py") for line in lines}
        return frozenset(named | {note.name.partition("-")[0] for note in notes} | SDKS)


@dataclass(eq=False)
class Module:
    """A parsed file; `package` is what its relative imports start from."""

    name: str
    path: Path
    tree: ast.Module
    package: str
    starred: set[str] = field(default_factory=set)  # modules whose every name it has imported


def load(code: Code, name: str) -> Module | None:
    """Parse a module of `code`, or None when it is not part of it. Raises Unreadable."""
    path = code.file(name)
    if path is None:
        return None
    try:
        text = code.inline if code.inline and path == code.inline_path else path.read_text()
        tree = ast.parse(text, str(path))
    except SyntaxError as error:
        raise Unreadable(error.msg, error.lineno or 1) from None
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(str(error) or type(error).__name__, 1) from None
    is_package = path.name == "__init__.py"
    return Module(name, path, tree, name if is_package else name.rpartition(".")[0])
