"""Where a finding is: the file that the assembly's copy was made from, when it is below the working folder."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from checks.calls.source import Place

_NOT_OURS = {"node_modules", "site-packages", "cdk.out", "build"}


def shown(place: Place, assembly: Path) -> str:
    """path:line of the file with the same content below the working folder, else of the copy in the assembly."""
    return f"{_original(place.path, assembly.resolve(), Path.cwd())}:{place.line}"


@cache
def _original(copy: Path, assembly: Path, below: Path) -> Path:
    if not copy.is_file():
        return copy
    content = copy.read_bytes()
    same = [path for path in _sources(assembly, below) if path.stat().st_size == len(content)]
    found = [path for path in same if path.read_bytes() == content]
    found.sort(key=lambda path: (path.name != copy.name, len(path.parts), path))
    return found[0].relative_to(below) if found else copy


@cache
def _sources(assembly: Path, below: Path) -> tuple[Path, ...]:
    return tuple(_python_files(assembly, below))


def _python_files(assembly: Path, below: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(below):
        here = Path(folder)
        folders[:] = [
            name for name in folders if name[0] != "." and name not in _NOT_OURS and (here / name).resolve() != assembly
        ]
        yield from (here / name for name in files if name.endswith(".py"))
