"""Starts and stops the local cloud, and says how to talk to it."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.session

from local import server, tools

DEFAULT_PORT = 4599
START_SECONDS = 120.0
DEPLOYMENT, PORT, LOG = "deployment.json", "port", "cloud.log"  # in the state folder
FOLDERS = ("cdk", "cdk.out", "images", "jobs", "s3", "state", "tmp")
CONTENTS = {*FOLDERS, DEPLOYMENT, PORT, LOG, server.LOCK, "cache"}


class Session(boto3.Session):
    """A boto3 session whose clients talk to one local cloud."""

    endpoint = ""

    def client(self, *args: Any, **kwargs: Any) -> Any:
        """As boto3's, against the local endpoint."""
        return super().client(*args, **kwargs | {"endpoint_url": self.endpoint})


@dataclass
class Cloud:
    """One local cloud: a port and a folder for all it writes. Usable as a context that starts and stops it.

    Another process can hold the same cloud: everything is read from the folder. Where no port is given it is that of
    MILLRACE_PORT, else of the cloud that runs in the folder. With `enforce_iam` a call needs a policy that allows it,
    as in AWS; this class' own session is the account's root, which may do all. With `keep` it can be started again
    with what it held when it was stopped.
    """

    state: Path = tools.ROOT / ".local"
    port: int = 0
    enforce_iam: bool = True
    keep: bool = False
    _supervisor: "subprocess.Popen[bytes] | None" = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises ToolError when MILLRACE_PORT is no port."""
        running = (self.state / PORT).read_text() if self.process() else str(DEFAULT_PORT)
        named = str(self.port or os.environ.get("MILLRACE_PORT", running))
        if not named.isdecimal() or not 1 <= int(named) <= 65_535:
            raise tools.ToolError(f"MILLRACE_PORT is {named!r}: give a number from 1 to 65535.")
        self.port = int(named)

    def __enter__(self) -> "Cloud":
        self.start(follow_me=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """The URL every service answers on."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.state / LOG

    @property
    def deployment(self) -> dict[str, str]:
        """The account, region and stage deployed, or being deployed; empty before that."""
        file = self.state / DEPLOYMENT
        return json.loads(file.read_text()) if file.exists() else {}

    def target(self) -> tuple[str, str]:
        """The account and region of the stacks deployed; MiniStack's own until there are some."""
        return self.deployment.get("account", "000000000000"), self.deployment.get("region", "us-east-1")

    def environment(self) -> dict[str, str]:
        """The environment for programs that should see this cloud, and no trace of a real account."""
        account, region = self.target()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)  # importing aws_cdk takes ten times as long without .pyc files
        programs = [tools.node().parent, Path(sys.executable).parent, tools.java_home() / "bin"]
        return kept | {
            "PATH": os.pathsep.join([*map(str, programs), os.environ.get("PATH", "")]),
            "JAVA_HOME": str(tools.java_home()),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": account,  # MiniStack takes a 12 digit key for the account
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "CDK_HOME": str(self.state / "cdk"),  # the CLI caches the account per access key
            "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
        }

    def session(self, *keys: str) -> Session:
        """A boto3 session for this cloud, of the account's root or with temporary keys (id, secret, token)."""
        account, region = self.target()
        unset = (None, None, None, None)  # neither a profile nor a file of the user's: they name real accounts
        core = botocore.session.Session({"profile": unset, "config_file": unset, "credentials_file": unset})
        core.set_credentials(*keys or (account, "local"))
        session = Session(botocore_session=core, region_name=region)
        session.endpoint = self.endpoint
        return session

    def process(self) -> int | None:
        """The supervisor's process id, None when this cloud isn't running."""
        with contextlib.suppress(FileNotFoundError), (self.state / server.LOCK).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:  # the supervisor holds it, and is about to write if it hasn't
                return int(file.read() or 0) or None
        return None

    def healthy(self) -> bool:
        """Whether the server answers."""
        try:
            with urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=5) as answer:  # noqa: S310
                return answer.status == 200
        except OSError:
            return False

    def require(self) -> None:
        """Raises ToolError unless the server answers."""
        if not self.healthy():
            raise tools.ToolError(f"No local cloud answers at {self.endpoint}: `python -m local start` first.")

    def start(self, follow_me: bool = False, resume: bool = False) -> None:
        """Start a cloud and wait until it answers; with `follow_me` it ends when this process does.

        It is empty, or with `resume` has what it held when it was stopped, but for what local/limits.py names.

        Raises ToolError when it runs already, a tool or the port is missing, or the server ends at start; and when the
        folder holds what is no cloud's, since most of it is emptied.
        """
        if self.process():
            raise tools.ToolError(f"A local cloud runs already in {self.state}: `python -m local stop` first.")
        if self.state.exists() and (others := {each.name for each in self.state.iterdir()} - CONTENTS):
            raise tools.ToolError(f"{self.state} holds {min(others)}, no part of a local cloud: give it its own.")
        tools.check(self.state, self.port)
        for name in ("tmp",) if resume else FOLDERS:
            shutil.rmtree(self.state / name, ignore_errors=True)
        if not resume:
            (self.state / DEPLOYMENT).unlink(missing_ok=True)
        (self.state / "tmp").mkdir(parents=True)
        (self.state / PORT).write_text(str(self.port))
        with self.log.open("a" if resume else "w") as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-m", "local.server", "supervise", *["follow"] * follow_me],
                cwd=tools.ROOT,
                env=self.environment() | server.settings(self.port, self.state, self.enforce_iam, self.keep),
                stdin=subprocess.PIPE if follow_me else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.healthy():
            if self._supervisor.poll() is not None or time.monotonic() > deadline:
                self.stop()
                last = "\n".join(self.log.read_text().splitlines()[-15:])
                raise tools.ToolError(f"The local cloud did not start; {self.log} ends with:\n{last}")
            time.sleep(0.1)

    def restart(self) -> None:
        """Stop it and start it again with what it held. Raises ToolError as `start` does."""
        follow_me = bool(self._supervisor and self._supervisor.stdin)
        self.stop()
        self.start(follow_me, resume=True)

    def stop(self) -> None:
        """Stop it and every process it started. Does nothing when it isn't running."""
        process = self.process()
        if process is None:
            if self._supervisor:  # interrupted while it started: it has not locked its file yet
                self._supervisor.terminate()
                self._supervisor.wait()
            return
        os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + 2 * server.STOP_SECONDS
        while self.process():
            if time.monotonic() > deadline:
                raise tools.ToolError(f"Process {process} does not end; see {self.log}, then `kill -9 {process}`.")
            time.sleep(0.05)
        if self._supervisor:
            self._supervisor.wait()
