"""Contract tests of local/hooks/codebuild.py: a Dockerfile in S3 becomes an image that SageMaker's hooks can run."""

import io
import json
import re
import time
import zipfile
from typing import Any

import pytest

from local.cloud import Cloud
from local.hooks import codebuild

pytestmark = pytest.mark.local
DOCKERFILE = """\
# comment
FROM python:3.12-slim
COPY requirements.txt /tmp/
RUN pip install \\
    -r /tmp/requirements.txt
ENV PYTHONPATH=/opt/program \\
    GREETING="hello world"
COPY ml/ /opt/program/ml/
COPY bin/ /usr/local/bin/
"""
FILES = {
    "Dockerfile": DOCKERFILE,
    "requirements.txt": "x==1",
    "ml/features.py": "",
    "bin/train": "#!/bin/sh",
    "bin/serve": "#!/bin/sh",
}
BUILDSPEC = {
    "version": "0.2",
    "phases": {
        "build": {"commands": ["docker build --tag $REPOSITORY_URI:$IMAGE_TAG ."]},
        "post_build": {"commands": ['docker push "$REPOSITORY_URI:$IMAGE_TAG"']},
    },
}


@pytest.fixture(scope="module")
def build(client: Any) -> Any:
    """Runs a build of files with variables, and answers the ended build's record."""
    s3, project = client("s3"), client("codebuild")
    s3.create_bucket(Bucket="sources")
    project.create_project(
        name="image",
        serviceRole="arn:aws:iam::000000000000:role/build",
        artifacts={"type": "NO_ARTIFACTS"},
        source={"type": "S3", "location": "sources/source.zip", "buildspec": json.dumps(BUILDSPEC)},
        environment={
            "type": "LINUX_CONTAINER",
            "image": "aws/codebuild/standard:7.0",
            "computeType": "BUILD_GENERAL1_SMALL",
        },
    )

    def run(files: dict[str, str], **variables: str) -> dict[str, Any]:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            for name, content in files.items():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = (0o755 if name.startswith("bin/") else 0o644) << 16
                zipped.writestr(entry, content)
        s3.put_object(Bucket="sources", Key="source.zip", Body=archive.getvalue())
        overrides = [{"name": name, "value": value} for name, value in variables.items()]
        record = project.start_build(projectName="image", environmentVariablesOverride=overrides)["build"]
        deadline = time.monotonic() + 60
        while record["buildStatus"] == "IN_PROGRESS" and time.monotonic() < deadline:
            time.sleep(0.05)
            record = project.batch_get_builds(ids=[record["id"]])["builds"][0]
        return record

    yield run
    s3.delete_object(Bucket="sources", Key="source.zip")
    s3.delete_bucket(Bucket="sources")
    project.delete_project(name="image")


@pytest.fixture(scope="module")
def repository(client: Any) -> Any:
    """The URI of a repository whose tags can't be overwritten."""
    ecr = client("ecr")
    made = ecr.create_repository(repositoryName="team/ml", imageTagMutability="IMMUTABLE")["repository"]
    yield made["repositoryUri"]
    ecr.delete_repository(repositoryName="team/ml", force=True)


def reason(record: dict[str, Any]) -> str:
    """Phase and message of a failed build."""
    assert record["buildStatus"] == "FAILED"
    (phase,) = [phase for phase in record["phases"] if phase.get("contexts")]
    return f"{phase['phaseType']}: {phase['contexts'][0]['message']}"


def test_a_build_pushes_an_image_once(build: Any, repository: str, client: Any, cloud: Cloud) -> None:
    record = build(FILES, REPOSITORY_URI=repository, IMAGE_TAG="one")
    assert record["buildStatus"] == "SUCCEEDED"
    (image,) = client("ecr").describe_images(repositoryName="team/ml")["imageDetails"]
    assert image["imageTags"] == ["one"]

    folder = cloud.state / "images" / "team/ml" / "one"
    files = {str(path.relative_to(folder / "rootfs")) for path in (folder / "rootfs").rglob("*") if path.is_file()}
    assert files == {"tmp/requirements.txt", "opt/program/ml/features.py", "usr/local/bin/train", "usr/local/bin/serve"}
    assert (folder / "rootfs/usr/local/bin/train").stat().st_mode & 0o777 == 0o755
    env = json.loads((folder / "env.json").read_text())
    assert env == {"PYTHONPATH": "/opt/program", "GREETING": "hello world"}

    again = reason(build(FILES, REPOSITORY_URI=repository, IMAGE_TAG="one"))
    assert "already exists" in again
    logs = client("logs").filter_log_events(logGroupName=record["logs"]["groupName"])["events"]
    assert any("pushed" in event["message"] for event in logs)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"README": ""}, "BUILD: .*No such file.*Dockerfile"),
        ({"Dockerfile": "FROM x\nCOPY gone /"}, "BUILD: .*No such file.*gone"),
        ({"Dockerfile": "FROM x\nCOPY --from=y /a /b"}, "COPY --from=y /a /b: the local cloud knows"),
        ({"Dockerfile": "FROM x\nENV PATH=/x:$PATH"}, "ENV .*: the local cloud knows"),
        ({"Dockerfile": "FROM x\nWORKDIR /opt"}, "WORKDIR /opt: the local cloud knows"),
    ],
)
def test_a_failed_build_says_why(build: Any, repository: str, files: dict[str, str], expected: str) -> None:
    assert re.search(expected, reason(build(files, REPOSITORY_URI=repository, IMAGE_TAG="a")))


def test_a_build_that_pushes_no_image_is_not_run_and_says_so(build: Any, client: Any) -> None:
    spec = {"version": "0.2", "phases": {"install": {"runtime-versions": {}}, "build": {"commands": ["exit 1"]}}}
    source = {"type": "S3", "location": "sources/source.zip"}
    client("codebuild").update_project(name="image", source=source | {"buildspec": json.dumps(spec)})
    try:
        record = build({"main.py": ""})
    finally:
        client("codebuild").update_project(name="image", source=source | {"buildspec": json.dumps(BUILDSPEC)})
    logs = client("logs").filter_log_events(logGroupName=record["logs"]["groupName"])["events"]
    assert record["buildStatus"] == "SUCCEEDED"
    assert any("not run" in event["message"] for event in logs)


def test_a_push_to_no_repository_fails(build: Any) -> None:
    nowhere = "000000000000.dkr.ecr.us-east-1.amazonaws.com/none"
    assert "does not exist" in reason(build({"Dockerfile": "FROM x"}, REPOSITORY_URI=nowhere, IMAGE_TAG="a"))


def test_image_paths_are_this_machines(
    cloud: Cloud, build: Any, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What SageMaker's hooks read, inside the server: the root folder, and ENV with paths that lead into it."""
    build(FILES, REPOSITORY_URI=repository, IMAGE_TAG="two")
    monkeypatch.setenv("MILLRACE_STATE", str(cloud.state))
    monkeypatch.setattr("ministack.services.ecr._repositories", {"team/ml": {}})
    monkeypatch.setattr("ministack.services.ecr._images", {"team/ml": [{"imageDigest": "d", "imageTags": ["two"]}]})
    root = codebuild.image_root(f"{repository}:two")
    env = codebuild.image_env(f"{repository}:two")
    assert env["PYTHONPATH"] == str(root / "opt/program")
    assert env["PATH"].split(":")[0] == str(root / "usr/local/bin")
    with pytest.raises(FileNotFoundError, match="is not in ECR"):
        codebuild.image_root(f"{repository}:absent")
