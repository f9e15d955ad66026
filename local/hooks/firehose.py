"""Firehose's buffers. MiniStack 1.5.33 writes an object a record as it comes in, and drops what the Lambda rejects.

Each delivery stream on a Kinesis stream has a worker that reads it like a consumer, calls the processor Lambda by its
BufferSizeInMBs and BufferIntervalInSeconds, and writes one object a partition by the destination's BufferingHints.
One rule is ours: once the source has been silent and fully read for IDLE_SECONDS, all that is buffered is flushed;
AWS's shortest intervals fit a bill, not a demo. Not here: what SUPPORTED doesn't name, which is refused;
deaggregation, metrics, quotas, what a reshard leaves unread; direct puts and other destinations are MiniStack's.
Source records are backed up as they came, one after the other with nothing in between, as Firehose concatenates them:
https://docs.aws.amazon.com/firehose/latest/dev/basic-deliver.html.
"""

import asyncio
import json
import logging
import os
import threading
import time
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterator
from operator import itemgetter
from typing import Any

from ministack import app
from ministack.core.concurrency import spawn_background
from ministack.core.responses import get_region, new_uuid, request_scope
from ministack.services import firehose, kinesis, lambda_svc, s3

from local.hooks import Answer, Handler, swap
from local.hooks import firehose_settings as settings
from local.hooks.firehose_parquet import Failed, to_parquet
from local.hooks.firehose_records import MB, Buffer, Record
from local.server import PAUSE

OURS = ("ExtendedS3", "S3")
IDLE_SECONDS = 3.0
POLL_SECONDS = 0.5
RETRY_SECONDS = 5.0
READ_LIMIT = 10_000  # records at once, as GetRecords
FAILURES = {  # the service's own words where somebody has captured them: https://github.com/floci-io/floci/issues/3349
    "Lambda.FunctionError": "The Lambda function was successfully invoked but it returned an error result.",
    "Lambda.ProcessingFailedStatus": "ProcessingFailed status set for record",
    "Lambda.MissingRecordId": "One or more record Ids were not returned.",
    "Lambda.InvalidReturnFormat": "The result must be Ok, Dropped or ProcessingFailed, and the data base64.",
}
log = logging.getLogger("firehose")
workers: dict[str, "Worker"] = {}  # by delivery stream ARN
DATA, SOURCES, ERRORS = "data", "sources", "errors"  # of a delivery stream go to objects of their own
Values = tuple[tuple[str, str], ...]  # what the expressions of a prefix stand for
Results = dict[Any, dict[str, Any]]  # of a processor, by record id
Destination = tuple[str | None, Any]  # its type and its configuration


