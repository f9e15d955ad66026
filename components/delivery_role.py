"""The role that Firehose delivers a stream with."""

from aws_cdk import Stack
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from components.log_group import LogGroup
from components.permissions import allow, read_objects, read_stream, use_key, write_objects
from components.role import ServiceRole


class DeliveryRole(ServiceRole):
    """Reads `stream`, writes under `prefixes` of `bucket`, both encrypted with `key`, and logs to `errors`.

    https://docs.aws.amazon.com/firehose/latest/dev/controlling-access.html
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        key: kms.IKey,
        stream: kinesis.IStream,
        bucket: s3.IBucket,
        prefixes: tuple[str, ...],
        errors: LogGroup,
    ) -> None:
        super().__init__(scope, construct_id, "firehose")
        read_objects(self, bucket, *prefixes)
        write_objects(self, bucket, *prefixes)
        allow(self, ["s3:GetBucketLocation", "s3:ListBucketMultipartUploads"], bucket.bucket_arn)
        use_key(self, key)
        read_stream(self, stream)
        allow(self, ["logs:PutLogEvents"], errors.log_group_arn)

    def convert_by(self, table: glue.S3Table) -> None:
        """Let it read the schema of `table`."""
        allow(
            self,
            ["glue:GetTable", "glue:GetTableVersion", "glue:GetTableVersions"],
            table.table_arn,
            table.database.database_arn,
            Stack.of(self).format_arn(service="glue", resource="catalog"),
        )
