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
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from string import Template
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from local.hooks import client, state_folder, swap

PHASES = ("QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD", "FINALIZING")
BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_overrides: contextvars.ContextVar[dict[str, str]] = contextvars.ContextVar("build_overrides")


class BuildError(Exception):
    """The build fails, in a phase and with a reason that the build's log shows."""

    def __init__(self, phase: str, reason: str) -> None:
        super().__init__(reason)
        self.phase = phase


def image_folder(image_uri: str) -> Path:
    """The folder of an image that was pushed here. Raises FileNotFoundError when it wasn't, as AWS fails then."""
    from ministack.services import ecr

    repository, _, tag = image_uri.partition("/")[2].rpartition(":")
    folder = state_folder() / "images" / repository / tag
    if repository not in ecr._repositories or not ecr._find_image(repository, {"imageTag": tag}):
        raise FileNotFoundError(f"{image_uri} is not in ECR: run the CodeBuild project that pushes it.")
    if not folder.is_dir():
        raise FileNotFoundError(f"{image_uri} is in ECR but wasn't built here: the local cloud runs what it built.")
    return folder


def image_root(image_uri: str) -> Path:
    """The root file system of an image. Raises FileNotFoundError when it wasn't pushed."""
    return image_folder(image_uri) / "rootfs"


def image_env(image_uri: str) -> dict[str, str]:
    """An image's ENV, with absolute paths that the image holds as this machine's. Raises like image_root."""
    folder = image_folder(image_uri)

    def here(path: str) -> str:
        inside = folder / "rootfs" / path.lstrip("/")
        return str(inside) if path.startswith("/") and inside.exists() else path

    env = {
        name: os.pathsep.join(map(here, value.split(":"))) if "/" in value and "://" not in value else value
        for name, value in json.loads((folder / "env.json").read_text()).items()
    }
    interpreter = [str(Path(sys.executable).parent), os.environ["PATH"]]
    return env | {"PATH": os.pathsep.join([here("/usr/local/bin"), env.get("PATH", ""), *interpreter])}


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """A Dockerfile's (INSTRUCTION, arguments) pairs, of its last stage, continuation lines joined."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    words = [line.strip().partition(" ") for line in joined.split("\n")]
    pairs = [(word.upper(), rest.strip()) for word, _, rest in words if word]
    stages = [index for index, (word, _) in enumerate(pairs) if word == "FROM"]
    return pairs[stages[-1] if stages else 0 :]


def env_of(rest: str, env: dict[str, str]) -> dict[str, str]:
    """What an ENV line sets: `A=b C="d e"` or the old `A b c`, with ${NAME} of `env` filled in."""
    words = shlex.split(rest)
    pairs = [word.partition("=")[::2] for word in words] if "=" in words[0] else [(words[0], rest.partition(" ")[2])]
    return {name: Template(value).safe_substitute(env) for name, value in pairs}


def listing(folder: Path) -> list[str]:
    """The names in a folder."""
    return sorted(path.name for path in folder.iterdir())


def copy(rest: str, workdir: str, context: Path, root: Path) -> None:
    """Do one COPY or ADD line as Docker would. Raises BuildError for a missing source or what isn't supported."""
    words = json.loads(rest) if rest.startswith("[") else shlex.split(rest)
    flags = dict(word.removeprefix("--").partition("=")[::2] for word in words if word.startswith("--"))
    *patterns, target = [word for word in words if not word.startswith("--")]
    if "from" in flags:
        raise BuildError("BUILD", f"COPY {rest}: the local cloud can't copy from another stage or image.")
    sources = [found for pattern in patterns for found in sorted(context.glob(pattern.strip("/")))]
    if not sources:
        raise BuildError("BUILD", f"COPY {rest}: no such file among {listing(context)}.")
    destination = root / str(PurePosixPath(workdir, target)).lstrip("/")
    into_folder = target.endswith(("/", ".")) or len(sources) > 1 or destination.is_dir()
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, destination, dirs_exist_ok=True)
            continue
        copied = destination / source.name if into_folder else destination
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copied)
        if "chmod" in flags:
            copied.chmod(int(flags["chmod"], 8))


def build(context: Path, image: Path) -> None:
    """Build the image folder from a context with a Dockerfile at its top. Raises BuildError."""
    if not (context / "Dockerfile").is_file():
        raise BuildError("BUILD", f"No Dockerfile among {listing(context)}, the top of the source.")
    shutil.rmtree(image, ignore_errors=True)
    root = image / "rootfs"
    root.mkdir(parents=True)
    env, workdir = {"PATH": BASE_PATH}, "/"
    for word, rest in instructions((context / "Dockerfile").read_text()):
        if word == "ENV":
            env |= env_of(rest, env)
        elif word == "WORKDIR":
            workdir = str(PurePosixPath(workdir, rest))
        elif word in ("COPY", "ADD"):
            copy(rest, workdir, context, root)
    (image / "env.json").write_text(json.dumps(env, indent=1))


