"""From a stream to the lake: a function checks each record, Firehose writes the valid ones as Parquet by day."""

from collections.abc import Sequence

from aws_cdk import Duration, Size
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from components.alerts import Alerts
from components.base import Deployment
from components.delivery_role import DeliveryRole
from components.findings import explain
from components.function import Function
from components.log_group import LogGroup
from components.parquet_table import DayPartitionedTable
from components.permissions import allow, before, put_objects, use_key

# Under the raw bucket: each record as it came, by the hour of its arrival, and what Firehose could not deliver.
SOURCE_PREFIX, ERRORS_PREFIX = "source/", "errors/"
# What the transform is given at once, so that its answer stays below the 6 MB that a function may give: JSON in base64
# has up to eleven times the bytes of a short line of CSV.
TRANSFORM_MIB = 0.5
METRIC_NAMESPACE = "Millrace/Transform"
_BY_DAY = "/".join(f"{unit}=!{{partitionKeyFromLambda:{unit}}}" for unit in ("year", "month", "day"))
_BY_HOUR = "/".join(
    f"{unit}=!{{timestamp:{letters}}}"
    for unit, letters in (("year", "yyyy"), ("month", "MM"), ("day", "dd"), ("hour", "HH"))
)


class Delivery(Construct):
    """Records of one contract: stream -> transform -> Parquet by the event's day, and the table over it.

    `contract` is one of contracts/events.py, `columns` those of its events without the partition keys. Under
    `prefix` are the valid events in `raw` and the refused records in `quarantine`; in `raw`, errors/<prefix> has what
    could not be delivered and source/<prefix> every record as it came. `alerts` tells people of records that wait for
    longer than `late`, and of what sends them to errors/. `table` and `name` are for others.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        *,
        key: kms.IKey,
        stream: kinesis.IStream,
        raw: s3.IBucket,
        quarantine: s3.IBucket,
        database: glue.IDatabase,
        contract: str,
        prefix: str,
        columns: Sequence[tuple[str, str]],
        buffer_size: Size,
        buffer_interval: Duration,
        alerts: Alerts,
        late: Duration,
    ) -> None:
        super().__init__(scope, construct_id)
        self.table = DayPartitionedTable(
            self,
            "Raw",
            database=database,
            bucket=raw,
            prefix=prefix,
            table_name=f"{contract}_raw",
            columns=columns,
            description=f"Events of {contract} as they arrived, valid and possibly repeated",
        )
        transform = self._transform(deployment, key, quarantine, contract, prefix)
        errors = LogGroup(self, "Errors", deployment, key=key)
        written = (prefix, f"{SOURCE_PREFIX}{prefix}", f"{ERRORS_PREFIX}{prefix}")
        role = DeliveryRole(self, "Role", key=key, stream=stream, bucket=raw, prefixes=written, errors=errors)
        allow(role, ["lambda:InvokeFunction", "lambda:GetFunctionConfiguration"], transform.function_arn)
        role.convert_by(self.table)
        fixed = role.without_policy_updates()
        both = {  # of what is delivered and of the backup
            "encryption_key": key,
            "error_output_prefix": f"{ERRORS_PREFIX}{prefix}!{{firehose:error-output-type}}/",
            "buffering_size": buffer_size,
            "buffering_interval": buffer_interval,
            "logging_config": firehose.EnableLogging(errors),
        }
        delivery = firehose.DeliveryStream(
            self,
            "Stream",
            source=firehose.KinesisStreamSource(stream),
            role=fixed,
            destination=firehose.S3Bucket(
                raw,
                role=fixed,
                data_output_prefix=f"{prefix}{_BY_DAY}/",
                dynamic_partitioning=firehose.DynamicPartitioningProps(enabled=True),
                processors=[
                    firehose.LambdaFunctionProcessor(
                        transform,
                        buffer_size=Size.mebibytes(TRANSFORM_MIB),
                        buffer_interval=Duration.seconds(60),
                        retries=3,
                    )
                ],
                data_format_conversion=firehose.DataFormatConversionProps(
                    schema_configuration=firehose.SchemaConfiguration.from_cfn_table(self.table.node.default_child),
                    input_format=firehose.InputFormat.OPENX_JSON,
                    output_format=firehose.OutputFormat.PARQUET,  # with Snappy, its default
                ),
                s3_backup=firehose.DestinationS3BackupProps(
                    bucket=raw,
                    mode=firehose.BackupMode.ALL,
                    data_output_prefix=f"{SOURCE_PREFIX}{prefix}{_BY_HOUR}/",
                    **both,
                ),
                **both,
            ),
        )
        before(role, delivery)
        explain(
            delivery, "KDF1", "the records are encrypted in the stream it reads; Firehose takes no key of its own then"
        )
        self.name = delivery.delivery_stream_name
        self._watch(alerts, late, delivery, transform)

    def _watch(self, alerts: Alerts, late: Duration, delivery: firehose.DeliveryStream, transform: Function) -> None:
        """https://docs.aws.amazon.com/firehose/latest/dev/monitoring-with-cloudwatch-metrics.html"""

        def metric(name: str, statistic: str) -> cloudwatch.Metric:
            return delivery.metric(name, statistic=statistic, period=Duration.minutes(5))

        alerts.alarm(
            f"{self.node.id}Late",
            metric("DeliveryToS3.DataFreshness", "Maximum"),
            "Records wait for the lake: the delivery stream's log says why they can't be written",
            threshold=late.to_seconds(),
        )
        alerts.alarm(
            f"{self.node.id}TransformFails",
            transform.metric_errors(period=Duration.minutes(5)),
            "Batches fail whole: Firehose tries again, then keeps the records under errors/, to be redriven",
        )
        alerts.alarm(
            f"{self.node.id}TransformThrottled",  # which is no error of Lambda's
            transform.metric_throttles(period=Duration.minutes(5)),
            "The account's functions are at their limit: Firehose tries again, then keeps the records under errors/",
        )
        alerts.alarm(
            f"{self.node.id}QuarantineFails",
            cloudwatch.Metric(
                namespace=METRIC_NAMESPACE,
                metric_name="quarantine_failed",
                dimensions_map={"FunctionName": transform.function_name},
                statistic="Sum",
                period=Duration.minutes(5),
            ),
            "Refused records could not be put into quarantine: they are under errors/, to be redriven",
        )
        alerts.alarm(
            f"{self.node.id}ConversionFails",
            metric("FailedConversion.Records", "Sum"),
            "Valid events don't fit the table's schema: they are under errors/, to be redriven",
        )

    def _transform(
        self, deployment: Deployment, key: kms.IKey, quarantine: s3.IBucket, contract: str, prefix: str
    ) -> Function:
        transform = Function(
            self,
            "Transform",
            deployment,
            folder="records_transform",
            shared=["contracts"],
            key=key,
            failures_reach="Firehose, which tries again and then keeps the records under the error prefix",
            description=f"Checks records of {contract}: valid ones go on, the others to quarantine with the reason",
            timeout=Duration.minutes(3),
            memory_mb=512,
            environment={
                "CONTRACT": contract,
                "QUARANTINE_BUCKET": quarantine.bucket_name,
                "QUARANTINE_PREFIX": prefix,
                "METRIC_NAMESPACE": METRIC_NAMESPACE,
            },
        )
        put_objects(transform.permissions, quarantine, prefix)
        use_key(transform.permissions, key)
        return transform
