"""Kinesis to Lambda. MiniStack 1.5.33 ignores partial answers, halving, retries, record age and failure destinations.

Every shard of a mapping's stream has a reader that gives its records to the function in order, as AWS documents it:
https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html and
https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html. Where they leave open how a batch
goes on that answers with its own first record again and again, it is halved like one that raised an error.
Ours: waits between tries are short, a shard's parallel batches come one after the other, and a destination that can't
be written is tried again. Not here: what SUPPORTED doesn't name, which is refused; metrics; an invocation's 6 MB; new
shards that wait for those they come from.
"""

import json
import time
from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ministack.core.concurrency import spawn_background
from ministack.core.responses import get_region, new_uuid, request_scope
from ministack.services import kinesis, lambda_svc
from ministack.services.cloudformation import provisioners

from local.hooks import client, swap, wrap

POLL_SECONDS = 0.2
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 10.0
S3_NAME = "%Y/%m/%d/%Y-%m-%dT%H.%M.%S"
SUPPORTED = {
    "BatchSize", "BisectBatchOnFunctionError", "DestinationConfig", "Enabled", "EventSourceArn", "FunctionName",
    "FunctionResponseTypes", "MaximumBatchingWindowInSeconds", "MaximumRecordAgeInSeconds", "MaximumRetryAttempts",
    "MetricsConfig", "ParallelizationFactor", "StartingPosition", "Tags", "LATEST", "TRIM_HORIZON", "s3", "sqs",
}  # fmt: skip
Properties = dict[str, Any]
Records = list[Properties]
readers: dict[tuple[str, str], "Reader"] = {}  # by mapping, and the number that its shard starts with


