"""Two clones in different places synthesize the same bytes, without credentials or a network.

The other clone also has what tools leave behind in folders that are deployed; none of it may be.
"""

import hashlib
from pathlib import Path

from checks.assembly import Assembly


def test_a_clone_elsewhere_synthesizes_the_same_bytes(assembly: Assembly, clone: Path) -> None:
    here, there = _hashes(assembly.folder), _hashes(clone)
    different = [path for path in sorted(here | there) if here.get(path) != there.get(path)]
    assert not different, "\n".join(different)


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of an assembly, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
