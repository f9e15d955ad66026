"""Two clones in different places synthesize the same bytes, without credentials or a network."""

import hashlib
from pathlib import Path

from tests.assembly.cloud_assembly import Assembly


def test_a_clone_elsewhere_synthesizes_the_same_bytes(assembly: Assembly, clone: Path) -> None:
    here, there = _hashes(assembly.folder), _hashes(clone)
    assert sorted(here) == sorted(there)
    different = [path for path in here if here[path] != there[path]]
    assert not different, "\n".join(different)


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of an assembly, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
