"""`python -m checks FOLDER` judges a cloud assembly, ours or another app's; exits 1 when it finds something."""

import argparse
import os
import sys
from pathlib import Path

from checks.assembly import Assembly, AssemblyError
from checks.finding import to_json
from checks.gates import GATES, WITH_LINTERS, judge
from checks.reports import to_junit, to_sarif


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m checks", description=__doc__)
    parser.add_argument("folder", type=Path, help="a synthesized cloud assembly, such as cdk.out")
    parser.add_argument("--linters", action="store_true", help="run cfn-lint and checkov as well")
    parser.add_argument("--json", action="store_true", help="a list of {rule, severity, stack, resource, message, fix}")
    parser.add_argument("--sarif", type=Path, metavar="FILE", help="also write the findings for code scanning")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="also write a test report, a case a stack")
    return parser.parse_args()


def write(file: Path, text: str) -> None:
    """Write a report and the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def main() -> int:
    """Print every finding; 0 when there is none, 1 when there are some, 2 when the folder can't be judged."""
    options = arguments()
    try:
        assembly = Assembly(options.folder)
        found = judge(assembly, WITH_LINTERS if options.linters else GATES)
    except AssemblyError as error:
        print(error, file=sys.stderr)
        return 2
    files = {stack.label: os.path.relpath(stack.file) for stack in assembly.stacks}
    if options.sarif:
        write(options.sarif, to_sarif(found, files))
    if options.junit:
        write(options.junit, to_junit(found, files))
    if options.json:
        print(to_json(found))
    else:
        print(*found, f"{len(found)} finding(s) in {len(assembly.stacks)} stacks", sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
