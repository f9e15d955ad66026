"""An encrypted Kinesis stream, billed by the shard or by use, and how many shards a load needs."""

import math
from typing import Literal

from aws_cdk import Duration
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from constructs import Construct

from components.base import Deployment
from components.findings import explain

# What a shard takes and gives: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
MB_IN, RECORDS_IN, MB_OUT = 1, 1_000, 2


def shards_needed(mb_in: float, records_in: float, mb_out: float) -> int:
    """Shards for a load a second: megabytes and records written, and megabytes that all consumers read together.

    https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html
    """
    return max(1, math.ceil(mb_in / MB_IN), math.ceil(records_in / RECORDS_IN), math.ceil(mb_out / MB_OUT))


class DataStream(kinesis.Stream):
    """A stream encrypted with `key`; `shards` is how many a provisioned one has."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        *,
        key: kms.IKey,
        mode: Literal["provisioned", "on-demand"],
        shards: int,
        retention: Duration | None = None,
    ) -> None:
        provisioned = mode == "provisioned"
        super().__init__(
            scope,
            construct_id,
            stream_mode=kinesis.StreamMode.PROVISIONED if provisioned else kinesis.StreamMode.ON_DEMAND,
            shard_count=shards if provisioned else None,
            retention_period=retention,
            encryption=kinesis.StreamEncryption.KMS,
            encryption_key=key,
            removal_policy=deployment.removal_policy,
        )
        explain(self, "KDS3", "the platform's own key, whose policy says who may read; AWS's would not")
