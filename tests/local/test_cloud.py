"""The local cloud as a process, and the real CDK CLI deploying to it: deploy, update, destroy, no leftovers."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local import deploy, tools
from local.cloud import DEFAULT_PORT, Cloud

pytestmark = pytest.mark.local
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
# An app that writes its assembly by itself: what is tested here is the CLI against the local cloud, not synthesis.
APP = """
import json, os, pathlib
out = pathlib.Path(os.environ["CDK_OUTDIR"])
here = {"account": os.environ["CDK_DEFAULT_ACCOUNT"], "region": "eu-west-1"}
stack = {"type": "aws:cloudformation:stack", "environment": "aws://%(account)s/%(region)s" % here,
         "displayName": "sandbox/one", "properties": {"templateFile": "one.json", "stackName": "tiny-one"}}
nested = {"type": "cdk:cloud-assembly", "properties": {"directoryName": "assembly-sandbox", "displayName": "sandbox"}}
for folder, artifacts in (out, {"assembly-sandbox": nested}), (out / "assembly-sandbox", {"tiny-one": stack}):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"version": "48.0.0", "artifacts": artifacts}))
(out / "assembly-sandbox" / "one.json").write_text(pathlib.Path("template.json").read_text())
"""


def processes_of(state: Path) -> set[int]:
    """Every process whose environment names this state folder."""
    wanted, found = f"MILLRACE_STATE={state}".encode(), set()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in environ.read_bytes().split(b"\0"):
                found.add(int(environ.parent.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def running(state: Path, seconds: float = 10.0) -> bool:
    """Whether there is a process of the cloud within some seconds.

    Linux lets a caller of exec go on before it has laid out the environment, which reads as empty until then.
    """
    deadline = time.monotonic() + seconds
    while not (found := processes_of(state)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(found)


def gone(state: Path, seconds: float = 10.0) -> bool:
    """Whether no process of the cloud is left within some seconds, its supervisor included."""
    deadline = time.monotonic() + seconds
    while (left := processes_of(state) or Cloud(state, 0).process()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not left


def test_environment_holds_no_trace_of_a_real_account(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "real")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    environment = cloud.environment()
    assert "real" not in environment.values()
    assert environment["AWS_ENDPOINT_URL"] == cloud.endpoint
    identity = cloud.session().client("sts").get_caller_identity()
    assert identity["Account"] == environment["AWS_ACCESS_KEY_ID"]


@pytest.mark.parametrize("named", ["", "http", "-1", "0", "65536"])
def test_what_is_no_port_is_refused(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_PORT", named)
    with pytest.raises(tools.ToolError, match="give a number from 1 to 65535"):
        Cloud()


def test_a_second_start_is_refused(cloud: Cloud, tmp_path: Path) -> None:
    with pytest.raises(tools.ToolError, match="runs already"):
        Cloud(cloud.state, tools.free_port()).start()
    with pytest.raises(tools.ToolError, match=f"Port {cloud.port} is in use.*MILLRACE_PORT"):
        Cloud(tmp_path, cloud.port).start()
    assert cloud.healthy()


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "s3" / "theirs"
    theirs.mkdir(parents=True)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(tools.ToolError, match=r"holds notes\.txt, no part of a local cloud"):
        Cloud(tmp_path, tools.free_port()).start()
    assert theirs.exists()


def test_who_names_no_port_finds_the_cloud_that_runs_in_the_folder(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MILLRACE_PORT", raising=False)
    assert Cloud(cloud.state).port == cloud.port != DEFAULT_PORT
    monkeypatch.setenv("MILLRACE_PORT", "1")
    assert Cloud(cloud.state).port == 1


@pytest.fixture
def own_cloud(tmp_path: Path) -> Any:
    """Starts a cloud in a process of its own, with a Lambda worker and a child that left the process group."""
    program = textwrap.dedent("""
        import io, sys, time, zipfile, pathlib
        from local.cloud import Cloud
        cloud = Cloud(pathlib.Path(sys.argv[1]), int(sys.argv[2]), enforce_iam=False)
        cloud.start(follow_me=True)
        code = "import subprocess\\ndef handler(event, context):\\n"
        code += "    subprocess.Popen(['sleep', '600'], start_new_session=True)"
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("handler.py", code)
        functions = cloud.session().client("lambda")
        functions.create_function(FunctionName="f", Runtime="python3.13", Role="arn:aws:iam::000000000000:role/r",
                                  Handler="handler.handler", Code={"ZipFile": archive.getvalue()})
        functions.invoke(FunctionName="f")
        print("ready", flush=True)
        time.sleep(600)
    """)
    command = [sys.executable, "-c", program, str(tmp_path), str(tools.free_port())]
    owner = subprocess.Popen(command, cwd=tools.ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout and owner.stdout.readline() == "ready\n"
    yield owner
    owner.kill()
    owner.wait()


@linux_only
def test_a_killed_owner_leaves_no_process(own_cloud: subprocess.Popen[str], tmp_path: Path) -> None:
    assert len(processes_of(tmp_path)) >= 3  # server, Lambda worker, its child
    own_cloud.kill()
    assert gone(tmp_path)


@linux_only
def test_a_killed_supervisor_leaves_no_process(own_cloud: subprocess.Popen[str], tmp_path: Path) -> None:
    supervisor = Cloud(tmp_path, 0).process()
    assert supervisor
    os.kill(supervisor, signal.SIGKILL)
    assert gone(tmp_path)


@linux_only
def test_an_interrupted_start_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Cloud) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Cloud, "healthy", interrupt)
    cloud = Cloud(tmp_path, tools.free_port())
    with pytest.raises(KeyboardInterrupt):
        cloud.start()
    assert running(tmp_path)
    cloud.stop()
    assert gone(tmp_path)


def template(name: str) -> str:
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}
    key = {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {"Version": "2012-10-17", "Statement": []}}}
    return json.dumps({"Resources": {"Queue": queue, "Key": key}, "Outputs": {"Name": {"Value": name}}})


@pytest.fixture(scope="module")
def enforcing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud that enforces IAM, as the demo's does."""
    with Cloud(tmp_path_factory.mktemp("enforcing"), tools.free_port()) as cloud:
        yield cloud


