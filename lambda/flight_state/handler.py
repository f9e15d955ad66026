"""Keeps the state of every flight in a table: reads the flights stream in batches and writes what is newest."""

import functools
import os
from typing import Any

import logic
import store
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger()
metrics = Metrics()
tracer = Tracer(patch_modules=["botocore"])


@functools.cache
def _table() -> store.FlightTable:
    return store.FlightTable(os.environ["TABLE_NAME"])


class FlightBatch(BatchProcessor):
    """Powertools' batch of Kinesis records, of which each is read alone and all are written together."""

    def __init__(self) -> None:
        super().__init__(event_type=EventType.KinesisDataStreams, logger=logger)

    def process(self) -> list[tuple[Any, ...]]:
        """Read each record, then write; a record whose state is not written has failed."""
        outcomes = super().process()
        rejected = [record for outcome, state, record in outcomes if outcome == "success" and state is None]
        states = [(record, state) for outcome, state, record in outcomes if outcome == "success" and state]
        done = write([state for _, state in states])
        for record, state in states:
            if error := done.unwritten.get(state.event_id):
                self.success_messages.remove(record)
                self.failure_handler(record, (type(error), error, None))
        for name, count in (
            ("Written", done.written),
            ("Stale", done.stale),
            ("Rejected", len(rejected)),
            ("Failed", len(self.fail_messages)),
        ):
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=count)
        return outcomes


def read(record: KinesisStreamRecord) -> logic.State | None:
    """The state that a record tells of; None for one that is no flight event: quarantine has it from the transform."""
    kinesis = record.kinesis
    try:
        flight = logic.read(kinesis.data_as_bytes())
    except logic.NotAFlightError as error:
        logger.debug("no flight event", extra={"sequence_number": kinesis.sequence_number, "reason": str(error)})
        return None
    arrived = kinesis.approximate_arrival_timestamp
    return logic.state(flight, kinesis.sequence_number, arrived, int(os.environ["KEEP_DAYS"]))


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