class Reader:
    """Reads one shard for one mapping; `positions` has the sequence number of the last record that is done with."""

    def __init__(self, mapping: Properties, shard_id: str, shard: Properties, positions: dict[str, str]) -> None:
        self.mapping, self.shard_id, self.shard, self.positions = mapping, shard_id, shard, positions
        self.opened = 0.0  # since when records wait for the window to end

    def run(self) -> None:
        """Until the mapping is deleted."""
        while self.mapped():
            try:
                if (batch := self.gather()) and self.function():
                    self.deliver(batch)
                    continue
            except Exception:
                lambda_svc.logger.exception("%s of %s: will be tried again", self.shard_id, self.mapping["UUID"])
                time.sleep(LONGEST_WAIT_SECONDS)
            time.sleep(POLL_SECONDS)

    def mapped(self) -> bool:
        """Whether the mapping is there."""
        return lambda_svc._esms.get(self.mapping["UUID"]) is self.mapping

    def function(self) -> Properties | None:
        """The function to invoke; none while it is not there or the mapping not enabled."""
        name, wanted = self.mapping["FunctionName"], self.mapping["Enabled"] and self.mapped()
        return lambda_svc._get_func_record_for_qualifier(name, self.mapping.get("Qualifier"))[0] if wanted else None

    def gather(self) -> Records:
        """The next batch; empty while there is none or it may still grow."""
        position = self.positions[self.shard["starting_sequence_number"]]
        start = bisect_right(self.shard["records"], position, key=lambda record: record["SequenceNumber"])
        found: Records = self.shard["records"][start : start + self.mapping["BatchSize"]]
        self.opened = (self.opened or time.monotonic()) if found else 0.0
        waited = time.monotonic() - self.opened >= self.mapping["MaximumBatchingWindowInSeconds"]
        return found if waited or len(found) == self.mapping["BatchSize"] else []

    def deliver(self, batch: Records) -> None:
        """Give a batch to the function, whole or in parts, until each record is done or given up."""
        parts, answer = [(batch, 0)], Properties()
        while parts and (function := self.function()):
            records, retries = parts.pop(0)
            if old := self.expired(records):
                self.give_up(function, records[:old], "RecordAgeExceeded", retries, answer)
            if not (records := records[old:]):
                continue
            answer = lambda_svc._execute_function(function, self.event(function, records))
            throttled = bool(answer.get("throttle"))  # which costs no try
            if done := self.done(records, answer):
                self.go_on_after(records[done - 1])
            if not (rest := records[done:]):
                continue
            half, limit = len(rest) // 2, self.mapping.get("MaximumRetryAttempts", -1)
            if self.mapping.get("BisectBatchOnFunctionError") and (done or half) and not throttled:
                parts[:0] = [(rest, 0)] if done else [(rest[:half], retries), (rest[half:], retries)]
            elif 0 <= limit <= retries and not throttled:
                self.give_up(function, rest, "RetryAttemptsExhausted", retries + 1, answer)
            else:
                time.sleep(min(FIRST_WAIT_SECONDS * 2**retries, LONGEST_WAIT_SECONDS))
                parts.insert(0, (rest, retries + (not throttled)))

    def expired(self, records: Records) -> int:
        """How many records, from the first, are too old to be tried once more."""
        limit = self.mapping.get("MaximumRecordAgeInSeconds", -1)
        return sum(0 <= limit < time.time() - record["ApproximateArrivalTimestamp"] for record in records)

    def event(self, function: Properties, records: Records) -> Properties:
        """What the function is given."""
        about = {"eventSource": "aws:kinesis", "eventVersion": "1.0", "eventName": "aws:kinesis:record"}
        about |= {"invokeIdentityArn": function["config"]["Role"], "awsRegion": get_region()}
        about |= {"eventSourceARN": self.mapping["EventSourceArn"]}
        given = [{name[0].lower() + name[1:]: value for name, value in record.items()} for record in records]
        ids = (f"{self.shard_id}:{record['sequenceNumber']}" for record in given)
        kinesis = ({"kinesisSchemaVersion": "1.0"} | record for record in given)
        return {"Records": [{"kinesis": own, "eventID": name} | about for own, name in zip(kinesis, ids, strict=True)]}

    def done(self, records: Records, answer: Properties) -> int:
        """How many records, from the first, are done by the function's answer."""
        body = answer.get("body") if "ReportBatchItemFailures" in self.mapping["FunctionResponseTypes"] else None
        if answer.get("error"):
            return 0
        failures = (body.get("batchItemFailures") or []) if isinstance(body, dict) else [body] if body else []
        named = [item.get("itemIdentifier") if isinstance(item, dict) else None for item in failures]
        numbers = [record["SequenceNumber"] for record in records]
        return min([numbers.index(name) if name in numbers else 0 for name in named], default=len(records))

    def give_up(self, function: Properties, records: Records, condition: str, tries: int, answer: Properties) -> None:
        """Send records to the mapping's destination, if it has one, and go on after them."""
        first, last, config = records[0], records[-1], function["config"]
        response = {"statusCode": 200, "executedVersion": config["Version"]}
        times = [_iso(record["ApproximateArrivalTimestamp"]) for record in (first, last)]
        document = {
            "requestContext": {
                "requestId": new_uuid(), "functionArn": config["FunctionArn"], "condition": condition,
                "approximateInvokeCount": tries,
            },
            "responseContext": response | ({"functionError": "Unhandled"} if answer.get("error") else {}),
            "version": "1.0", "timestamp": _iso(time.time()),
            "KinesisBatchInfo": {
                "shardId": self.shard_id, "batchSize": len(records), "streamArn": self.mapping["EventSourceArn"],
                "startSequenceNumber": first["SequenceNumber"], "endSequenceNumber": last["SequenceNumber"],
                "approximateArrivalOfFirstRecord": times[0], "approximateArrivalOfLastRecord": times[1],
            },
        }  # fmt: skip
        service, name = _destination(self.mapping)
        if service == "s3":
            document["payload"] = json.dumps(self.event(function, records))
            key = f"aws/lambda/{self.mapping['UUID']}/{self.shard_id}/{datetime.now(UTC):{S3_NAME}}-{new_uuid()}"
            client("s3").put_object(Bucket=name, Key=key, Body=json.dumps(document).encode())
        elif service == "sqs":
            url = client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
            client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(document))
        self.go_on_after(last)

    def go_on_after(self, record: Properties) -> None:
        """Never give this record again."""
        self.positions[self.shard["starting_sequence_number"]] = record["SequenceNumber"]
        self.opened = 0.0


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _destination(mapping: Properties) -> tuple[str, str]:
    """Service and name of where failures go; empty when nowhere."""
    arn = ((mapping.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination") or "::::::"
    return arn.split(":")[2], arn.rpartition(":")[2]


def problem(properties: Properties, source: str) -> str:
    """Why a mapping from `source` is refused: what it asks for isn't supported here. Empty when all of it is."""
    asked = {name for name, value in properties.items() if value is not None}
    asked |= {_destination(properties)[0], properties.get("StartingPosition") or "", *source.split("/")[2:3]} - {""}
    return f"{', '.join(sorted(asked - SUPPORTED))}: not in the local cloud" if asked - SUPPORTED else ""


def watch() -> bool:
    """Start the readers that are missing. MiniStack's poller asks whether there was work: they do it themselves."""
    with lambda_svc._poller_lock:
        for account, region, mapping in lambda_svc._iter_all_esms():
            with request_scope(account, region):
                start(mapping)
    return False


def start(mapping: Properties) -> None:
    """A reader for each shard of the mapping's stream. LATEST counts for those that its first readers find."""
    stream = kinesis._resolve_stream_by_arn(mapping["EventSourceArn"]) or {"shards": {}}
    positions = lambda_svc._kinesis_positions.setdefault(mapping["UUID"], {})  # kept as the mapping is
    latest = mapping.get("StartingPosition") == "LATEST" and not positions
    for shard_id, shard in list(stream["shards"].items()):
        if (key := (mapping["UUID"], shard["starting_sequence_number"])) not in readers:
            positions.setdefault(key[1], shard["records"][-1]["SequenceNumber"] if latest and shard["records"] else "")
            readers[key] = Reader(mapping, shard_id, shard, positions)
            spawn_background(readers[key].run, thread_name=f"kinesis-lambda-{shard_id}")


def check(place: int, refuse: Callable[[str], Any], original: Callable[..., Any], *given: Any) -> Any:
    """A create or update whose argument at `place` is what a mapping asks for; LATEST counts from its end on."""
    source = (lambda_svc._esms.get(str(given[0])) or given[place]).get("EventSourceArn", "")
    if ":kinesis:" in source and (refused := problem(given[place], source)):
        return refuse(refused)
    answer = original(*given)
    watch()
    return answer


def fail(message: str) -> None:
    """As a template's resource does."""
    raise ValueError(message)


def install() -> None:
    """Put the readers in the place of MiniStack's poller, and check what mappings ask for."""
    of_template = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]
    invalid = lambda_svc._invalid_parameter_value
    swap(lambda_svc, "_poll_kinesis", lambda _original: watch)
    wrap(lambda_svc, "_create_esm", partial(check, 0, invalid))
    wrap(lambda_svc, "_update_esm", partial(check, 1, invalid))
    wrap(of_template, "create", partial(check, 1, fail))
    wrap(of_template, "update", partial(check, 2, fail))