def test_deploy_update_destroy(enforcing: Cloud, tmp_path: Path) -> None:
    """The CLI bootstraps and deploys to an empty cloud, updates it, and destroys it without a trace."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "cdk.json").write_text(json.dumps({"app": "python app.py"}))
    for name in ("first", "second"):
        (tmp_path / "template.json").write_text(template(name))
        lines = list(deploy.deploy(enforcing, "sandbox", tmp_path))
        assert any("tiny-one | " in line for line in lines), "the stack's events are passed on"
        session = enforcing.session()
        assert session.region_name == "eu-west-1"
        (url,) = session.client("sqs").list_queues()["QueueUrls"]
        assert url.endswith(name)
    assert "sqs queues: " in " ".join(deploy.leftovers(enforcing))
    list(deploy.destroy(enforcing))
    assert deploy.leftovers(enforcing) == []


def test_policies_and_subscriptions_that_no_stack_owns_are_left_over(cloud: Cloud) -> None:
    iam, sns = cloud.session().client("iam"), cloud.session().client("sns")
    nothing = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    policy = iam.create_policy(PolicyName="forgotten", PolicyDocument=json.dumps(nothing))
    topic = sns.create_topic(Name="forgotten")["TopicArn"]
    asked = {"TopicArn": topic, "Protocol": "email", "Endpoint": "a@example.org", "ReturnSubscriptionArn": True}
    subscription = sns.subscribe(**asked)["SubscriptionArn"]
    left = deploy.leftovers(cloud)
    iam.delete_policy(PolicyArn=policy["Policy"]["Arn"])
    sns.delete_topic(TopicArn=topic)
    assert [line for line in left if line.startswith("iam policies: ")] == ["iam policies: forgotten"]
    assert f"sns subscriptions: {subscription}" in left


def test_roles_may_do_what_their_policies_allow(enforcing: Cloud) -> None:
    """A role's calls are judged, over loopback as over TLS; CodeBuild's builds are judged as their project."""
    root = enforcing.session()
    account, _ = enforcing.target()
    trust = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"}
    allowed = [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*"},
        {"Effect": "Allow", "Action": "codebuild:BatchGetBuilds", "Resource": "arn:aws:codebuild:*:*:project/mine"},
    ]
    insecure: dict[str, Any] = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::data/*"],
    }
    insecure["Condition"] = {"Bool": {"aws:SecureTransport": "false"}}
    iam, s3 = root.client("iam"), root.client("s3")
    role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))["Role"]
    iam.put_role_policy(RoleName="reader", PolicyName="p", PolicyDocument=json.dumps({"Statement": allowed}))
    s3.create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": root.region_name})
    s3.put_bucket_policy(Bucket="data", Policy=json.dumps({"Statement": [insecure]}))
    s3.put_object(Bucket="data", Key="k", Body=b"x")

    keys = root.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="test")["Credentials"]
    reader = enforcing.session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    assert reader.client("s3").get_object(Bucket="data", Key="k")["Body"].read() == b"x"
    builds = reader.client("codebuild")
    assert builds.batch_get_builds(ids=["mine:1"])["buildsNotFound"] == ["mine:1"]
    for refused in (
        lambda: reader.client("s3").put_object(Bucket="data", Key="k", Body=b"y"),
        lambda: builds.batch_get_builds(ids=["other:1"]),
    ):
        with pytest.raises(ClientError, match=r"AccessDenied.*reader"):
            refused()


def test_a_failed_deploy_tells_the_reason(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("raise SystemExit('settings are wrong')")
    (tmp_path / "cdk.json").write_text(json.dumps({"app": "python app.py"}))
    with pytest.raises(tools.ToolError, match="settings are wrong"):
        list(deploy.deploy(cloud, "sandbox", tmp_path))


def test_a_stopped_cloud_says_so(tmp_path: Path) -> None:
    stopped = Cloud(tmp_path, tools.free_port())
    stopped.stop()
    with pytest.raises(tools.ToolError, match="start"):
        list(deploy.deploy(stopped, "sandbox"))
