"""AWS's own managed policies, as moto bundles them."""

import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

_ARN = re.compile(r"arn:[\w-]+:iam::aws:policy/(?:.+/)?([^/]+)")


def document(arn: str) -> dict[str, Any] | None:
    """The document of `arn:aws:iam::aws:policy/...`; None for another ARN, or a policy that moto does not know."""
    found = _ARN.fullmatch(arn)
    return _documents().get(found[1], {}).get("Document") if found else None


@cache
def _documents() -> dict[str, Any]:
    """Reads moto's module alone: to import its package takes seconds."""
    package = importlib.util.find_spec("moto")
    if not package or not package.submodule_search_locations:
        return {}
    path = Path(package.submodule_search_locations[0]) / "iam" / "aws_managed_policies.py"
    spec = importlib.util.spec_from_file_location("aws_managed_policies", path)
    if not spec or not spec.loader:
        return {}
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Any] = json.loads(module.aws_managed_policies_data)
    return found
