"""Cloud assemblies made by hand, as small as a test needs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checks.assembly import Assembly

Template = Mapping[str, Any]


def assembly(folder: Path, stacks: Mapping[str, Template], requires: Mapping[str, list[str]] | None = None) -> Assembly:
    """An assembly without stages from templates by construct path, which ends with the stack's name.

    `requires` names the stacks deployed before each.
    """
    artifacts = {}
    for name, template in stacks.items():
        file = f"{name.replace('/', '-')}.template.json"
        (folder / file).write_text(json.dumps(template))
        artifacts[name] = {
            "type": "aws:cloudformation:stack",
            "properties": {"templateFile": file, "stackName": name.rpartition("/")[2]},
            "dependencies": (requires or {}).get(name, []),
            "displayName": name,
        }
    (folder / "manifest.json").write_text(json.dumps({"version": "55.0.0", "artifacts": artifacts}))
    return Assembly(folder)
