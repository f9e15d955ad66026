"""Starts, supervises and stops the local cloud: `python -m local.cloud start|deploy|status|destroy|stop`."""

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.session

from local import server, tools

DEFAULT_PORT = 4599
START_SECONDS = 60.0
STOP_SECONDS = 10
FOLDERS = ("cdk", "cdk.out", "images", "jobs", "s3", "state", "tmp")
PR_SET_CHILD_SUBREAPER = 36  # prctl(2): orphans of this process' descendants become its own children


class Session(boto3.Session):
    """A boto3 session whose clients talk to one local cloud."""

    endpoint = ""

    def client(self, *args: Any, **kwargs: Any) -> Any:
        """As boto3's, against the local endpoint."""
        return super().client(*args, **{"endpoint_url": self.endpoint, **kwargs})

    def resource(self, *args: Any, **kwargs: Any) -> Any:
        """As boto3's, against the local endpoint."""
        return super().resource(*args, **{"endpoint_url": self.endpoint, **kwargs})


@dataclass
class Cloud:
    """One local cloud: a port and a folder for all it writes. Usable as a context that starts and stops it.

    Another process can hold the same cloud: everything is read from the folder. With `enforce_iam` a call needs a
    policy that allows it, as in AWS; this class' own session is the account's root, which may do all.
    """

    state: Path = tools.ROOT / ".local"
    port: int = field(default_factory=lambda: int(os.environ.get("MILLRACE_PORT", DEFAULT_PORT)))
    enforce_iam: bool = True

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
        return self.state / "cloud.log"

    def target(self) -> tuple[str, str]:
        """The account and region of the stacks deployed, or to be: MiniStack's own until there are some."""
        deployment = self.state / "deployment.json"
        if not deployment.exists():
            return "000000000000", "us-east-1"
        facts = json.loads(deployment.read_text())
        return facts["account"], facts["region"]

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
        path = self.state / "cloud.pid"
        if not path.exists():
            return None
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:  # the supervisor holds it
                return int(file.read() or 0)
        return None

    def healthy(self) -> bool:
        """Whether the server answers."""
        try:
            with urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=5) as answer:  # noqa: S310
                return answer.status == 200
        except OSError:
            return False

    def start(self, follow_me: bool = False) -> None:
        """Start an empty cloud and wait until it answers; with `follow_me` it ends when this process does.

        Raises ToolError when it runs already, a tool or the port is missing, or the server ends at start.
        """
        if self.process():
            raise tools.ToolError(f"A local cloud runs already in {self.state}: `python -m local.cloud stop` first.")
        tools.check(self.state, self.port)
        for name in FOLDERS:
            shutil.rmtree(self.state / name, ignore_errors=True)
        (self.state / "deployment.json").unlink(missing_ok=True)
        (self.state / "tmp").mkdir(parents=True)
        flags = [*["--follow"] * follow_me, *["--no-iam"] * (not self.enforce_iam)]
        place = [f"--state={self.state}", f"--port={self.port}"]
        with self.log.open("w") as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "local.cloud", "run", *place, *flags],
                cwd=tools.ROOT,
                stdin=subprocess.PIPE if follow_me else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.healthy():
            if supervisor.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise tools.ToolError(f"The local cloud did not start; {self.log} ends with:\n{self.tail()}")
            time.sleep(0.1)
        self._supervisor = supervisor  # keeps the pipe open: its end tells the supervisor that this process ended

    def tail(self, lines: int = 15) -> str:
        """The end of the server's log."""
        return "\n".join(self.log.read_text().splitlines()[-lines:])

    def stop(self) -> None:
        """Stop it and every process it started. Does nothing when it isn't running."""
        process = self.process()
        if process is None:
            return
        os.kill(process, signal.SIGTERM)
        supervisor: subprocess.Popen[bytes] | None = getattr(self, "_supervisor", None)
        deadline = time.monotonic() + 2 * STOP_SECONDS
        while self.process():
            if supervisor:
                supervisor.poll()
            if time.monotonic() > deadline:
                raise tools.ToolError(f"Process {process} does not end; see {self.log}, then `kill -9 {process}`.")
            time.sleep(0.05)
        if supervisor:
            supervisor.wait(timeout=STOP_SECONDS)

    def run(self, follow: bool) -> int:
        """Serve in the foreground until a signal, or with `follow` until standard input closes.

        This process only supervises: when the server ends, whatever way, nothing it started is left.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        with (self.state / "cloud.pid").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.write(str(os.getpid()))
            lock.flush()
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            environment = self.environment() | server.settings(self.port, self.state, self.enforce_iam)
            process = subprocess.Popen(
                [sys.executable, "-m", "local.server"],
                cwd=tools.ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
            stop_on_signals(process.pid)
            if follow:
                threading.Thread(target=terminate_at_end_of_input, daemon=True).start()
            code = wait_for(process.pid)
            signal.alarm(0)
            kill_all_below(process.pid)
        return code


def stop_on_signals(server_id: int) -> None:
    """SIGTERM, SIGINT and SIGHUP end the server, by force after STOP_SECONDS."""

    def stop(*_: object) -> None:
        os.kill(server_id, signal.SIGTERM)
        signal.alarm(STOP_SECONDS)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    signal.signal(signal.SIGALRM, lambda *_: server.kill([server_id]))


def terminate_at_end_of_input() -> None:
    """SIGTERM to this process when its standard input closes: the process that started it ended."""
    while os.read(sys.stdin.fileno(), 1024):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


def wait_for(server_id: int) -> int:
    """The server's exit code; orphans that end meanwhile are reaped."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == server_id:
            return os.waitstatus_to_exitcode(status)


