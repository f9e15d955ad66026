"""What a stack's docstring says must be copied to use it elsewhere."""

import ast
import re

from tests.assembly.synthesis import ROOT


def named_in_docstring(layer: str) -> list[str]:
    """The paths in the "Copy" line of stacks/<layer>.py, with `{a,b}` written out. Raises ValueError without one."""
    docstring = ast.get_docstring(ast.parse((ROOT / "stacks" / f"{layer}.py").read_text())) or ""
    line = re.search(r"^Copy\s+(.*?)\.?\s*\Z", docstring, re.MULTILINE | re.DOTALL)
    if not line:
        raise ValueError(f"stacks/{layer}.py does not end its docstring with a Copy line")
    items = re.split(r",(?![^{]*})\s*|\s+and\s+", " ".join(line[1].split()))
    return [path for item in items for path in _expand(item.replace("this file", f"stacks/{layer}.py"))]


def _expand(item: str) -> list[str]:
    braces = re.fullmatch(r"(.*)\{(.*)\}(.*)", item)
    return [f"{braces[1]}{name.strip()}{braces[3]}" for name in braces[2].split(",")] if braces else [item]
