"""Imports this machine's packages before those a function brings: MiniStack 1.5.33 tries Lambda's own wheels first.

They are built for Lambda's processor and Python, and would not load here. Modules that only the function has, such as
its handler, are still found in it.
"""

from local.hooks import EMULATOR, swap

FIRST, LAST = "sys.path.insert(0, code_dir)", "sys.path.append(code_dir)"


def install() -> None:
    """Change the script that every Python function runs in."""
    from ministack.core import lambda_runtime

    swap(lambda_runtime, "_PYTHON_WORKER_SCRIPT", own_packages_last)


def own_packages_last(script: str) -> str:
    """The script with the function's folder at the end of the path. Raises RuntimeError when it is another script."""
    if script.count(FIRST) != 1:
        raise RuntimeError(f"MiniStack's worker script has no line {FIRST!r}: the hooks fit {EMULATOR}")
    return script.replace(FIRST, LAST)
