"""Writes states of flights to the table; one that is there already and newer stays."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from logic import State

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
MOST_WRITES = 100
# A write that stalls takes 15 seconds and the waits between; Lambda tries the batch again after that.
_CONFIG = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 3})
# Equal versions are the same record: writing one again changes nothing, and spares a batch that is retried a refusal.
_NOT_OLDER = "attribute_not_exists(event_id) OR version <= :version"

log = logging.getLogger(__name__)


@dataclass
class Written:
    """What became of states: how many were `written`, how many `stale`, and by event_id why others are `unwritten`."""

    written: int
    stale: int
    unwritten: dict[str, Exception]


class FlightTable:
    """A table with the key `event_id`."""

    def __init__(self, name: str, client: Any = None) -> None:
        self._name = name
        self._client = client or boto3.client("dynamodb", config=_CONFIG)

    def put(self, states: Sequence[State]) -> Written:
        """Write states of different flights, each unless a newer one is there.

        After the first call that fails no other is made: Lambda gives everything from there on again.
        """
        done = Written(0, 0, {})
        for start in range(0, len(states), MOST_WRITES):
            chunk = states[start : start + MOST_WRITES]
            try:
                stale = self._put_newer(chunk)
            except (ClientError, BotoCoreError) as error:
                done.unwritten = {state.event_id: error for state in states[start:]}
                log.error("%d of %d states not written: %s", len(done.unwritten), len(states), error)
                break
            done.written += len(chunk) - stale
            done.stale += stale
        return done

    def _put_newer(self, chunk: Sequence[State]) -> int:
        """Write all of a chunk but those that are older than what is there; return how many those are."""
        older: set[str] = set()
        while wanted := [state for state in chunk if state.event_id not in older]:
            try:
                self._client.transact_write_items(TransactItems=[{"Put": self._write(state)} for state in wanted])
                break
            except self._client.exceptions.TransactionCanceledException as error:
                found = {*_refused(error, wanted)}
                if not found:  # throttled, or another transaction is at work on one of them
                    raise
                older |= found
        return len(older)

    def _write(self, state: State) -> dict[str, Any]:
        version = {"S": state.version}
        values = {name: _typed(value) for name, value in state.attributes.items()}
        return {
            "TableName": self._name,
            "Item": {"event_id": {"S": state.event_id}, "version": version, **values},
            "ConditionExpression": _NOT_OLDER,
            "ExpressionAttributeValues": {":version": version},
        }


def _typed(value: str | float) -> dict[str, str]:
    return {"S": value} if isinstance(value, str) else {"N": f"{value:.15g}"}


def _refused(error: ClientError, wanted: Sequence[State]) -> Iterator[str]:
    """The flights that made a transaction fail because what is there is newer."""
    for state, reason in zip(wanted, error.response["CancellationReasons"], strict=True):
        if reason["Code"] == "ConditionalCheckFailed":
            yield state.event_id
