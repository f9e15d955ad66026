"""Permissions as lists of actions: the library's grant methods give wildcards of them."""

from aws_cdk import Aws
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import IConstruct

from components.findings import explain


def allow(role: iam.Role, actions: list[str], *resources: str) -> None:
    """Let `role` call `actions` on `resources` (ARNs)."""
    role.add_to_policy(iam.PolicyStatement(actions=actions, resources=list(resources)))


def allow_any_of(role: iam.Role, reason: str, actions: list[str], *resources: str, finding: str) -> None:
    """As `allow`, for ARNs with a wildcard; `reason` says why there must be one, `finding` is a regex of the ARNs."""
    allow(role, actions, *resources)
    explain(role, rf"IAM5\[Resource::{finding}\]", reason)


def read_objects(role: iam.Role, bucket: s3.IBucket, *prefixes: str) -> None:
    """Read and list what is under `prefixes` of `bucket`: each ends with a slash, or is empty for the whole bucket.

    Hadoop also asks for a folder itself, without its slash. And S3 says of a missing object that it is missing only to
    who may list the bucket, in a request that names no prefix: to others it says that access is denied.
    """
    get_objects(role, bucket, *prefixes)
    if folders := [prefix.rstrip("/") for prefix in prefixes if prefix]:
        allow(role, ["s3:GetObject"], *map(bucket.arn_for_objects, folders))
    list_objects(role, bucket, *prefixes)


def list_objects(role: iam.Role, bucket: s3.IBucket, *prefixes: str) -> None:
    """List what is under prefixes; a request that names none is allowed too."""
    listed = sorted({form for prefix in prefixes for form in (f"{prefix}*", prefix.rstrip("/"))})
    role.add_to_policy(
        iam.PolicyStatement(
            actions=["s3:ListBucket"],
            resources=[bucket.bucket_arn],
            conditions={"StringLikeIfExists": {"s3:prefix": listed}},
        )
    )


def get_objects(role: iam.Role, bucket: s3.IBucket, *prefixes: str) -> None:
    """Read objects under prefixes, whose keys are known."""
    _objects(role, bucket, ["s3:GetObject"], prefixes)


def put_objects(role: iam.Role, bucket: s3.IBucket, *prefixes: str) -> None:
    """Put whole objects under `prefixes`."""
    _objects(role, bucket, ["s3:PutObject"], prefixes)


def write_objects(role: iam.Role, bucket: s3.IBucket, *prefixes: str) -> None:
    """Put objects under `prefixes`, also in parts, and give up uploads that failed."""
    put_objects(role, bucket, *prefixes)
    _objects(role, bucket, ["s3:AbortMultipartUpload"], prefixes)


def replace_objects(role: iam.Role, bucket: s3.IBucket, *prefixes: str) -> None:
    """Read, write and delete under `prefixes`."""
    read_objects(role, bucket, *prefixes)
    write_objects(role, bucket, *prefixes)
    _objects(role, bucket, ["s3:DeleteObject"], prefixes)


def read_stream(role: iam.Role, stream: kinesis.IStream, *also: str) -> None:
    """Read a stream's shards; `also` are the actions that the reader's service asks for besides.

    https://docs.aws.amazon.com/streams/latest/dev/controlling-access.html
    """
    reads = ["kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"]
    allow(role, [*reads, *also], stream.stream_arn)


def decrypt(role: iam.Role, key: kms.IKey) -> None:
    """Decrypt what `key` has encrypted."""
    allow(role, ["kms:Decrypt"], key.key_arn)


def use_key(role: iam.Role, key: kms.IKey) -> None:
    """Decrypt what `key` has encrypted, and encrypt data with it."""
    allow(role, ["kms:Decrypt", "kms:GenerateDataKey"], key.key_arn)


def pull_image(role: iam.Role, repository: ecr.IRepository) -> None:
    """Pull images of `repository`."""
    actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    allow(role, actions, repository.repository_arn)
    sign_in_to_registry(role)


def sign_in_to_registry(role: iam.Role) -> None:
    """Sign in to the account's container registry."""
    allow_any_of(role, _NO_RESOURCE % "ecr:GetAuthorizationToken", ["ecr:GetAuthorizationToken"], "*", finding=r"\*")


def write_logs(role: iam.Role, *groups: str) -> None:
    """Create log groups of these names and write to them: services do it with the role of the job."""
    allow_any_of(
        role,
        "the log streams of a group, which the service names when the job starts",
        ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
        *(f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:{group}:*" for group in groups),
        finding=r".*:log-group:.*:\*",
    )


def write_glue_logs(role: iam.Role, key: kms.IKey) -> None:
    """Write the log groups that Glue names for jobs and crawlers, encrypted with `key` by a security configuration.

    https://docs.aws.amazon.com/glue/latest/dg/set-up-encryption.html
    """
    allow(role, ["kms:Encrypt"], key.key_arn)
    allow_any_of(
        role,
        "Glue names the log groups of its jobs and crawlers itself",
        ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:AssociateKmsKey"],
        f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:/aws-glue/*",
        finding=r".*:log-group:/aws-glue/\*",
    )


def put_metrics(role: iam.Role, namespace: str) -> None:
    """Publish metrics of one namespace; a trailing * is allowed."""
    role.add_to_policy(
        iam.PolicyStatement(
            actions=["cloudwatch:PutMetricData"],
            resources=["*"],
            conditions={"StringLike": {"cloudwatch:namespace": namespace}},
        )
    )
    explain(
        role,
        r"IAM5\[Resource::\*\]",
        _NO_RESOURCE % "cloudwatch:PutMetricData" + "; the namespace is a condition",
    )


def send_traces(role: iam.Role) -> None:
    """Send what was traced to X-Ray."""
    actions = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    allow_any_of(role, _NO_RESOURCE % "sending traces", actions, "*", finding=r"\*")


def before(role: iam.Role, *users: IConstruct) -> None:
    """Create the role's policy before `users`, which work with it from their first moment."""
    for user in users:
        user.node.add_dependency(role)


_NO_RESOURCE = "%s has no resource-level permission"


def _objects(role: iam.Role, bucket: s3.IBucket, actions: list[str], prefixes: tuple[str, ...]) -> None:
    allow_any_of(
        role,
        "the objects under one prefix: S3 has no other way to name them",
        actions,
        *(bucket.arn_for_objects(f"{prefix}*") for prefix in prefixes),
        finding=r"(?!arn:<).*/\*",  # a bucket's ARN; those written by hand start so
    )
