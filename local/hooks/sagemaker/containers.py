"""Containers as processes: an image is the root folder that CodeBuild's hook built, /opt/ml the job's own folder.

`local.server` ends whatever is left below the server when that ends, so none outlives it.
"""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.concurrency import spawn_background
from ministack.services.codebuild import _log_sink

from local.hooks import client, codebuild, root_environment, state_folder
from local.hooks.sagemaker.store import SageMakerError

LOG_SECONDS = 10.0  # for the rest of a log whose container has ended
_live: set["Container"] = set()


@dataclass(eq=False)
class Container:
    """A container that was started; `tail` is the end of its log."""

    process: subprocess.Popen[str]
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    pump: threading.Thread | None = None

    def end(self) -> None:
        """Kill every process of the container and read its log to the end."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left (macOS: only zombies)
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.pump:
            self.pump.join(LOG_SECONDS)
        _live.discard(self)


@atexit.register
def end_all() -> None:
    """End every container."""
    for container in [*_live]:
        container.end()


def fresh_folder(*names: str) -> Path:
    """An empty folder below the local cloud's jobs folder."""
    folder = state_folder().joinpath("jobs", *names)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def start(image: str, argv: Sequence[str], environment: dict[str, str], base: Path, log: tuple[str, str]) -> Container:
    """Run a command of an image with `base` as its /opt/ml and its output in a log group's stream.

    Its program finds that folder in SAGEMAKER_BASE_DIR. Raises SageMakerError.
    """
    try:
        root, own = codebuild.image_root(image), codebuild.image_env(image)
    except FileNotFoundError as missing:
        raise SageMakerError("ClientError", str(missing)) from None

    variables = own | root_environment() | {"HOME": str(base)} | environment | {"SAGEMAKER_BASE_DIR": str(base)}
    try:
        process = subprocess.Popen(
            argv,  # looked for in the PATH of `env`
            cwd=base,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:  # there is no such file, or it has no #! line
        raise SageMakerError("ClientError", f"{image} can't run {argv[0]}: {error}. Its files: {root}.") from error
    container = Container(process)
    _live.add(container)
    container.pump = spawn_background(_pump, container, *log, thread_name="sagemaker-log")
    return container


def _pump(container: Container, group: str, stream: str) -> None:
    """Copy a container's output into its log stream, line by line."""
    log = _log_sink({"logs": {"groupName": group, "streamName": stream}})
    for line in container.process.stdout or ():
        container.tail.append(line.rstrip("\n"))
        log(container.tail[-1])


@contextlib.contextmanager
def s3(uri: str) -> Iterator[tuple[Any, str, str]]:
    """A client with bucket and key of an s3:// URI; what fails inside raises a SageMakerError that names the URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        yield client("s3"), bucket, key
    except (BotoCoreError, ClientError, shutil.ReadError, ValueError) as error:
        raise SageMakerError("ClientError", f"{uri}: {error}") from error


def download(uri: str, folder: Path) -> None:
    """Copy the object, or every object below the prefix, into a folder. Raises SageMakerError, also for none."""
    with s3(uri) as (service, bucket, prefix):
        pages = service.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        below = prefix.rstrip("/") + "/"
        files = [key for key in keys if key == prefix or (key.startswith(below) and not key.endswith("/"))]
        if not files:
            raise SageMakerError("ClientError", f"No S3 objects found under S3 URL {uri}.")
        for key in files:
            target = folder / (key.removeprefix(below) if key.startswith(below) else Path(key).name)
            target.parent.mkdir(parents=True, exist_ok=True)
            service.download_file(bucket, key, str(target))


def upload(uri: str, folder: Path) -> None:
    """Copy every file of a folder below an S3 prefix. Raises SageMakerError."""
    with s3(uri) as (service, bucket, prefix):
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            key = f"{prefix.rstrip('/')}/{file.relative_to(folder).as_posix()}".lstrip("/")
            service.upload_file(str(file), bucket, key)


def pack(uri: str, folder: Path) -> None:
    """Put a folder's content as one .tar.gz object. Raises SageMakerError."""
    with s3(uri) as (service, bucket, key):
        service.upload_file(shutil.make_archive(f"{folder}", "gztar", folder), bucket, key)


def unpack(uri: str, folder: Path) -> None:
    """Extract a .tar.gz object into a folder. Raises SageMakerError."""
    with s3(uri) as (service, bucket, key):
        archive = folder.with_suffix(".tar.gz")
        service.download_file(bucket, key, str(archive))
        shutil.unpack_archive(archive, folder, filter="data")