def download(location: str, folder: Path) -> None:
    """Unpack a source zip in S3 ("bucket/key"), file modes included. Raises BuildError."""
    bucket, _, key = location.removeprefix("arn:aws:s3:::").partition("/")
    try:
        content = client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                path = Path(archive.extract(member, folder))
                if mode := member.external_attr >> 16 & 0o777:
                    path.chmod(mode)
    except (client("s3").exceptions.ClientError, zipfile.BadZipFile) as error:
        raise BuildError("DOWNLOAD_SOURCE", f"s3://{location}: {error}") from error


def pushed(project: dict[str, Any], build_id: str) -> list[str]:
    """The image URIs that the buildspec's `docker push` commands name, with the build's variables filled in."""
    spec = yaml.safe_load(project["source"].get("buildspec") or "{}") or {}
    variables = {"CODEBUILD_BUILD_ID": build_id} | spec.get("env", {}).get("variables", {})
    variables |= {item["name"]: item["value"] for item in project["environment"].get("environmentVariables") or []}
    variables |= _overrides.get({})
    commands = [line for phase in spec.get("phases", {}).values() for line in phase.get("commands", [])]
    targets = [found for line in commands for found in re.findall(r"docker push\s+[\"']?([^\s\"']+)", line)]
    if not targets:
        raise BuildError("BUILD", "The buildspec has no `docker push`: the local cloud builds images only.")
    return [Template(target).safe_substitute(variables) for target in targets]


def push(image_uri: str, built: Path) -> None:
    """Put a built image into the registry under its name. Raises BuildError when the registry refuses it."""
    repository, _, tag = image_uri.partition("/")[2].rpartition(":")
    if not repository or not tag or "$" in image_uri:
        raise BuildError("POST_BUILD", f"docker push {image_uri}: no <repository>:<tag>. Are its variables set?")
    digest = hashlib.sha256()
    for path in sorted(path for path in built.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(built)}\0".encode() + path.read_bytes())
    layer = {
        "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "size": 0,
        "digest": f"sha256:{digest.hexdigest()}",
    }
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": layer, "layers": [layer]}
    ecr = client("ecr")
    try:
        ecr.put_image(repositoryName=repository, imageTag=tag, imageManifest=json.dumps(manifest))
    except ecr.exceptions.ClientError as error:
        raise BuildError("POST_BUILD", f"docker push {image_uri}: {error}") from error
    shutil.copytree(built, state_folder() / "images" / repository / tag, dirs_exist_ok=True)


def execute(build_id: str, project: dict[str, Any]) -> None:
    """Run a started build to its end, in place of MiniStack's `_execute_build`."""
    from ministack.services import codebuild

    record = codebuild._builds[build_id]
    group = project.get("logsConfig", {}).get("cloudWatchLogs", {}).get("groupName")
    record["logs"]["groupName"] = group or record["logs"]["groupName"]
    log = codebuild._log_sink(record)
    failed: BuildError | None = None
    try:
        with TemporaryDirectory() as work:
            context, image = Path(work) / "source", Path(work) / "image"
            download(project["source"].get("location", ""), context)
            build(context, image)
            for uri in pushed(project, build_id):
                push(uri, image)
                log(f"pushed {uri}")
    except BuildError as error:
        failed = error
        log(f"{error.phase} failed: {error}")
    except BaseException:
        codebuild._finish_build(record, "FAULT")  # whoever waits for the build must hear of it
        raise
    for phase in PHASES:
        codebuild._record_phase(record, phase, "FAILED" if failed and phase == failed.phase else "SUCCEEDED")
        if failed and phase == failed.phase:
            record["phases"][-1]["contexts"] = [{"statusCode": "COMMAND_EXECUTION_ERROR", "message": str(failed)}]
            break
    codebuild._finish_build(record, "FAILED" if failed else "SUCCEEDED")


def of_project(original: Callable[..., str]) -> Callable[..., str]:
    """The resource of a call that names builds is their project, whose name starts a build's id."""

    def resource(service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any) -> str:
        builds = json.loads(body or b"{}").get("ids") if service == "codebuild" else None
        if builds:
            body = json.dumps({"projectName": builds[0].partition(":")[0]}).encode()
        return original(service, method, path, headers, body, *rest)

    return resource


def install() -> None:
    """Execute builds, with the variables that StartBuild overrides, which MiniStack ignores."""
    from ministack.core import iam_actions
    from ministack.services import codebuild

    def make(start_build: Any) -> Any:
        def start(data: dict[str, Any]) -> Any:
            overridden = data.get("environmentVariablesOverride") or []
            token = _overrides.set({item["name"]: item["value"] for item in overridden})
            try:
                return start_build(data)
            finally:
                _overrides.reset(token)

        return start

    swap(codebuild, "_start_build", make)
    swap(iam_actions, "extract_resource_arn", of_project)
    swap(codebuild, "EXECUTE_BUILDS", lambda _: True)
    swap(codebuild, "_execute_build", lambda _: execute)
