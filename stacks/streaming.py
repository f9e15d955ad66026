"""Streaming: flight events arrive on a stream and land in the lake, valid ones as Parquet, the others in quarantine.

Provisions  a Kinesis stream; a Firehose delivery stream that reads it, transforms records with a Lambda function and
            writes Parquet by the flight's day; the raw table that gives it its schema.
Inputs      a KMS key, the raw and quarantine buckets, the catalogue database.
Outputs     `stream`, `table`.
Costs       a provisioned shard $0.36 a day; Firehose $0.029 a GB and $0.018 a GB for Parquet; Lambda by use.
Copy        this file, components/{base,findings,function,log_group,parquet_table,permissions,role,stream}.py, schemas,
            lambda/records_transform and build/vendored/records_transform.
"""

from typing import Literal

from aws_cdk import CfnOutput, Duration, Size
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct
from pydantic import Field

from components.base import Deployment, Layer, Options
from components.findings import explain
from components.function import Function
from components.log_group import LogGroup
from components.parquet_table import DayPartitionedTable
from components.permissions import allow, before, put_objects, read_objects, use_key, write_objects
from components.role import ServiceRole
from components.stream import DataStream
from schemas import flights

PREFIX = "flights/"


class StreamingOptions(Options):
    mode: Literal["provisioned", "on-demand"] = Field("provisioned", description="how the stream's capacity is billed")
    shards: int = Field(1, ge=1, le=200, description="shards of a provisioned stream: 1 MB/s or 1,000 records/s each")
    retention_hours: int = Field(24, ge=24, le=8760, description="hours that the stream can be replayed")
    buffer_mib: int = Field(64, ge=64, le=128, description="MiB Firehose gathers; Parquet needs 64 or more")
    buffer_seconds: int = Field(60, ge=60, le=900, description="seconds Firehose waits at most")


class Streaming(Layer):
    """Stream -> transform -> raw zone, with everything refused in quarantine."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: StreamingOptions,
        *,
        key: kms.IKey,
        raw: s3.IBucket,
        quarantine: s3.IBucket,
        database: glue.IDatabase,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: flight events from stream to lake")
        self.stream = DataStream(
            self,
            "Flights",
            deployment,
            key=key,
            mode=options.mode,
            shards=options.shards,
            retention=Duration.hours(options.retention_hours),
        )
        transform = Function(
            self,
            "Transform",
            deployment,
            folder="records_transform",
            key=key,
            failures_reach="Firehose, which tries again and then keeps the records under the error prefix",
            description="Checks flight events: valid ones go on, the others to quarantine with the reason",
            timeout=Duration.minutes(3),
            memory_mb=512,
            environment={
                "CONTRACT": "flights",
                "QUARANTINE_BUCKET": quarantine.bucket_name,
                "QUARANTINE_PREFIX": PREFIX,
            },
        )
        put_objects(transform.permissions, quarantine, PREFIX)
        use_key(transform.permissions, key)
        self.table = DayPartitionedTable(
            self,
            "RawFlights",
            database=database,
            bucket=raw,
            prefix=PREFIX,
            table_name="flights_raw",
            columns=flights.RAW_COLUMNS,
            description="Flight events as they arrived, valid and possibly repeated",
        )
        delivery = self._delivery(options, key, raw, transform)
        CfnOutput(self, "StreamName", value=self.stream.stream_name)
        CfnOutput(self, "DeliveryStreamName", value=delivery.delivery_stream_name)
        CfnOutput(self, "RawTableName", value=self.table.table_name)

    def _delivery(
        self, options: StreamingOptions, key: kms.IKey, raw: s3.IBucket, transform: Function
    ) -> firehose.DeliveryStream:
        by_day = "/".join(f"{unit}=!{{partitionKeyFromLambda:{unit}}}" for unit in ("year", "month", "day"))
        role = ServiceRole(self, "DeliveryRole", "firehose")
        errors = LogGroup(self, "DeliveryErrors", self.deployment, key=key)
        read_objects(role, raw, PREFIX, f"errors/{PREFIX}")
        write_objects(role, raw, PREFIX, f"errors/{PREFIX}")
        use_key(role, key)
        allow(role, ["s3:GetBucketLocation", "s3:ListBucketMultipartUploads"], raw.bucket_arn)
        allow(
            role,
            [
                "kinesis:DescribeStream",
                "kinesis:GetShardIterator",
                "kinesis:GetRecords",
                "kinesis:ListShards",
            ],
            self.stream.stream_arn,
        )
        allow(role, ["lambda:InvokeFunction", "lambda:GetFunctionConfiguration"], transform.function_arn)
        allow(
            role,
            ["glue:GetTable", "glue:GetTableVersion", "glue:GetTableVersions"],
            self.table.table_arn,
            self.table.database.database_arn,
            self.format_arn(service="glue", resource="catalog"),
        )
        allow(role, ["logs:PutLogEvents"], errors.log_group_arn)
        fixed = role.without_policy_updates()
        delivery = firehose.DeliveryStream(
            self,
            "Delivery",
            source=firehose.KinesisStreamSource(self.stream),
            role=fixed,
            destination=firehose.S3Bucket(
                raw,
                role=fixed,
                encryption_key=key,
                data_output_prefix=f"{PREFIX}{by_day}/",
                error_output_prefix=f"errors/{PREFIX}!{{firehose:error-output-type}}/",
                buffering_size=Size.mebibytes(options.buffer_mib),
                buffering_interval=Duration.seconds(options.buffer_seconds),
                dynamic_partitioning=firehose.DynamicPartitioningProps(enabled=True),
                processors=[
                    firehose.LambdaFunctionProcessor(
                        transform,
                        buffer_size=Size.mebibytes(1),
                        buffer_interval=Duration.seconds(60),
                        retries=3,
                    )
                ],
                data_format_conversion=firehose.DataFormatConversionProps(
                    schema_configuration=firehose.SchemaConfiguration.from_cfn_table(self.table.node.default_child),
                    input_format=firehose.InputFormat.OPENX_JSON,
                    output_format=firehose.OutputFormat.PARQUET,
                ),
                logging_config=firehose.EnableLogging(errors),
            ),
        )
        before(role, delivery)
        explain(
            delivery,
            "KDF1",
            "the records are encrypted in the stream it reads; Firehose takes no key of its own then",
        )
        return delivery