class Worker:
    """Delivers one stream. Its buffers belong to its own thread; others only set `ended`, and stop it for good.

    What it has delivered is kept with the stream as `positions`, once the objects are written: a worker made after a
    restart reads on from there, so that each record is delivered at least once.
    """

    def __init__(self, stream: dict[str, Any]) -> None:
        self.stream = stream
        self.ended = threading.Event()
        self.batch = Buffer()
        self.outlets: dict[str, dict[Values, Buffer]] = {DATA: {}, SOURCES: {}, ERRORS: {}}
        self.last_read = time.monotonic()
        self.stopping = threading.Lock()  # held while buffers change, and for ever once stopped
        # LATEST: behind the newest record of each shard. A shard that comes later is read from its start.
        held = {name: shard["records"] for name, shard in self.shards().items()}
        newest = {name: records[-1]["SequenceNumber"] for name, records in held.items() if records}
        self.positions: dict[str, str] = dict(stream.setdefault("positions", newest))

    @property
    def config(self) -> dict[str, Any]:
        """The destination as it is now: an update counts from the next batch and flush."""
        return self.stream["destinations"][0]["config"]

    def shards(self) -> dict[str, Any]:
        """The source's shards by name; none once it is deleted."""
        source = kinesis._resolve_stream_by_arn(self.stream["kinesis_source"]["KinesisStreamARN"])
        return source["shards"] if source else {}

    def run(self) -> None:
        """Deliver until `ended`, then what is left."""
        while not self.ended.wait(POLL_SECONDS):
            try:
                while self.turn() and not self.ended.is_set():
                    continue
            except Exception:
                log.exception("Firehose %s: delivery failed and will be tried again", self.stream["name"])
                self.ended.wait(RETRY_SECONDS)
        while self.turn():
            continue

    def stop(self) -> None:
        """Write what is processed; the worker's thread then waits for ever, and what is not processed is read again."""
        self.stopping.acquire()
        try:
            self.flush(everything=True)
        except Exception:
            log.exception("Firehose %s: a last delivery failed and is read again", self.stream["name"])

    def turn(self) -> bool:
        """Read once, process and write what is due; whether there is more to read."""
        with self.stopping:
            records = list(self.read())
            for record in records:
                self.batch.add(record)
                self.last_read = time.monotonic()
                if settings.backup(self.config):
                    self.keep(SOURCES, (), record)
        more = len(records) >= READ_LIMIT
        idle = not more and (self.ended.is_set() or time.monotonic() - self.last_read >= IDLE_SECONDS)
        given = settings.processor(self.config) or {"BufferSizeInMBs": "inf", "BufferIntervalInSeconds": "0"}
        hints = {name: float(given[f"Buffer{name}"]) for name in settings.HINTS}
        while self.batch.due(hints) or (idle and self.batch.records):
            self.process(hints["SizeInMBs"] * MB)
        with self.stopping:
            self.flush(everything=idle)
        return more

    def read(self) -> Iterator[Record]:
        """The next records of every shard, each shard's in its order."""
        for name, shard in list(self.shards().items()):
            held = shard["records"]
            start = bisect_right(held, self.positions.get(name, ""), key=itemgetter("SequenceNumber"))
            for record in held[start : start + READ_LIMIT]:
                self.positions[name] = record["SequenceNumber"]
                yield Record(record["Data"], int(record["ApproximateArrivalTimestamp"] * 1000), self.positions[name])

    def process(self, limit: float) -> None:
        """Invoke the processor with what fits of the batch, and sort its records by what it says."""
        named: dict[str, Record] = {}
        for index, record in enumerate(self.batch.records):
            limit -= record.size
            if named and limit < 0:
                break
            named[f"{index:049d}"] = record
        function = settings.processor(self.config)
        attempts, results = self.invoke(function, named) if function else (1, {})
        with self.stopping:
            self.sort(named, function, attempts, results)

    def sort(self, named: dict[str, Record], function: dict[str, str], attempts: int, results: Results | None) -> None:
        """Take a processed batch off what waits; place or refuse each record by its result."""
        rest, self.batch = self.batch.records[len(named) :], Buffer()
        for record in rest:
            self.batch.add(record)
        about = {"attemptsMade": attempts, "lambdaArn": function.get("LambdaArn")}
        for name, record in named.items():
            result = (results or {}).get(name, {})
            outcome, data = result.get("result"), result.get("data")
            if not function:
                self.place(record, {}, {})
            elif outcome == "Ok" and isinstance(data, str):
                keys = (result.get("metadata") or {}).get("partitionKeys") or {}
                self.place(Record(data, record.arrival, record.sequence), keys, about)
            elif results is None:
                self.refuse(record, "Lambda.FunctionError", about)
            elif outcome == "ProcessingFailed":
                self.refuse(record, "Lambda.ProcessingFailedStatus", about)
            elif outcome != "Dropped":
                self.refuse(record, "Lambda.InvalidReturnFormat" if result else "Lambda.MissingRecordId", about)

    def invoke(self, lambda_: dict[str, str], batch: dict[str, Record]) -> tuple[int, Results | None]:
        """Call the Lambda: (attempts made, results by record id, None when every attempt failed)."""
        event = {
            "invocationId": new_uuid(),
            "deliveryStreamArn": self.stream["arn"],
            "sourceKinesisStreamArn": self.stream["kinesis_source"]["KinesisStreamARN"],
            "region": get_region(),
            "records": [
                {"recordId": name, "approximateArrivalTimestamp": record.arrival, "data": record.data}
                for name, record in batch.items()
            ],
        }
        attempts = 1 + int(lambda_["NumberOfRetries"])
        for attempt in range(1, attempts + 1):
            name, qualifier = lambda_svc._resolve_name_and_qualifier(lambda_["LambdaArn"])
            function, _ = lambda_svc._get_func_record_for_qualifier(name, qualifier)
            answer = lambda_svc._execute_function(function, event) if function else {"error": True}
            body = answer.get("body")
            if not answer.get("error"):
                records = body.get("records") if isinstance(body, dict) else None
                return attempt, {item.get("recordId"): item for item in records or [] if isinstance(item, dict)}
            log.warning("Firehose %s: %s failed, attempt %d: %s", self.stream["name"], name, attempt, body)
        return attempts, None

    def place(self, record: Record, keys: dict[str, str], about: dict[str, Any]) -> None:
        """Add a processed record to its partition's buffer; `keys` are those the Lambda returned."""
        try:
            b64decode(record.data, validate=True)
            names = settings.PARTITION_KEY.findall(self.config.get("Prefix") or "")
            partition = tuple((f"!{{partitionKeyFromLambda:{name}}}", str(keys[name])) for name in names)
        except KeyError as key:
            self.refuse(record, "DynamicPartitioning.MissingKey", about, f"No value for the partition key {key}.")
        except ValueError:
            self.refuse(record, "Lambda.InvalidReturnFormat", about)
        else:
            self.keep(DATA, partition, record)

    def refuse(self, record: Record, code: str, about: dict[str, Any], message: str = "") -> None:
        """Buffer AWS's error document for a record that was not processed or not converted.

        https://docs.aws.amazon.com/firehose/latest/dev/data-transformation-failure-handling.html,
        https://docs.aws.amazon.com/firehose/latest/dev/record-format-conversion-error-handling.html
        """
        converting = code.startswith("DataFormatConversion")
        document = {
            "attemptsMade": 1,
            "arrivalTimestamp": record.arrival,
            "lastErrorCode" if converting else "errorCode": code,
            "lastErrorMessage" if converting else "errorMessage": message or FAILURES[code],
            "attemptEndingTimestamp": int(time.time() * 1000),
            "rawData": record.data,
        } | about
        line = b64encode(json.dumps(document).encode() + b"\n").decode()
        kind = "format-conversion-failed" if converting else "processing-failed"
        values = (("!{firehose:error-output-type}", kind),)
        self.keep(ERRORS, values, Record(line, record.arrival, record.sequence))

    def keep(self, outlet: str, values: Values, record: Record) -> None:
        """Buffer a record for an object."""
        self.outlets[outlet].setdefault(values, Buffer()).add(record)

    def flush(self, everything: bool) -> None:
        """Write the buffers that are due, or all. One whose write fails stays for the next attempt."""
        written = everything
        for outlet, buffers in self.outlets.items():  # errors last: what doesn't convert is added to them
            hints = settings.buffering(self.destination(outlet))
            for values, buffer in list(buffers.items()):
                if everything or buffer.due(hints):
                    self.deliver(outlet, dict(values), buffer)
                    del buffers[values]
                    written = True
        if written:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Note as delivered what comes before the oldest record that is still here."""
        held = [self.batch, *(buffer for buffers in self.outlets.values() for buffer in buffers.values())]
        before = f"{int(min(buffer.oldest for buffer in held)) - 1:030d}"
        self.stream["positions"] = {name: min(position, before) for name, position in self.positions.items()}

    def destination(self, outlet: str) -> dict[str, Any]:
        """Where an outlet's objects go: the backup of source records has a destination of its own."""
        return settings.backup(self.config) if outlet == SOURCES else self.config

    def deliver(self, outlet: str, values: dict[str, str], buffer: Buffer) -> None:
        """Write one object, data as Parquet when conversion is on; what doesn't convert goes to the errors."""
        config, suffix = self.destination(outlet), ""
        failed: Failed = []
        prefix = config.get("Prefix") or ""
        if outlet == ERRORS:
            prefix = config.get("ErrorOutputPrefix") or "".join([prefix, *values.values(), "/"])
        if outlet == DATA and settings.enabled(config, settings.CONVERSION):
            body, failed = to_parquet(config[settings.CONVERSION], buffer.records)
            suffix = ".parquet"
        else:
            body = b"".join(b64decode(record.data) for record in buffer.records)
        if body:
            self.write(config, prefix, values, buffer, body, suffix)
        for record, error in failed:
            self.refuse(record, error.code, {"sequenceNumber": record.sequence}, error.message)

    def write(
        self, config: dict[str, Any], prefix: str, values: dict[str, str], buffer: Buffer, body: bytes, suffix: str
    ) -> None:
        """Put one object in the bucket of `config`, named as Firehose does with `values` for the prefix's expressions.

        Raises RuntimeError when S3 refuses it.
        """
        if "!{" in prefix:  # MiniStack adds yyyy/MM/dd/HH/ without a timestamp in it, AWS without any expression
            prefix += "!{timestamp:}"
        for expression, value in values.items():
            prefix = prefix.replace(expression, value)
        first = time.gmtime(min(record.arrival for record in buffer.records) / 1000)
        when = firehose._java_time("yyyy-MM-dd-HH-mm-ss", first)
        name = f"{self.stream['name']}-{self.stream['version']}-{when}-{new_uuid()}"
        key = firehose._evaluate_prefix(prefix, first) + name + suffix
        bucket = firehose._s3_bucket_from_arn(config["BucketARN"])
        status, _, answer = s3._put_object(bucket, key, body, {"content-type": "application/octet-stream"})
        if status >= 300:
            raise RuntimeError(f"S3 refused s3://{bucket}/{key}: {answer.decode(errors='replace')}")


