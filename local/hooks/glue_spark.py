"""Runs a Glue script on Spark with s3:// as folders. MiniStack 1.5.33 reports SUCCEEDED without running it.

A run sees S3 as a folder of links to the objects' files, one level a bucket. What anyone puts or deletes while it
runs is linked or unlinked before S3 answers, so that Spark finds what boto3 has listed. What Spark writes or removes
there becomes puts and deletes when its write is committed; a run that is killed leaves its committed writes, no more.
Packages are this environment's: a job that names others, or other versions, is refused.
Not here: awsglue, jars and files beside the script, buckets made while a run is under way, a script that appends to an
object in place, the job's role for what Spark itself reads and writes.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from ministack.core.concurrency import spawn_background
from ministack.core.lambda_runtime import execution_credentials
from ministack.core.responses import get_account_id, get_region
from ministack.services import s3

from local import tools
from local.hooks import root_environment, wrap

DRIVER = Path(__file__).with_name("glue_driver.py")
# Jobs last seconds here: compiled once, collected by one thread and with classes mapped from an archive, a small one
# takes 8.7 s of processor time; with the JVM's defaults it takes 27.5 s.
JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -Xlog:disable -Xlog:all=error:stderr"
SETTINGS = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "2g",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # s3:// is a mount table; the plain local file system would write a .crc file beside each object
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme",
    "spark.hadoop.fs.viewfs.overload.scheme.target.s3.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
}
UNSUPPORTED = {"--extra-jars", "--extra-files"}
EXTRA = "--extra-py-files"  # zips on the path of the driver and of Spark's workers
HIDDEN = (".", "_temporary")  # what Spark has not committed
lock = threading.RLock()
views: list["View"] = []


class JobFailed(Exception):
    """A run that ended badly: its JobRunState, with its ErrorMessage as the text."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state


class View:
    """One run's S3: `folder`/bucket/key is a link to an object's file, or a file that Spark has written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.links: set[str] = set()
        with lock:
            self.buckets = list(s3._buckets.keys())
            for bucket in self.buckets:
                (folder / bucket).mkdir(parents=True)
                for key in list(s3._buckets[bucket]["objects"]):
                    self.link(bucket, key)
            views.append(self)

    def link(self, bucket: str, key: str) -> None:
        """Show an object, unless its key isn't a path (it ends in "/", say) or is hidden from Spark anyway."""
        stored, shown = object_file(bucket, key), self.folder / bucket / key
        if any(part.startswith(HIDDEN) for part in key.split("/")) or not str(stored).endswith(f"/{bucket}/{key}"):
            return
        shown.unlink(missing_ok=True)  # the object was replaced, or Spark wrote the file that was put
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.symlink_to(stored)
        self.links.add(f"{bucket}/{key}")

    def unlink(self, bucket: str, key: str) -> None:
        """Hide an object that was deleted."""
        self.links.discard(f"{bucket}/{key}")
        (self.folder / bucket / key).unlink(missing_ok=True)

    def files(self) -> Iterator[tuple[str, bool]]:
        """(bucket/key, whether it is a link) of what Spark has committed or left alone."""
        for folder, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if not name.startswith(HIDDEN)]
            for path in (Path(folder, name) for name in names if not name.startswith(HIDDEN)):
                yield str(path.relative_to(self.folder)), path.is_symlink()

    def publish(self) -> None:
        """Put what Spark has written and delete what it has removed, in this order: no reader finds less."""
        with lock:
            found = dict(self.files())
            written = [name for name, linked in found.items() if not linked or name not in self.links]
            removed = self.links - found.keys()
        for name in written:
            bucket, _, key = name.partition("/")
            status, _, answer = s3._put_object(bucket, key, (self.folder / name).read_bytes(), {})
            if status >= 300:
                raise JobFailed("FAILED", f"S3 refused {name}: {answer.decode(errors='replace')}")
        for name in removed:
            bucket, _, key = name.partition("/")
            s3._delete_object(bucket, key)

    def close(self) -> None:
        """Forget it, with what was not published."""
        with lock:
            views.remove(self)
        shutil.rmtree(self.folder, ignore_errors=True)


def object_file(bucket: str, key: str) -> Path:
    """The file with an object's bytes. MiniStack's own function takes 0.2 ms for the usual place."""
    plain = Path(s3.DATA_DIR, get_account_id(), bucket, key)
    return plain if s3._plain_path_key(key) and plain.is_file() else Path(s3._object_disk_path(bucket, key))


def run(job: dict[str, Any], folder: Path, arguments: dict[str, str], seconds: float) -> None:
    """Run a job's script to its end in `folder`, which gets stdout.txt and stderr.txt.

    Raises JobFailed: TIMEOUT after `seconds`, FAILED with the script's error.
    """
    if refused := UNSUPPORTED & arguments.keys():
        raise JobFailed("FAILED", f"{', '.join(sorted(refused))} is not in the local cloud")
    if missing := [name for name in listed(arguments, "--additional-python-modules") if not installed(name)]:
        raise JobFailed("FAILED", f"{', '.join(missing)} is not installed here")
    view = View(folder / "s3")
    try:
        uri = job["Command"]["ScriptLocation"]
        script = view.folder / uri.removeprefix("s3://")
        if not script.exists():
            raise JobFailed("FAILED", f"{uri} does not exist")
        words = [str(script.resolve()), str(folder / "message.txt"), *(w for pair in arguments.items() for w in pair)]
        ours, theirs = socket.socketpair()
        with ours, theirs, (folder / "stdout.txt").open("w") as out, (folder / "stderr.txt").open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, str(DRIVER), *words], cwd=folder, env=environment(job, view, folder, arguments),
                stdin=theirs.fileno(), stdout=out, stderr=errors, start_new_session=True,
            )  # fmt: skip
            theirs.close()
            try:
                attend(ours, view, time.monotonic() + seconds)
                code = process.wait(10)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
        spawn_background(keep_archive, folder, process.pid, thread_name="spark-classes")
        if code:
            told, unknown = folder / "message.txt", f"The driver ended with code {code}: see /aws-glue/jobs/error"
            raise JobFailed("FAILED", told.read_text() if told.exists() else unknown)
    finally:
        view.close()


