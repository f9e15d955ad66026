"""Which minutes people have been told of: a batch that is given again, or halved, tells them nothing twice."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyItemAlreadyExistsError
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from logic import Metrics

_CONFIG = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 3})
# Longer than the handler's notice can take, so that no two tell of a minute at once; what a crash leaves ends then.
CLAIM_SECONDS = 20.0
_ASKED_AGAIN_SECONDS = 0.5

log = logging.getLogger(__name__)


class Told:
    """A table of airports' minutes as Powertools' idempotency keeps what was done, each for `days`; its key is `id`.

    The utility's decorator is for one key and what is done for it; here what is done for several is one notice.
    """

    def __init__(self, table: str, days: int) -> None:
        self._minutes = DynamoDBPersistenceLayer(table, expiry_attr="expires_at", boto_config=_CONFIG)
        config = IdempotencyConfig(
            event_key_jmespath="[airport, window_start]", expires_after_seconds=days * 86_400, hash_function="sha256"
        )
        self._minutes.configure(config, key_prefix="told")

    @contextmanager
    def untold(self, minutes: Iterable[Metrics]) -> Iterator[list[Metrics]]:
        """Those of different minutes that nobody was told of. They are told when the block ends, not when it fails.

        Errors of DynamoDB before the block are passed on. After it people know, so they are logged: to do the batch
        again would tell them twice.
        """
        claimed: list[Metrics] = []
        try:
            for minute in minutes:
                if self._claim(minute):
                    claimed.append(minute)
            yield claimed
        except Exception as error:
            for minute in claimed:
                self._minutes.delete_record(minute, error)
            raise
        for minute in claimed:
            try:
                self._minutes.save_success(minute, {})
            except (ClientError, BotoCoreError):
                log.exception("people know of %s %s, the table does not", minute["airport"], minute["window_start"])

    def _claim(self, minute: Metrics) -> bool:
        """Whether it is ours to tell of a minute. What another call has begun is waited for: it ends, or expires."""
        while True:
            try:
                self._minutes.save_inprogress(minute, int(CLAIM_SECONDS * 1000))
                return True
            except IdempotencyItemAlreadyExistsError as error:
                if error.old_data_record and error.old_data_record.status == "COMPLETED":
                    return False
            time.sleep(_ASKED_AGAIN_SECONDS)