def checked(original: Callable[..., Destination]) -> Callable[..., Destination]:
    """The destination that a request or a template describes. Raises ValueError when it is refused."""

    def resolve(data: dict[str, Any]) -> Destination:
        kind, config = original(data)
        if kind in OURS and (refused := settings.problem(config)):
            raise ValueError(refused)
        return kind, config

    return resolve


def start(stream: dict[str, Any]) -> None:
    """Start a delivery stream's worker."""
    worker = workers[stream["arn"]] = Worker(stream)
    spawn_background(worker.run, thread_name=f"firehose-{stream['name']}")


def resume(original: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """After a restart, when functions can reach the server: start a worker for each delivery stream that was kept.

    At PAUSE, while functions still can, stop them all.
    """

    async def ready() -> None:
        asyncio.get_running_loop().add_signal_handler(PAUSE, stop)
        await app._wait_for_port(int(os.environ["GATEWAY_PORT"]))
        for (account, region, _), stream in firehose._streams.all_items():
            if stream["arn"] not in workers and stream["kinesis_source"] and stream["destinations"][0]["type"] in OURS:
                with request_scope(account, region):
                    start(stream)
        await original()

    return ready


def stop() -> None:
    """Stop every worker; PAUSE may come twice."""
    while workers:
        workers.popitem()[1].stop()


def create(original: Handler) -> Handler:
    """CreateDeliveryStream: start the stream's worker."""

    def call(data: dict[str, Any]) -> Answer:
        try:
            kind, _ = firehose._resolve_dest_type_and_config(data)
        except ValueError as refused:
            return firehose._invalid(str(refused))
        answer = original(data)
        if kind in OURS and answer[0] < 300 and data.get("DeliveryStreamType") == "KinesisStreamAsSource":
            start(firehose._streams[data["DeliveryStreamName"]])
        return answer

    return call


def update(original: Handler) -> Handler:
    """UpdateDestination: refuse a destination that would be refused at creation, as the change leaves it."""

    def call(data: dict[str, Any]) -> Answer:
        stream = firehose._streams.get(data["DeliveryStreamName"])
        kind, change = firehose._resolve_dest_update_config(data)
        after = stream["destinations"][0]["config"] | change if stream and kind in OURS else {}
        refused = settings.problem(after)
        return firehose._invalid(refused) if refused else original(data)

    return call


def delete(original: Handler) -> Handler:
    """DeleteDeliveryStream: end the stream's worker, which writes what it holds first."""

    def call(data: dict[str, Any]) -> Answer:
        stream = firehose._streams.get(data["DeliveryStreamName"])
        answer = original(data)
        if stream and answer[0] < 300 and (worker := workers.pop(stream["arn"], None)):
            worker.ended.set()
        return answer

    return call


def install() -> None:
    """Put the workers behind MiniStack's Firehose API."""
    swap(firehose, "ingest_from_kinesis_source", lambda _original: lambda *_: None)  # the workers read for themselves
    swap(firehose, "_resolve_dest_type_and_config", checked)  # of a request to create, and of templates
    swap(app, "_run_ready_scripts", resume)
    for name, action, make in (
        ("_create_delivery_stream", "CreateDeliveryStream", create),
        ("_update_destination", "UpdateDestination", update),
        ("_delete_delivery_stream", "DeleteDeliveryStream", delete),
    ):
        swap(firehose, name, make)  # which CloudFormation calls
        swap(firehose._HANDLERS, action, make)  # and the API