def listed(arguments: dict[str, str], name: str) -> list[str]:
    """The items of a comma-separated argument."""
    return [item for item in arguments.get(name, "").split(",") if item]


def installed(module: str) -> bool:
    """Whether this environment has a package, "name==version"."""
    name, _, wanted = module.partition("==")
    try:
        return version(name) == wanted
    except PackageNotFoundError:
        return False


def attend(driver: socket.socket, view: View, deadline: float) -> None:
    """Publish each time the driver asks, until it closes its end."""
    while True:
        driver.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            if not driver.recv(1):
                return
        except TimeoutError:
            raise JobFailed("TIMEOUT", "Job run timed out") from None
        view.publish()
        driver.sendall(b"d")


def environment(job: dict[str, Any], view: View, folder: Path, arguments: dict[str, str]) -> dict[str, str]:
    """The driver's environment: Spark's settings, the local endpoint with the job's role, Java 17, this Python."""
    conf = SETTINGS | {
        "spark.driver.extraJavaOptions": f"{JVM} {shared_classes(folder)}",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    for bucket in view.buckets:
        conf[f"spark.hadoop.fs.viewfs.mounttable.{bucket}.linkFallback"] = (view.folder / bucket).as_uri()
    own = f"--conf {arguments['--conf']} " if "--conf" in arguments else ""
    given = " ".join(f"--conf {shlex.quote(f'{name}={value}')}" for name, value in conf.items())
    # MiniStack has role sessions for Lambda functions alone: the job poses as one.
    pose = f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:{job['Name']}"
    session = {"FunctionArn": pose, "FunctionName": "GlueJobRunnerSession", "Role": job["Role"]}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPARK_", "PYTHON"))}
    return kept | root_environment() | execution_credentials(session) | {
        "JAVA_HOME": str(tools.java_home()),
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": ":".join(str(view.folder / uri.removeprefix("s3://")) for uri in listed(arguments, EXTRA)),
        "PYSPARK_SUBMIT_ARGS": f"--master local[2] {given} {own}pyspark-shell",
        "SPARK_LOCAL_DIRS": str(folder / "spark"),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }  # fmt: skip


def shared_classes(folder: Path) -> str:
    """The JVM's options for its archive of loaded classes. A first run leaves classes.jsa in `folder`."""
    base, archive = archives()
    if not base.exists():  # the wheel's Java comes without the archive of its own classes
        made = folder / "base.jsa"
        options = ["-Xshare:dump", "-XX:+UseSerialGC", f"-XX:SharedArchiveFile={made}"]
        java = tools.java_home() / "bin" / "java"
        subprocess.run([java, *options], check=True, capture_output=True, start_new_session=True)  # as the run's own is
        keep(made, base)
    if archive.exists():
        return f"-XX:SharedArchiveFile={base}:{archive}"
    return f"-XX:SharedArchiveFile={base} -XX:ArchiveClassesAtExit={folder}/classes.jsa"


def archives() -> tuple[Path, Path]:
    """Where the archives of Java's classes and of Spark's are, or will be, for this Java and these jars."""
    jars = Path(str(distribution("pyspark").locate_file("pyspark/jars")))
    name = zlib.crc32(f"{tools.java_home()} {jars} {jars.stat().st_mtime_ns}".encode())
    cache = tools.ROOT / ".local" / "cache"
    return cache / f"java-{name:08x}.jsa", cache / f"spark-{name:08x}.jsa"


def keep(made: Path, archive: Path) -> None:
    """Move an archive to where it is found whole or not at all."""
    if made.exists() and not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        Path(shutil.move(made, archive.with_suffix(f".{os.getpid()}"))).replace(archive)


def keep_archive(folder: Path, group: int) -> None:
    """Keep the archive that a run's JVM writes while it exits, once it has exited."""
    try:
        for _ in range(600):
            os.killpg(group, 0)
            time.sleep(0.5)
    except ProcessLookupError:  # it is complete
        keep(folder / "classes.jsa", archives()[1])


def tell(change: Callable[..., None], original: Callable[..., None], bucket: str, key: str, *rest: Any) -> None:
    """What S3 calls when an object's file has changed: change the views too."""
    with lock:
        original(bucket, key, *rest)
        for view in views:
            change(view, bucket, key)


def install() -> None:
    """Keep objects in files, and every run's view of them up to date."""
    s3.S3_PERSIST = True
    wrap(s3, "_persist_object", partial(tell, View.link))
    wrap(s3, "_delete_persisted_object", partial(tell, View.unlink))
    wrap(s3, "_persist_delete_marker", partial(tell, View.unlink))
