"""The local cloud's server: MiniStack with every hook in place, on loopback alone, and what ends all that it starts."""

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from local import tools

LOCK = "cloud.pid"  # in the state folder; the supervisor holds it locked
STOP_SECONDS = 120  # a cloud that keeps what it holds writes it down: 7 s for 100,000 records on a busy machine
PAUSE = signal.SIGUSR1  # to the server, before SIGTERM: what reads streams and calls functions stops
HOOKS = (  # in the order they are installed
    "loopback cloudformation lambda_workers events codebuild kinesis_retention firehose kinesis_lambda glue "
    "glue_crawlers athena sagemaker"
)
PR_SET_CHILD_SUBREAPER = 36  # prctl(2): orphans of this process' descendants become its own children


def settings(port: int, state: Path, enforce_iam: bool, keep: bool) -> dict[str, str]:
    """MiniStack's environment variables. It reads them on import, so they come before its process."""
    return {
        "BIND_HOST": "127.0.0.1",  # its default is every interface
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": "us-east-1",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": "unix:///nonexistent",  # it would look for containers of its own, or start some
        "AUTH": str(enforce_iam).lower(),
        "PERSIST_STATE": str(int(keep)),
        "S3_PERSIST": str(int(keep)),
        "LAMBDA_EXECUTOR": "local",
        "ATHENA_ENGINE": "duckdb",
        "NODE_PATH": str(tools.ROOT / "node_modules"),  # CDK's own Lambdas find the AWS SDK there, as in AWS's runtime
        "S3_DATA_DIR": str(state / "s3"),
        "STATE_DIR": str(state / "state"),
        "TMPDIR": str(state / "tmp"),
        "MILLRACE_STATE": str(state),
    }


def supervise(follow: bool) -> int:
    """Run the server until a signal, or with `follow` until standard input closes; returns its exit code.

    Whatever way the server ends, nothing it started is left.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with Path(os.environ["MILLRACE_STATE"], LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        print(os.getpid(), file=lock, flush=True)
        server = subprocess.Popen([sys.executable, "-m", "local.server"], stdin=subprocess.PIPE, start_new_session=True)

        def stop(*_: object) -> None:
            server.send_signal(PAUSE)
            server.terminate()
            late = threading.Timer(STOP_SECONDS, server.kill)
            late.daemon = True
            late.start()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, stop)
        if follow:
            at_end_of_input(stop)
        code = server.wait()
        with contextlib.suppress(ChildProcessError):  # none is left
            while True:
                kill_descendants()
                os.waitpid(-1, os.WNOHANG)
                time.sleep(0.01)
    return code


def at_end_of_input(act: Callable[[], None]) -> None:
    """Call `act` in a thread when standard input closes: the process that held its other end has ended."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            continue
        act()

    threading.Thread(target=wait, daemon=True, name="end-of-input").start()


def kill_descendants() -> None:
    """SIGKILL to every process below this one; to none where there is no /proc (macOS)."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    level = children.get(os.getpid(), [])
    while level:
        for process in level:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        level = [child for process in level for child in children.get(process, [])]


def end_with_supervisor() -> None:
    """The supervisor was killed: so is everything here."""
    kill_descendants()
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    """Install the hooks, then serve until SIGTERM: `supervise` starts this. With the argument "supervise", do that."""
    if "supervise" in sys.argv:
        return supervise(follow="follow" in sys.argv)
    at_end_of_input(end_with_supervisor)
    from ministack.app import main as serve

    for hook in [import_module(f"local.hooks.{name}") for name in HOOKS.split()]:
        hook.install()
    sys.argv = ["ministack"]
    serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
