"""Faults put in from outside, by what really causes them: a wire that fails, code that crashes, processes killed."""

import contextlib
import io
import json
import math
import os
import random
import signal
import subprocess
import threading
import time
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
from demo.platform import LinkBrokenError, Platform, destination, wait_for
from local.cloud import Cloud
from producers.redrive import PLACES

THROTTLED_CALLS, LOST_ANSWERS = 5, 20  # one in so many PutRecords calls of a stream
LOST = 3  # the first of those that is lost
THROTTLED = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded, on purpose"}
ANSWERED = 2  # AWS calls of a batch before its function crashes: transactions of the table, objects in quarantine
RETRIES, ALWAYS = 0, 1_000
KEPT = {  # what is given up, by the name that redrive has for it: the bucket's output, and the prefix
    "errors": ("RawBucketName", *PLACES["errors"].prefixes),
    "dead-letters": ("QuarantineBucketName", *PLACES["dead-letters"].prefixes),
}
PATIENCE = 300  # seconds that a fault may take to strike


@dataclass
class Wire:
    """A proxy on loopback between a producer and Kinesis: it throttles half of some calls, and loses others' answers.

    Calls are counted by stream. Which records are throttled follows from the seed.
    """

    cloud: Cloud
    seed: int
    passed: int = 0  # records that Kinesis took
    throttled_calls: int = 0
    throttled_records: int = 0
    lost_answers: int = 0
    unreachable: int = 0  # calls that found no cloud

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311  reproducible, not secret
        self._calls: Counter[str] = Counter()
        self._limit, self._waiting = math.inf, 0
        self._gate = threading.Condition()
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
        names = ("passed", "throttled_calls", "throttled_records", "lost_answers", "unreachable")
        return {"calls": self._calls.total()} | {name: getattr(self, name) for name in names}

    def hold(self, records: float) -> None:
        """Let calls wait, neither passed on nor answered, once this many records have passed; fewer go on."""
        with self._gate:
            self._limit = records
            self._gate.notify_all()

    def wait_until_held(self, alive: Callable[[], bool]) -> None:
        """Wait until a call is held. Raises LinkBrokenError when the producer ends without making it."""
        with self._gate:
            while not (self._waiting and self.passed >= self._limit):
                self._gate.wait(0.1)
                if not alive():
                    raise LinkBrokenError("producer", f"it ended before it had sent {self._limit:,} records")

    def release(self) -> None:
        """Let the calls that are held, and the next ones, go on."""
        self.hold(math.inf)

    def answer(self, target: str, kind: str, body: bytes) -> tuple[int, bytes] | None:
        """Kinesis' answer to a request, or None for a connection that breaks."""
        if not target.endswith(".PutRecords"):
            return self._pass_on(target, kind, body)
        request = json.loads(body)
        records, refused = request["Records"], set()
        with self._gate:
            self._waiting += 1
            self._gate.notify_all()
            self._gate.wait_for(lambda: self.passed < self._limit)
            self._waiting -= 1
            self._calls[request["StreamName"]] += 1
            number = self._calls[request["StreamName"]]
            if number % THROTTLED_CALLS == 0:
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
            with self._gate:
                self.passed += len(given)
        if number % LOST_ANSWERS == LOST:
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


class CrashingFunction:
    """A function that can't survive the first record of its first batches: benchmarks/crashing.py takes its place."""

    def __init__(self, platform: Platform, name: str, folder: Path, crashes: Sequence[int]) -> None:
        """`crashes` are those of each such record, `folder` is where they are written down."""
        self.plan = {"folder": str(folder), "crashes": crashes, "calls": ANSWERED}
        self._folder, self._name, self._client = folder, name, platform.client("lambda")
        self._sound = b""
        folder.mkdir(parents=True)

    @property
    def crashed(self) -> list[list[tuple[int, int]]]:
        """For each record not survived, its crashes: (records in the batch, AWS calls answered in it)."""
        files = sorted(self._folder.iterdir(), key=lambda file: int(file.name.partition("-")[0]))
        return [[(int(a), int(b)) for a, b in map(str.split, file.read_text().splitlines())] for file in files]

    def deploy(self) -> None:
        """Put the crashing code in the function's place; its own is a module of that."""
        function = self._client.get_function(FunctionName=self._name)
        module, _, entry = function["Configuration"]["Handler"].rpartition(".")
        with urllib.request.urlopen(function["Code"]["Location"]) as answer:  # noqa: S310
            self._sound = answer.read()
        made = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(self._sound)) as real, zipfile.ZipFile(made, "w") as archive:
            for name in real.namelist():
                archive.writestr("sound.py" if name == f"{module}.py" else name, real.read(name))
            archive.write(Path(__file__).with_name("crashing.py"), f"{module}.py")
            archive.writestr("plan.json", json.dumps(self.plan | {"function": entry}))
        self._put(made.getvalue())

    def withdraw(self) -> None:
        """Put the function's own code back."""
        self._put(self._sound)

    def _put(self, code: bytes) -> None:
        self._client.update_function_code(FunctionName=self._name, ZipFile=code)
        self._client.get_waiter("function_updated_v2").wait(FunctionName=self._name)


