"""Counts the acknowledged findings of an assembly per environment and rule, as acknowledged.json records them.

After `make synth ENV=all`, `python -m tests.assembly.acknowledged cdk.out` records them anew.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from checks.assembly import Assembly

RECORD = Path(__file__).parent / "acknowledged.json"

Counts = dict[str, dict[str, int]]


def count(assembly: Assembly) -> Counts:
    """environment -> rule -> constructs that have an acknowledged finding of it."""
    found = Counter((finding.path.split("/")[0], finding.rule.split("[")[0]) for finding in assembly.acknowledged)
    environments = sorted({environment for environment, _ in found})
    return {
        name: {rule: number for (environment, rule), number in sorted(found.items()) if environment == name}
        for name in environments
    }


if __name__ == "__main__":
    RECORD.write_text(json.dumps(count(Assembly(Path(sys.argv[1]))), indent=2) + "\n")
