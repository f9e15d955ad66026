"""What can be done to each kind of resource, as the actions that let a principal do it.

Actions that change who may do what are `administer`; those that only describe are left out. From
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Verbs = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Kind:
    """A kind of resource: its CloudFormation types, and the actions of each verb."""

    name: str
    types: tuple[str, ...]
    verbs: Verbs
    within: Mapping[str, frozenset[str]] = field(default_factory=dict)  # what follows the ARN -> actions on that alone
    parts: tuple[str, ...] = ()  # what may follow the ARN in other actions
    key: tuple[str, ...] = ()  # the property that names the KMS key a caller must be able to use
    needs_policy: str = ""  # the resource policy must allow actions that start so, or leave them to IAM

    def targets(self, arn: str, action: str) -> tuple[str, ...]:
        """The ARNs, or patterns of them, that `action` may be done to."""
        within = [arn + suffix for suffix, actions in self.within.items() if action in actions]
        return tuple(within) or (arn, *(arn + part for part in self.parts))


def _actions(service: str, names: str) -> tuple[str, ...]:
    return tuple(f"{service}:{name}" for name in names.split())


def _verbs(service: str, **verbs: str) -> Verbs:
    return {verb: _actions(service, names) for verb, names in verbs.items()}


_OBJECTS = frozenset(
    _actions(
        "s3",
        "GetObject GetObjectVersion PutObject ReplicateObject DeleteObject DeleteObjectVersion "
        "PutObjectAcl PutObjectVersionAcl PutObjectRetention BypassGovernanceRetention",
    )
)

KINDS = (
    Kind(
        "bucket",
        ("AWS::S3::Bucket",),
        _verbs(
            "s3",
            read="GetObject GetObjectVersion",
            list="ListBucket ListBucketVersions",
            write="PutObject ReplicateObject",
            delete="DeleteObject DeleteObjectVersion DeleteBucket",
            administer="PutBucketPolicy DeleteBucketPolicy PutBucketAcl PutBucketPublicAccessBlock "
            "PutBucketOwnershipControls PutEncryptionConfiguration PutLifecycleConfiguration PutBucketVersioning "
            "PutReplicationConfiguration PutBucketLogging PutBucketObjectLockConfiguration "
            "PutObjectAcl PutObjectVersionAcl PutObjectRetention BypassGovernanceRetention",
        ),
        within={"/*": _OBJECTS},
        key=(
            "BucketEncryption",
            "ServerSideEncryptionConfiguration",
            "ServerSideEncryptionByDefault",
            "KMSMasterKeyID",
        ),
    ),
    Kind(
        "stream",
        ("AWS::Kinesis::Stream",),
        _verbs(
            "kinesis",
            read="GetRecords SubscribeToShard",
            write="PutRecord PutRecords",
            delete="DeleteStream DecreaseStreamRetentionPeriod",
            administer="PutResourcePolicy DeleteResourcePolicy StartStreamEncryption StopStreamEncryption",
        ),
        within={"/consumer/*": frozenset({"kinesis:SubscribeToShard"})},
        key=("StreamEncryption", "KeyId"),
    ),
    Kind(
        "delivery stream",
        ("AWS::KinesisFirehose::DeliveryStream",),
        _verbs(
            "firehose",
            write="PutRecord PutRecordBatch",
            delete="DeleteDeliveryStream",
            administer="UpdateDestination StartDeliveryStreamEncryption StopDeliveryStreamEncryption",
        ),
    ),
    Kind(
        "table",
        ("AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable"),
        _verbs(
            "dynamodb",
            read="GetItem BatchGetItem Query Scan PartiQLSelect GetRecords ExportTableToPointInTime",
            write="PutItem UpdateItem BatchWriteItem PartiQLInsert PartiQLUpdate",
            delete="DeleteItem BatchWriteItem PartiQLDelete DeleteTable",
            administer="PutResourcePolicy DeleteResourcePolicy UpdateTable UpdateTimeToLive UpdateContinuousBackups",
        ),
        within={"/stream/*": frozenset({"dynamodb:GetRecords"})},
        parts=("/index/*",),
    ),
    Kind(
        "catalogue database",
        ("AWS::Glue::Database",),
        _verbs("glue", read="GetDatabase", write="UpdateDatabase CreateTable", delete="DeleteDatabase"),
    ),
    Kind(
        "catalogue table",
        ("AWS::Glue::Table",),
        _verbs(
            "glue",
            read="GetTable GetTables GetTableVersion GetTableVersions GetPartition GetPartitions BatchGetPartition",
            write="CreateTable UpdateTable CreatePartition BatchCreatePartition UpdatePartition BatchUpdatePartition",
            delete="DeleteTable BatchDeleteTable DeletePartition BatchDeletePartition DeleteTableVersion",
        ),
    ),
    Kind(
        "feature group",
        ("AWS::SageMaker::FeatureGroup",),
        _verbs(
            "sagemaker",
            read="GetRecord BatchGetRecord",
            write="PutRecord UpdateFeatureGroup",
            delete="DeleteRecord DeleteFeatureGroup",
        ),
    ),
    Kind(
        "endpoint",
        ("AWS::SageMaker::Endpoint",),
        _verbs(
            "sagemaker",
            invoke="InvokeEndpoint InvokeEndpointAsync InvokeEndpointWithResponseStream",
            write="UpdateEndpoint UpdateEndpointWeightsAndCapacities",
            delete="DeleteEndpoint",
        ),
    ),
    Kind(
        "topic",
        ("AWS::SNS::Topic",),
        _verbs(
            "sns",
            read="Subscribe",
            write="Publish",
            delete="DeleteTopic",
            administer="SetTopicAttributes AddPermission RemovePermission PutDataProtectionPolicy",
        ),
        key=("KmsMasterKeyId",),
    ),
    Kind(
        "queue",
        ("AWS::SQS::Queue",),
        _verbs(
            "sqs",
            read="ReceiveMessage",
            write="SendMessage",
            delete="DeleteMessage PurgeQueue DeleteQueue",
            administer="SetQueueAttributes AddPermission RemovePermission",
        ),
        key=("KmsMasterKeyId",),
    ),
    Kind(
        "secret",
        ("AWS::SecretsManager::Secret",),
        _verbs(
            "secretsmanager",
            read="GetSecretValue",
            write="PutSecretValue UpdateSecret",
            delete="DeleteSecret",
            administer="PutResourcePolicy DeleteResourcePolicy RotateSecret ReplicateSecretToRegions",
        ),
        key=("KmsKeyId",),
    ),
    Kind(
        "key",
        ("AWS::KMS::Key",),
        _verbs(
            "kms",
            decrypt="Decrypt ReEncryptFrom",
            encrypt="Encrypt GenerateDataKey GenerateDataKeyWithoutPlaintext ReEncryptTo",
            grant="CreateGrant",
            administer="PutKeyPolicy ScheduleKeyDeletion DisableKey DisableKeyRotation UpdatePrimaryRegion RevokeGrant",
        ),
        needs_policy="kms:",
    ),
    Kind(
        "function",
        ("AWS::Lambda::Function",),
        _verbs(
            "lambda",
            invoke="InvokeFunction InvokeFunctionUrl",
            write="UpdateFunctionCode UpdateFunctionConfiguration",
            delete="DeleteFunction",
            administer="AddPermission RemovePermission",
        ),
        parts=(":*",),  # versions and aliases
    ),
    Kind(
        "role",
        ("AWS::IAM::Role",),
        {
            "assume": _actions("sts", "AssumeRole AssumeRoleWithWebIdentity AssumeRoleWithSAML"),
            "pass": ("iam:PassRole",),
            "administer": _actions(
                "iam",
                "UpdateAssumeRolePolicy PutRolePolicy AttachRolePolicy DetachRolePolicy DeleteRolePolicy "
                "PutRolePermissionsBoundary DeleteRolePermissionsBoundary",
            ),
        },
        needs_policy="sts:",
    ),
)

KIND_OF = {type_: kind for kind in KINDS for type_ in kind.types}

# What using a resource's KMS key takes, by what is done to the resource.
KEY_ACTIONS = {"read": "kms:Decrypt", "write": "kms:GenerateDataKey"}
