"""Synthesizes an app in a process of its own, as the CDK CLI does, with neither credentials nor a network."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = Path(__file__).parent / "apps"
_SECONDS = 300
_NOBODY = "http://127.0.0.1:9"  # the discard port: whatever asks the network is refused at once


class SynthesisError(Exception):
    """An app did not synthesize; the message is what it printed."""


def synthesize(folder: Path, output: Path, app: Path | str = "app.py", *arguments: str, validate: bool = True) -> Path:
    """Run `app` in `folder`, with the context of its cdk.json if there is one; returns `output`, the cloud assembly.

    Modules are looked for in `folder`. `validate` also runs CloudFormation's own rules. Raises SynthesisError.
    """
    settings = folder / "cdk.json"
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "CDK_", "PYTHON")) and not name.lower().endswith("_proxy")
    }
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # the wheel puts node beside python
        "PYTHONPATH": str(folder),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _NOBODY),
        "CDK_OUTDIR": str(output),
        "CDK_CONTEXT_JSON": json.dumps(json.loads(settings.read_text())["context"] if settings.exists() else {}),
        "CDK_VALIDATION": str(validate).lower(),
    }
    ended = subprocess.run(
        [sys.executable, str(app), *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if ended.returncode:
        raise SynthesisError(ended.stdout)
    return output


def copy(paths: Iterable[str], folder: Path) -> Path:
    """Copy files and folders of the repository, named from its root, to the same places in `folder`; returns it."""
    for path in paths:
        source, target = ROOT / path, folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)
    return folder


def sources() -> list[str]:
    """The files a clone would have: those git knows and those it would not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(path for path in set(listed.stdout.split("\0")) - {""} if (ROOT / path).is_file())
