"""Faults put in from outside, by what really causes them: a wire that fails, code that crashes, processes killed."""

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session

from demo import ingest
from demo.platform import LinkBrokenError, Platform, wait_for
from local.cloud import Cloud

THROTTLED_CALLS, LOST_ANSWERS = 5, 20  # one in so many PutRecords calls
THROTTLED = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded, on purpose"}
JOB_START_SECONDS = 300


@dataclass
class Wire:
    """A proxy on loopback between a producer and Kinesis: it throttles half of some calls, and loses others' answers.

    Which records are throttled follows from the seed.
    """

    cloud: Cloud
    seed: int
    calls: int = 0
    passed: int = 0  # records that Kinesis took
    throttled_calls: int = 0
    throttled_records: int = 0
    lost_answers: int = 0
    unreachable: int = 0  # calls that found no cloud

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311  reproducible, not secret
        self._limit: int | None = None
        self._held, self._free = threading.Event(), threading.Event()
        self._http = URLLib3Session()
        session = self.cloud.session()
        self._signer = SigV4Auth(session.get_credentials(), "kinesis", session.region_name)

    @contextmanager
    def open(self) -> Iterator[str]:
        """Serve; gives the URL for AWS_ENDPOINT_URL_KINESIS."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"wire": self}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True, name="wire").start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            self.release()
            server.shutdown()
            server.server_close()

    @property
    def counts(self) -> dict[str, int]:
        """What has happened on it."""
        names = ("calls", "passed", "throttled_calls", "throttled_records", "lost_answers", "unreachable")
        return {name: getattr(self, name) for name in names}

    def hold(self, records: int) -> None:
        """Let calls wait, neither passed on nor answered, once this many records have passed."""
        self._free.clear()
        self._limit = records

    def wait_until_held(self, alive: Callable[[], bool]) -> None:
        """Wait until a call is held. Raises LinkBrokenError when the producer ends without making it."""
        while not self._held.wait(0.1):
            if not alive():
                raise LinkBrokenError("producer", f"it ended before it had sent {self._limit:,} records")

    def release(self) -> None:
        """Let the call that is held, and the next ones, go on."""
        self._limit = None
        self._held.clear()
        self._free.set()

    def answer(self, target: str, kind: str, body: bytes) -> tuple[int, bytes] | None:
        """Kinesis' answer to a request, or None for a connection that breaks."""
        if not target.endswith(".PutRecords"):
            return self._pass_on(target, kind, body)
        if self._limit is not None and self.passed >= self._limit:
            self._held.set()
            self._free.wait()
        self.calls += 1
        throttled, lost = self.calls % THROTTLED_CALLS == 0, self.calls % LOST_ANSWERS == 1
        request = json.loads(body)
        records, refused = request["Records"], set()
        if throttled:
            refused = {at for at in range(len(records)) if self._chance.random() < 0.5}
            self.throttled_calls += 1
            self.throttled_records += len(refused)
        given = [record for at, record in enumerate(records) if at not in refused]
        results: Iterator[dict[str, Any]] = iter(())
        if given:
            answer = self._pass_on(target, kind, json.dumps(request | {"Records": given}).encode())
            if answer is None or answer[0] != 200:
                return answer
            results = iter(json.loads(answer[1])["Records"])
            self.passed += len(given)
        if lost:
            self.lost_answers += 1
            return None
        merged = [THROTTLED if at in refused else next(results) for at in range(len(records))]
        return 200, json.dumps({"FailedRecordCount": len(refused), "Records": merged}).encode()

    def _pass_on(self, target: str, kind: str, body: bytes) -> tuple[int, bytes] | None:
        request = AWSRequest("POST", f"{self.cloud.endpoint}/", {"X-Amz-Target": target, "Content-Type": kind}, body)
        self._signer.add_auth(request)
        try:
            response = self._http.send(request.prepare())
        except (NoConnectionError, HTTPClientError):
            self.unreachable += 1
            return None
        return response.status_code, response.content


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wire: Wire

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.wire.answer(self.headers["X-Amz-Target"], self.headers["Content-Type"], body)
        if answer is None:
            self.close_connection = True
            return
        with contextlib.suppress(ConnectionError):  # the producer was killed meanwhile
            self.send_response(answer[0])
            self.send_header("Content-Type", self.headers["Content-Type"])
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


CRASHING = '''"""Deployed for the transform for a while: its first batches end its process, as often as PLAN says."""

import hashlib
import os
from pathlib import Path

import sound

FOLDER, PLAN = Path({folder!r}), {plan!r}


class Half(list):
    """Records of which only half can be read."""

    def __iter__(self):
        for number, record in enumerate(super().__iter__()):
            if number == len(self) // 2:
                os._exit(1)
            yield record


def handler(event, context):
    batch = FOLDER / hashlib.sha256(repr(event["records"]).encode()).hexdigest()
    known = sorted(FOLDER.iterdir(), key=os.path.getctime)
    crashes = batch.read_text().count("\\n") if batch in known else 0
    if crashes < dict(enumerate(PLAN)).get(known.index(batch) if batch in known else len(known), 0):
        with batch.open("a") as file:
            file.write(f"{{len(event['records'])}}\\n")
        if crashes % 2 == 0:
            event["records"] = Half(event["records"])
        sound.{function}(event, context)
        os._exit(1)
    return sound.{function}(event, context)
'''


