"""Data-quality rules in Glue's own language (DQDL), a file a table."""

import re
from pathlib import Path


def rules(table: str) -> str:
    """The ruleset of a table as Glue takes it, without its comments."""
    return re.sub(r"(?m)^\s*#.*\n", "", (Path(__file__).parent / f"{table}.dqdl").read_text())
