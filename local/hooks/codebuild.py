"""Builds images without Docker, which MiniStack 1.5.33's CodeBuild asks for: the Dockerfile's COPY and ENV lines alone.

An image is the folder images/<repository>/<tag>/: rootfs/ holds what COPY put there, env.json the ENV lines.
RUN isn't executed: containers run on this environment's interpreter and packages.
"""

import contextvars
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import zipfile
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from botocore.exceptions import ClientError
from ministack.core import iam_actions
from ministack.services import codebuild, ecr, lambda_svc

from local.hooks import Answer, Handler, client, state_folder, swap, wrap

_overrides: contextvars.ContextVar[dict[str, str]] = contextvars.ContextVar("build_overrides")


def image_root(image_uri: str) -> Path:
    """The root file system of an image. Raises FileNotFoundError when it wasn't pushed, as AWS fails then."""
    repository, _, tag = image_uri.partition("/")[2].rpartition(":")
    if repository not in ecr._repositories or not ecr._find_image(repository, {"imageTag": tag}):
        raise FileNotFoundError(f"{image_uri} is not in ECR: run the CodeBuild project that pushes it.")
    return state_folder() / "images" / repository / tag / "rootfs"


def image_env(image_uri: str) -> dict[str, str]:
    """An image's ENV, with absolute paths that the image holds as this machine's. Raises like image_root."""
    root = image_root(image_uri)

    def here(path: str) -> str:
        inside = root / path.lstrip("/")
        return str(inside) if path.startswith("/") and inside.exists() else path

    env = json.loads((root.parent / "env.json").read_text())
    programs = (here("/usr/local/bin"), str(Path(sys.executable).parent), os.environ["PATH"])
    return {name: here(value) for name, value in env.items()} | {"PATH": os.pathsep.join(programs)}


def build(context: Path, image: Path) -> None:
    """Build the image folder from a context with a Dockerfile at its top. Raises OSError and ValueError."""
    env: dict[str, str] = {}
    (image / "rootfs").mkdir(parents=True)
    text = re.sub(r"^\s*#.*\n", "", (context / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        word, *arguments = shlex.split(line)
        match word, arguments:
            case "COPY", [source, target] if target.startswith("/"):
                copy(context / source, f"{image}/rootfs{target}")
            case "ENV", _ if "$" not in line and all("=" in pair for pair in arguments):
                env |= dict(pair.split("=", 1) for pair in arguments)
            case "FROM" | "RUN", _:
                continue
            case _:
                raise ValueError(f"{line}: the local cloud knows FROM, RUN, COPY <one> </absolute>, ENV NAME=value.")
    (image / "env.json").write_text(json.dumps(env, indent=1))


def copy(source: Path, target: str) -> None:
    """A folder's content to a folder; a file to a file, or into a folder when the target ends with a slash."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        Path(target[: target.rindex("/")]).mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def download(location: str, folder: Path) -> str:
    """Unpack a source zip in S3 ("bucket/key"), file modes included; returns its SHA-256. Raises ClientError."""
    bucket, _, key = location.partition("/")
    content = client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        lambda_svc._extract_zip_preserving_mode(archive, str(folder))
    return hashlib.sha256(content).hexdigest()


def pushed(project: dict[str, Any]) -> list[str]:
    """The image URIs that the buildspec's `docker push` commands name, with StartBuild's variables filled in."""
    spec = yaml.safe_load(project["source"]["buildspec"])
    commands = [line for phase in spec["phases"].values() for line in phase.get("commands", ())]
    targets = [found for line in commands for found in re.findall(r"docker push\s+[\"']?([^\s\"']+)", line)]
    return [Template(target).safe_substitute(_overrides.get()) for target in targets]


def push(image_uri: str, built: Path, digest: str) -> None:
    """Put a built image into the registry under its name. Raises ClientError when the registry refuses it."""
    repository, _, tag = image_uri.partition("/")[2].rpartition(":")
    layer = {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": 0, "digest": f"sha256:{digest}"}
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": layer, "layers": [layer]}
    client("ecr").put_image(repositoryName=repository, imageTag=tag, imageManifest=json.dumps(manifest))
    shutil.copytree(built, state_folder() / "images" / repository / tag, dirs_exist_ok=True)


def execute(build_id: str, project: dict[str, Any]) -> None:
    """Run a started build to its end, in place of MiniStack's `_execute_build`."""
    record = codebuild._builds[build_id]
    group = project.get("logsConfig", {}).get("cloudWatchLogs", {}).get("groupName")
    record["logs"]["groupName"] = group or record["logs"]["groupName"]
    log = codebuild._log_sink(record)
    status = "FAULT"  # whoever waits for the build hears of an error of ours too
    codebuild._record_phase(record, "QUEUED", "SUCCEEDED")
    try:
        with TemporaryDirectory() as work:
            context, image = Path(work) / "source", Path(work) / "image"
            digest = download(project["source"]["location"], context)
            if uris := pushed(project):
                build(context, image)
            else:
                log("not run: the local cloud builds images alone, and this build pushes none")
            for uri in uris:
                push(uri, image, digest)
                log(f"pushed {uri}")
        status = "SUCCEEDED"
    except (ClientError, OSError, ValueError) as error:
        status = "FAILED"
        log(str(error))
        codebuild._record_phase(record, "BUILD", status)
        record["phases"][-1]["contexts"] = [{"statusCode": "COMMAND_EXECUTION_ERROR", "message": str(error)}]
    finally:
        codebuild._finish_build(record, status)


def start_build(original: Handler, data: dict[str, Any]) -> Answer:
    """StartBuild that keeps its variables for `execute`, which runs in a copy of this context."""
    _overrides.set({item["name"]: item["value"] for item in data.get("environmentVariablesOverride", [])})
    return original(data)


def resource(original: Any, service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any) -> str:
    """The resource of a call that names builds is their project, whose name starts a build's id."""
    if service == "codebuild" and (builds := json.loads(body or b"{}").get("ids")):
        body = json.dumps({"projectName": builds[0].partition(":")[0]}).encode()
    return str(original(service, method, path, headers, body, *rest))


def install() -> None:
    """Execute builds, with the variables that StartBuild overrides, which MiniStack ignores."""
    wrap(codebuild, "_start_build", start_build)
    wrap(iam_actions, "extract_resource_arn", resource)
    swap(codebuild, "EXECUTE_BUILDS", lambda _: True)
    swap(codebuild, "_execute_build", lambda _: execute)
