"""A function that reads a Kinesis stream, in the order of each shard, and what becomes of the records it can't take."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_s3 as s3
from constructs import Construct

from components.dead_letters import DeadLetters
from components.function import Function
from components.permissions import allow, before, put_objects, read_stream, use_key

# https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
DEAD_LETTERS_PREFIX = "aws/lambda/"


class StreamConsumer(lambda_.EventSourceMapping):
    """Invokes `function` with batches of `stream`; the function answers which records it failed on.

    From the first of those on the rest is tried again; it is halved when that gets no further, so that one record alone
    is left. Only the same records once more count as a try. After `retry_attempts`, or once it is older than `max_age`,
    it goes to `failures` and the shard goes on. A queue gets where in the stream the records are, and has to be read
    before the stream forgets them; a bucket gets the records too, under `DEAD_LETTERS_PREFIX`. One document may tell of
    several such records. The stream and `failures` are encrypted with `key`.
    https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        function: Function,
        *,
        stream: kinesis.IStream,
        key: kms.IKey,
        failures: DeadLetters | s3.IBucket,
        batch_size: int,
        window: Duration,
        retry_attempts: int,
        max_age: Duration,
        start: lambda_.StartingPosition = lambda_.StartingPosition.LATEST,
        parallel_batches: int = 1,
    ) -> None:
        role = function.permissions
        # https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html
        read_stream(role, stream, "kinesis:DescribeStreamSummary")
        use_key(role, key)
        destination: lambda_.IEventSourceDlq
        if isinstance(failures, DeadLetters):
            allow(role, ["sqs:SendMessage"], failures.queue_arn)
            destination = sources.SqsDlq(failures)
        else:
            put_objects(role, failures, DEAD_LETTERS_PREFIX)  # <mapping>/<shard>/yyyy/mm/dd/<time>-<uuid>
            allow(role, ["s3:ListBucket"], failures.bucket_arn)
            destination = sources.S3OnFailureDestination(failures)
        super().__init__(
            scope,
            construct_id,
            target=function,
            event_source_arn=stream.stream_arn,
            starting_position=start,
            batch_size=batch_size,
            max_batching_window=window,
            parallelization_factor=parallel_batches,
            bisect_batch_on_error=True,
            report_batch_item_failures=True,
            retry_attempts=retry_attempts,
            max_record_age=max_age,
            on_failure=destination,
            metrics_config=lambda_.MetricsConfig(metrics=[lambda_.MetricType.EVENT_COUNT]),
            support_s3_on_failure_destination=not isinstance(failures, DeadLetters),
        )
        before(role, self)

    def metric_dead_letters(self) -> cloudwatch.Metric:
        """How many records went to `failures`.

        https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html#event-source-mapping-metrics
        """
        return cloudwatch.Metric(
            namespace="AWS/Lambda",
            metric_name="OnFailureDestinationDeliveredEventCount",
            dimensions_map={"EventSourceMappingUUID": self.event_source_mapping_id},
            statistic="Sum",
            period=Duration.minutes(5),
        )
