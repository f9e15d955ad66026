"""Containers as processes: an image is the root folder that CodeBuild's hook built, /opt/ml the job's own folder.

`local.cloud` ends whatever is left below the server when that ends, so none outlives it.
"""

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.concurrency import spawn_background
from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch_logs

from local.hooks import client, state_folder

STOP_SECONDS = 10.0  # AWS grants 120 between SIGTERM and SIGKILL
_live: set["Container"] = set()


class ContainerError(Exception):
    """A container can't be started or its data can't be moved; the message becomes the FailureReason."""


@dataclass(eq=False)
class Container:
    """A container that was started; `tail` is the end of its log."""

    process: subprocess.Popen[str]
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    pump: threading.Thread | None = None

    def wait(self, seconds: float | None = None) -> int:
        """The exit code, once the log is complete. Raises subprocess.TimeoutExpired."""
        code = self.process.wait(seconds)
        self.kill(signal.SIGKILL)  # what it left behind in its group
        if self.pump:
            self.pump.join(STOP_SECONDS)
        _live.discard(self)
        return code

    def kill(self, number: int) -> None:
        """Signal every process of the container."""
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):  # none is left (macOS: only zombies)
            return

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to what is still there after STOP_SECONDS."""
        self.kill(signal.SIGTERM)
        try:
            self.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill(signal.SIGKILL)
            self.wait()


@atexit.register
def kill_all() -> None:
    """End every container at once."""
    for container in [*_live]:
        container.kill(signal.SIGKILL)
        container.wait()


def fresh_folder(*names: str) -> Path:
    """An empty folder below the local cloud's jobs folder."""
    folder = state_folder().joinpath("jobs", *names)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def start(image: str, argv: Sequence[str], environment: dict[str, str], base: Path, log: tuple[str, str]) -> Container:
    """Run a command of an image with `base` as its /opt/ml and its output in a log group's stream.

    Paths in the command and the environment become this machine's. Raises ContainerError.
    """
    from local.hooks import codebuild

    try:
        root, own = codebuild.image_root(image), codebuild.image_env(image)
    except FileNotFoundError as missing:
        raise ContainerError(f"ClientError: {missing}") from None

    def here(text: str) -> str:
        inside = root / text.removeprefix("/")
        found = text.startswith("/") and inside.exists()
        return str(inside) if found else re.sub(r"(^|=)/opt/ml(?=/|$)", rf"\g<1>{base}", text)

    programs = [str(root / "usr/local/bin"), str(Path(sys.executable).parent), own.get("PATH", os.environ["PATH"])]
    variables = {
        **own,
        "PATH": os.pathsep.join(programs),
        "HOME": str(base),
        "LANG": "C.UTF-8",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
        "AWS_REGION": get_region(),
        "AWS_DEFAULT_REGION": get_region(),
        "AWS_ACCESS_KEY_ID": get_account_id(),
        "AWS_SECRET_ACCESS_KEY": "local",
        **{name: here(value) for name, value in environment.items()},
        "SAGEMAKER_BASE_DIR": str(base),
    }
    command = [here(word) for word in argv]
    if not (program := shutil.which(command[0], path=variables["PATH"])):
        raise ContainerError(f"ClientError: {image} has no executable {argv[0]!r}: see {root}/usr/local/bin.")
    try:
        container = Container(
            subprocess.Popen(
                [program, *command[1:]],
                cwd=base,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        )
    except OSError as error:  # no #! line, most likely
        raise ContainerError(f"ClientError: {image} can't run {argv[0]}: {error}") from error
    _live.add(container)
    container.pump = spawn_background(_pump, container, *log, thread_name="sagemaker-log")
    return container


def _pump(container: Container, group: str, stream: str) -> None:
    """Copy a container's output into its log stream, line by line."""
    place = {"logGroupName": group, "logStreamName": stream}
    cloudwatch_logs._create_log_group(place)  # answers an error when there is one already, which is fine
    cloudwatch_logs._create_log_stream(place)
    for line in container.process.stdout or ():
        container.tail.append(line.rstrip("\n"))
        event = {"timestamp": int(time.time() * 1000), "message": container.tail[-1]}
        cloudwatch_logs._put_log_events({**place, "logEvents": [event]})


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _moving(function: Callable[[Any, str, str, Path], None]) -> Callable[[str, Path], None]:
    """Gives a transfer its client, bucket and key, and turns S3's errors into ContainerError."""

    def guarded(uri: str, folder: Path) -> None:
        try:
            function(client("s3"), *split(uri), folder)
        except (BotoCoreError, ClientError, shutil.ReadError) as error:
            raise ContainerError(f"ClientError: {uri}: {error}") from error

    guarded.__doc__ = function.__doc__
    return guarded


@_moving
def download(s3: Any, bucket: str, prefix: str, folder: Path) -> None:
    """Copy the object, or every object below the prefix, into a folder. Raises ContainerError for none."""
    below = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ()) if not item["Key"].endswith("/")]
    targets = {
        key: folder / (Path(key).name if key == prefix else key.removeprefix(below))
        for key in keys
        if key == prefix or key.startswith(below)
    }
    if not targets:
        raise ContainerError(f"ClientError: No S3 objects found under S3 URL s3://{bucket}/{prefix}.")
    for target in targets.values():
        target.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda item: s3.download_file(bucket, item[0], str(item[1])), targets.items()))


@_moving
def upload(s3: Any, bucket: str, prefix: str, folder: Path) -> None:
    """Copy every file of a folder below an S3 prefix."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        s3.upload_file(str(file), bucket, f"{prefix.rstrip('/')}/{file.relative_to(folder).as_posix()}".lstrip("/"))


@_moving
def pack(s3: Any, bucket: str, key: str, folder: Path) -> None:
    """Put a folder's content as one .tar.gz object."""
    s3.upload_file(shutil.make_archive(f"{folder}", "gztar", folder), bucket, key)


@_moving
def unpack(s3: Any, bucket: str, key: str, folder: Path) -> None:
    """Extract a .tar.gz object into a folder."""
    archive = folder.with_suffix(".tar.gz")
    s3.download_file(bucket, key, str(archive))
    shutil.unpack_archive(archive, folder, filter="data")