def kill_all_below(group: int) -> None:
    """End the server's process group and, on Linux, every descendant that left it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing left in it (macOS: only zombies)
        os.killpg(group, signal.SIGKILL)
    while left := server.descendants(os.getpid()):
        server.kill(left)
        os.waitpid(-1, 0)


def status(cloud: Cloud) -> str:
    """One line on the cloud, then one a stack."""
    if not cloud.process():
        return f"not running ({cloud.state})"
    stacks = cloud.session().client("cloudformation").describe_stacks()["Stacks"]
    lines = [f"{stack['StackName']}: {stack['StackStatus']}" for stack in stacks]
    return "\n".join([f"running at {cloud.endpoint}, log {cloud.log}", *lines])


def main() -> int:
    """The command line; the exit code is 1 when something failed or is left over."""
    from local import deploy

    parser = argparse.ArgumentParser(prog="python -m local.cloud", description=__doc__)
    parser.add_argument("command", choices=["start", "deploy", "status", "destroy", "stop", "run"])
    parser.add_argument("--port", type=int, default=None, help=f"MILLRACE_PORT, else {DEFAULT_PORT}")
    parser.add_argument("--state", type=Path, default=tools.ROOT / ".local")
    parser.add_argument("--stage", default="sandbox", help="the CDK stage to deploy")
    parser.add_argument("--follow", action="store_true", help="with run: end when standard input closes")
    parser.add_argument("--no-iam", action="store_true", help="with start: allow every call")
    options = parser.parse_args()
    port = {"port": options.port} if options.port else {}
    cloud = Cloud(options.state.resolve(), enforce_iam=not options.no_iam, **port)
    try:
        match options.command:
            case "run":
                return cloud.run(options.follow)
            case "start":
                cloud.start()
                print(status(cloud))
            case "deploy":
                for line in deploy.deploy(cloud, options.stage):
                    print(line, flush=True)
            case "status":
                print(status(cloud))
            case "destroy":
                for line in deploy.destroy(cloud):
                    print(line, flush=True)
                left = deploy.leftovers(cloud)
                print("\n".join(["left over:", *left]) if left else "nothing is left")
                return bool(left)
            case "stop":
                cloud.stop()
    except tools.ToolError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
