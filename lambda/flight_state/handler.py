"""Keeps the state of every flight in a table: reads the flights stream in batches and writes what is newest."""

import functools
import os
from typing import Any, NamedTuple

import logic
import store
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts.reader import Rejected

logger = Logger()
metrics = Metrics()
tracer = Tracer(patch_modules=["botocore"])


@functools.cache
def _table() -> store.FlightTable:
    return store.FlightTable(os.environ["TABLE_NAME"])


class Told(NamedTuple):
    """A record, and the state that it tells of."""

    record: KinesisStreamRecord
    state: logic.State


class FlightBatch(BatchProcessor):
    """Powertools' batch of Kinesis records, of which each is read alone and all are written together."""

    def __init__(self) -> None:
        super().__init__(event_type=EventType.KinesisDataStreams, logger=logger)

    def process(self) -> list[tuple[Any, ...]]:
        """Read each record, then write; a record whose state is not written has failed."""
        outcomes = super().process()
        readable = [(raw, told) for outcome, told, raw in outcomes if outcome == "success"]
        done = write([told.state for _, told in readable if told])
        for raw, told in readable:
            if told and (error := done.unwritten.get(told.state.event_id)):
                self.success_messages.remove(raw)
                self.failure_handler(told.record, (type(error), error, None))
        for name, count in (
            ("Written", done.written),
            ("Stale", done.stale),
            ("Rejected", sum(told is None for _, told in readable)),
            ("Failed", len(self.fail_messages)),
        ):
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=count)
        return outcomes


def read(record: KinesisStreamRecord) -> Told | None:
    """What a record tells; nothing when it is no flight event: the transform puts it into quarantine."""
    kinesis = record.kinesis
    flight = logic.read(kinesis.data_as_bytes())
    if isinstance(flight, Rejected):
        reason = f"{flight.reason}: {flight.detail}"
        logger.debug("no flight event", extra={"sequence_number": kinesis.sequence_number, "reason": reason})
        return None
    arrived, keep_days = kinesis.approximate_arrival_timestamp, int(os.environ["KEEP_DAYS"])
    return Told(record, logic.state(flight, kinesis.sequence_number, arrived, keep_days))


@tracer.capture_method(capture_response=False)
def write(states: list[logic.State]) -> store.Written:
    """Write the newest state of each flight."""
    return _table().put(logic.newest(states))


@logger.inject_lambda_context
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Answer which records of a batch failed: Lambda begins again at the first of them.

    Raises BatchProcessingError when all of them did.
    """
    return process_partial_response(event=event, record_handler=read, processor=FlightBatch(), context=context)
