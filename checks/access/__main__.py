"""`python -m checks.access FOLDER` prints who may do what in every environment of a cloud assembly."""

import argparse
import sys
from pathlib import Path

from checks.access.matrix import markdown, matrices, text
from checks.assembly import Assembly, AssemblyError


def main() -> int:
    """Print the matrices; 2 when the folder is no assembly."""
    parser = argparse.ArgumentParser(prog="python -m checks.access", description=__doc__)
    parser.add_argument("folder", type=Path, help="a synthesized cloud assembly, such as cdk.out")
    parser.add_argument("--markdown", action="store_true", help="as tables")
    parser.add_argument("--write", type=Path, metavar="TO", help="to TO/<environment>.txt (.md) instead")
    options = parser.parse_args()
    form, ending = (markdown, "md") if options.markdown else (text, "txt")
    try:
        for matrix in matrices(Assembly(options.folder)):
            if options.write:
                (options.write / f"{matrix.environment}.{ending}").write_text(form(matrix))
            else:
                print(f"# {matrix.environment}\n", form(matrix), sep="\n")
    except AssemblyError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