class CrashingTransform(CrashingFunction):
    """A delivery stream's function: its first batch crashes at every attempt, its second at all but the last."""

    def __init__(self, platform: Platform, folder: Path) -> None:
        deployed = destination(platform.client("firehose"), platform.outputs["DeliveryStreamName"])
        (processor,) = deployed["ProcessingConfiguration"]["Processors"]
        given = {item["ParameterName"]: item["ParameterValue"] for item in processor["Parameters"]}
        attempts = 1 + int(given["NumberOfRetries"])
        super().__init__(platform, given["LambdaArn"], folder, (attempts, attempts - 1))

    def wait(self) -> None:
        """Wait until all of it has happened."""
        planned = self.plan["crashes"]
        wait_for("crashes", f"{planned}", lambda: tuple(map(len, self.crashed)) == planned or None, seconds=PATIENCE)


class CrashingConsumer(CrashingFunction):
    """A stream's second consumer: one record ends it however small the batch, until it is given up, alone.

    That comes after `RETRIES` and not as many as are deployed, whose waits are of minutes.
    """

    def __init__(self, platform: Platform, folder: Path) -> None:
        stream = platform.outputs["StreamName"]
        self._platform, lambdas = platform, platform.client("lambda")
        mappings = lambdas.list_event_source_mappings()["EventSourceMappings"]
        (self._mapping,) = (found for found in mappings if found["EventSourceArn"].endswith(f"/{stream}"))
        super().__init__(platform, self._mapping["FunctionArn"], folder, (ALWAYS,))

    def deploy(self) -> None:
        self._retry(RETRIES)
        super().deploy()

    def withdraw(self) -> None:
        super().withdraw()
        self._retry(self._mapping["MaximumRetryAttempts"])

    def _retry(self, attempts: int) -> None:
        self._client.update_event_source_mapping(UUID=self._mapping["UUID"], MaximumRetryAttempts=attempts)

    def wait(self) -> None:
        """Wait until the record is given up."""
        kept = KEPT["dead-letters"]
        wait_for("flight state", "a dead letter", lambda: list(self._platform.keys(*kept)) or None, seconds=PATIENCE)


def kill_job(cloud: Cloud, platform: Platform) -> float:
    """SIGKILL the curating job's Spark driver once its first file is in S3; returns when, in whole seconds since 1970.

    Its watermark follows half a second later: S3 is watched where the local cloud keeps its files, which takes no call.
    A run that ends without having written anything is let go, and the next is watched. One that ended before it could
    be killed is forgotten, and done again.
    """
    glue, name = platform.client("glue"), platform.outputs["GlueJobName"]
    curated = cloud.state / "s3" / cloud.target()[0] / platform.outputs["CuratedBucketName"]

    def driver() -> tuple[str, list[int]] | None:
        runs = [run["Id"] for run in glue.get_job_runs(JobName=name)["JobRuns"] if run["JobRunState"] == "RUNNING"]
        groups = processes(f"/jobs/glue/{runs[0]}/") if runs else []
        return (runs[0], groups) if groups else None

    def state() -> str:
        return str(glue.get_job_run(JobName=name, RunId=run)["JobRun"]["JobRunState"])

    before = files(curated)
    while True:
        run, groups = wait_for("Glue trigger", f"a run of {name}", driver, seconds=PATIENCE)
        killed = kill_once_written(groups, curated, before)
        wait_for("Glue job", f"the end of {run}", lambda: state() not in ingest.ACTIVE or None, seconds=PATIENCE)
        if killed and state() == "FAILED":
            return killed
        if not files(curated) <= before:
            forget(platform)
            before = files(curated)


def kill_once_written(groups: list[int], folder: Path, before: set[Path]) -> float | None:
    """SIGKILL to process groups at the first new file; returns when, or None when they have ended by then."""
    while any(map(alive, groups)):
        looked = time.monotonic()
        if not files(folder) <= before:
            killed = ingest.now()
            for group in groups:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
            return killed
        time.sleep(max(0.005, time.monotonic() - looked))
    return None


def forget(platform: Platform) -> None:
    """Let the curating job do every day again: remove its watermark, and start it."""
    glue, name = platform.client("glue"), platform.outputs["GlueJobName"]
    state = glue.get_job(JobName=name)["Job"]["DefaultArguments"]["--state_path"]
    bucket, _, key = state.removeprefix("s3://").partition("/")
    platform.client("s3").delete_object(Bucket=bucket, Key=key)
    glue.start_workflow_run(Name=platform.outputs["GlueWorkflowName"])


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
