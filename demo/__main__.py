"""`python -m demo`: the whole platform on this machine, on real flights, through AWS's APIs alone."""

import argparse
import json
import signal
import sys
import traceback
from pathlib import Path

from rich.markup import escape

from demo.platform import LinkBrokenError
from demo.steps import FAILED, FOLDER, HOLDOUT_DAYS, TRACEBACK, Demo, Plan, run
from local import tools
from local.cloud import Cloud


def fail(demo: Demo, error: Exception) -> None:
    """Say what failed and where to look, on the console and in failed.json; the traceback goes to failed.log."""
    trace = "".join(traceback.format_exception(error))
    kind = type(error).__name__
    advice = (
        f"The traceback is in {demo.folder / TRACEBACK}, the local cloud's log is {demo.cloud.log}. "
        "`make destroy-local` removes everything."
    )
    known = isinstance(error, LinkBrokenError | tools.ToolError)
    if not known:
        print(trace, file=sys.stderr)
    message = str(error) if known else f"{kind}: {error}"
    demo.console.print(f"[red]✗[/red] {escape(demo.current)}: {escape(message)}")
    demo.console.print(escape(advice))
    # Said before it is written down: what failed may be the disk.
    (demo.folder / TRACEBACK).write_text(trace)
    found = {"step": demo.current, "link": getattr(error, "link", None), "error": kind, "message": str(error)}
    (demo.folder / FAILED).write_text(json.dumps(found | {"advice": advice}, indent=2) + "\n")


def options() -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--days",
        type=int,
        choices=range(HOLDOUT_DAYS + 1, 32),
        default=31,
        metavar=f"{HOLDOUT_DAYS + 1}..31",
        help="replay only the first days of each month: quicker, rougher figures",
    )
    parser.add_argument("--state", type=Path, default=tools.ROOT / ".local", help="the local cloud's files")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the report goes")
    return parser.parse_args()


def main() -> int:
    """Run the demo; on an error say what broke, keep the local cloud for a look and exit with 1, on Ctrl-C with 130."""
    chosen = options()
    demo = Demo(Cloud(chosen.state.resolve()), Plan(chosen.days), folder=chosen.folder.resolve())
    for number in (signal.SIGINT, signal.SIGTERM):  # a script's shell has what it starts with `&` ignore the first
        signal.signal(number, signal.default_int_handler)
    try:
        path = run(demo)
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):  # a second one must not leave anything running
            signal.signal(number, signal.SIG_IGN)
        demo.cloud.stop()
        demo.console.print("stopped; nothing is left running")
        return 130
    except Exception as error:
        fail(demo, error)
        return 1
    demo.console.print(
        f"\nReport: {path}\nThe platform still runs at {demo.cloud.endpoint}; make destroy-local ends it."
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except tools.ToolError as error:  # of the cloud itself, before the first step or after the last
        sys.exit(str(error))