@dataclass
class CrashingFunction:
    """A delivery stream's function, whose first batch crashes at every attempt and whose second succeeds at the last.

    In turns it crashes halfway through the batch, and when all of it is done but the answer.
    """

    platform: Platform
    folder: Path  # what has crashed is written down here
    attempts: int = 0

    def __post_init__(self) -> None:
        name = self.platform.outputs["DeliveryStreamName"]
        described = self.platform.client("firehose").describe_delivery_stream(DeliveryStreamName=name)
        destination = described["DeliveryStreamDescription"]["Destinations"][0]["ExtendedS3DestinationDescription"]
        (processor,) = destination["ProcessingConfiguration"]["Processors"]
        given = {item["ParameterName"]: item["ParameterValue"] for item in processor["Parameters"]}
        self.attempts = 1 + int(given["NumberOfRetries"])
        self._name = given["LambdaArn"]
        self.folder.mkdir()

    @property
    def plan(self) -> tuple[int, int]:
        """Crashes of the first and of the second batch."""
        return self.attempts, self.attempts - 1

    @property
    def crashed(self) -> list[list[int]]:
        """For each batch that crashed, its records once a crash."""
        return [[int(line) for line in file.read_text().split()] for file in self.folder.iterdir()]

    @contextmanager
    def deployed(self) -> Iterator[None]:
        """Put the crashing code in its place, and the real one back."""
        function = self.platform.client("lambda").get_function(FunctionName=self._name)
        module, _, entry = function["Configuration"]["Handler"].rpartition(".")
        with urllib.request.urlopen(function["Code"]["Location"]) as answer:  # noqa: S310
            code = answer.read()
        made = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(code)) as real, zipfile.ZipFile(made, "w") as archive:
            for name in real.namelist():
                archive.writestr("sound.py" if name == f"{module}.py" else name, real.read(name))
            crashing = CRASHING.format(folder=str(self.folder), plan=self.plan, function=entry)
            archive.writestr(f"{module}.py", crashing)
        self._put(made.getvalue())
        try:
            yield
        finally:
            self._put(code)

    def _put(self, code: bytes) -> None:
        functions = self.platform.client("lambda")
        functions.update_function_code(FunctionName=self._name, ZipFile=code)
        functions.get_waiter("function_updated_v2").wait(FunctionName=self._name)

    def wait_until_crashed(self) -> None:
        """Wait until all of the plan has happened."""
        total = sum(self.plan)
        wait_for("crashes", f"{total}", lambda: sum(map(len, self.crashed)) == total or None, seconds=120)


def kill_job(cloud: Cloud, platform: Platform) -> float:
    """SIGKILL the curating job's Spark driver once its first file is in S3; returns when, in whole seconds since 1970.

    Its watermark follows half a second later: S3 is watched where the local cloud keeps its files, which takes no call.
    A run that ends without having written anything is let go, and the next is watched.
    """
    glue, name = platform.client("glue"), platform.outputs["GlueJobName"]
    curated = cloud.state / "s3" / cloud.target()[0] / platform.outputs["CuratedBucketName"]

    def driver() -> tuple[str, list[int]] | None:
        runs = [run["Id"] for run in glue.get_job_runs(JobName=name)["JobRuns"] if run["JobRunState"] == "RUNNING"]
        groups = processes(f"/jobs/glue/{runs[0]}/") if runs else []
        return (runs[0], groups) if groups else None

    killed = None
    while killed is None:
        run, groups = wait_for("Glue trigger", f"a run of {name}", driver, seconds=JOB_START_SECONDS)
        before = files(curated)
        while killed is None and any(map(alive, groups)):
            time.sleep(0.005)
            if not files(curated) <= before:
                killed = ingest.now()
    for group in groups:
        os.killpg(group, signal.SIGKILL)

    def ended() -> str | None:
        state: str = glue.get_job_run(JobName=name, RunId=run)["JobRun"]["JobRunState"]
        return None if state in ("STARTING", "RUNNING") else state

    if (state := wait_for("Glue job", f"the end of {run}", ended, seconds=60)) != "FAILED":
        raise LinkBrokenError("Glue job", f"{run} was killed too late: it {state}")
    return killed


def alive(group: int) -> bool:
    """Whether a process group has a process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def files(folder: Path) -> set[Path]:
    """The Parquet files in a folder of the local cloud's S3."""
    return set(folder.rglob("*.parquet"))


def processes(words: str) -> list[int]:
    """The groups of the processes whose command has these words."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pgid=,args="], capture_output=True, text=True, check=True).stdout
    return sorted({int(line.split()[0]) for line in listed.splitlines() if words in line})
