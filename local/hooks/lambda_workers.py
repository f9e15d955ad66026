"""The processes that functions run in, as MiniStack 1.5.33 starts and ends them but for two things.

It tries the packages that a function brings first: they are built for Lambda's processor and Python, and would not load
here, so this machine's come first. Modules that only the function has, such as its handler, are still found in it.
It kills what answers an invocation when the function's code changes: Lambda lets it end, and so it is here.
"""

from collections.abc import Callable
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.concurrency import spawn_background

from local.hooks import EMULATOR, swap

FIRST, LAST = "sys.path.insert(0, code_dir)", "sys.path.append(code_dir)"
Kill = Callable[[list[Any]], None]


def install() -> None:
    """Change the script that every Python function runs in, and when a process is killed."""
    swap(lambda_runtime, "_PYTHON_WORKER_SCRIPT", own_packages_last)
    swap(lambda_runtime, "kill_workers", let_them_answer)


def own_packages_last(script: str) -> str:
    """The script with the function's folder at the end of the path. Raises RuntimeError when it is another script."""
    if script.count(FIRST) != 1:
        raise RuntimeError(f"MiniStack's worker script has no line {FIRST!r}: the hooks fit {EMULATOR}")
    return script.replace(FIRST, LAST)


def let_them_answer(kill: Kill) -> Kill:
    """Kill the workers that are idle now, and each of the others once it has answered: no pool has it any more."""

    def answered(worker: Any) -> None:
        with worker._lock:  # which an invocation holds
            kill([worker])

    def call(workers: list[Any]) -> None:
        busy = [worker for worker in workers if worker.in_use]
        kill([worker for worker in workers if worker not in busy])
        for worker in busy:
            spawn_background(answered, worker, thread_name=f"last-answer-{worker.func_name}")

    return call
