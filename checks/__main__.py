"""`python -m checks FOLDER` judges a cloud assembly, ours or another app's; exits 1 when it finds something."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from checks.assembly import Assembly, AssemblyError
from checks.finding import Finding, to_json

Gate = Callable[[Assembly], Iterable[Finding]]
GATES: tuple[Gate, ...] = ()


def main() -> int:
    """Print every finding; 0 when there is none, 1 when there are some, 2 when the folder is no assembly."""
    parser = argparse.ArgumentParser(prog="python -m checks", description=__doc__)
    parser.add_argument("folder", type=Path, help="a synthesized cloud assembly, such as cdk.out")
    parser.add_argument("--json", action="store_true", help="a list of {rule, severity, stack, resource, message, fix}")
    options = parser.parse_args()
    try:
        assembly = Assembly(options.folder)
        findings = sorted({finding for gate in GATES for finding in gate(assembly)})
    except AssemblyError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(to_json(findings))
    else:
        print(*findings, f"{len(findings)} finding(s) in {len(assembly.stacks)} stacks", sep="\n")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
