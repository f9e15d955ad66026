"""The part of the reviewed table that is about libraries: what they call of AWS on their own."""

IDEMPOTENCY = "aws_lambda_powertools.utilities.idempotency.DynamoDBPersistenceLayer"

# https://docs.aws.amazon.com/glue/latest/ug/getting-started-min-privs-job.html: sources need ListBucket and GetObject,
# targets also PutObject and DeleteObject; large files are uploads in parts, given up when a task fails.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "pyspark().read": ("s3:GetObject", "s3:ListBucket"),
    "pyspark().write": ("s3:DeleteObject", "s3:ListBucket", "s3:PutObject", "s3:AbortMultipartUpload"),
    # The checkpoint's files are read, written and deleted.
    "pyspark().writeStream": (
        "s3:GetObject", "s3:DeleteObject", "s3:ListBucket", "s3:PutObject", "s3:AbortMultipartUpload",
    ),
    # A stream's events: docs.aws.amazon.com/streams/latest/dev/controlling-access.html, "read from a stream".
    "awsglue().create_data_frame.from_options": (
        "kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards",
    ),
    # Each makes one call of the table's: a put that is refused brings the item with it.
    f"{IDEMPOTENCY}().save_inprogress": ("dynamodb:PutItem",),
    f"{IDEMPOTENCY}().save_success": ("dynamodb:UpdateItem",),
    f"{IDEMPOTENCY}().delete_record": ("dynamodb:DeleteItem",),
}  # fmt: skip
_HARMLESS = {"awsglue.context.GlueContext", IDEMPOTENCY, f"{IDEMPOTENCY}().configure"}
# Libraries that call AWS on their own, of which no use has been reviewed yet.
_UNREVIEWED = (
    "awsglue",
    "awswrangler",
    "aws_lambda_powertools.utilities.feature_flags",
    IDEMPOTENCY,
    "aws_lambda_powertools.utilities.parameters",
    "pyarrow.fs.S3FileSystem",
    "s3fs",
    "s3path",
    "sagemaker",
    "smart_open",
)
_READ_PATHS = ("dask", "duckdb", "fsspec", "pandas", "polars", "pyarrow")  # which call S3 for a path that names it


def library(path: str) -> tuple[str, ...] | None:
    """The actions that using this of a library needs; None when it is not known to call AWS."""
    return LIBRARIES.get(path)


def calls_aws(path: str, written: str) -> str:
    """Why a call of a library, as it is written, can't be resolved; empty when it calls nothing of AWS."""
    if path in LIBRARIES or path in _HARMLESS:
        return ""
    if any(path == name or path.startswith((f"{name}.", f"{name}()")) for name in _UNREVIEWED):
        return f"{path} calls AWS on its own: say in checks/calls/libraries.py what it needs"
    if path.split(".")[0] in _READ_PATHS and "s3://" in written:
        return f"{path} reads or writes S3 on its own: say in checks/calls/libraries.py what it needs"
    return ""
