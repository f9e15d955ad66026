"""The local cloud's server process: MiniStack with every hook in place, on the loopback interface only."""

import os
import signal
import sys
import threading
from pathlib import Path

from local import tools


def settings(port: int, state: Path, enforce_iam: bool) -> dict[str, str]:
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
        "LAMBDA_EXECUTOR": "local",
        "ATHENA_ENGINE": "duckdb",
        "NODE_PATH": str(tools.ROOT / "node_modules"),  # CDK's own Lambdas find the AWS SDK there, as in AWS's runtime
        "S3_DATA_DIR": str(state / "s3"),
        "STATE_DIR": str(state / "state"),
        "TMPDIR": str(state / "tmp"),
        "MILLRACE_STATE": str(state),
    }


def descendants(root: int) -> list[int]:
    """Process ids below `root`, children before grandchildren; empty where there is no /proc (macOS)."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: list[int] = []
    level = [root]
    while level:
        level = [child for parent in level for child in children.get(parent, [])]
        found += level
    return found


def kill(process_ids: list[int]) -> None:
    """SIGKILL to each; one that has ended already is fine."""
    for process_id in process_ids:
        try:
            os.kill(process_id, signal.SIGKILL)
        except ProcessLookupError:
            continue


def follow_supervisor() -> None:
    """End this process, its children and its group when the supervisor's end of standard input closes."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)
        kill(descendants(os.getpid()))
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True, name="follow-supervisor").start()


def main() -> None:
    """Install the hooks, then serve until SIGTERM. Started by `local.cloud`, which prepares the environment."""
    follow_supervisor()
    from ministack.app import main as serve

    from local.hooks import athena, cloudformation, codebuild, events, firehose, glue, loopback, sagemaker

    for hook in (loopback, cloudformation, events, codebuild, firehose, glue, athena, sagemaker):
        hook.install()

    sys.argv = ["ministack"]
    serve()


if __name__ == "__main__":
    main()
