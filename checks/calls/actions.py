"""Operations of AWS's APIs -> the IAM actions that they need.

For most operations that is the service's prefix and the operation's own name. Where the two differ is listed here, from
the service authorization reference (docs.aws.amazon.com/service-authorization/latest/reference/, one page a service)
and, for S3, from docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html.
"""

from checks.calls import boto

# The prefix of a client's IAM actions, where it is not the name that its requests are signed for.
_PREFIXES = {
    "cloudwatch": "cloudwatch",
    "apigatewaymanagementapi": "execute-api",
    "iot-data": "iot",
    "iot-jobs-data": "iotjobsdata",
    "resourcegroupstaggingapi": "tag",
    "elbv2": "elasticloadbalancing",
    "stepfunctions": "states",
    "mwaa": "airflow",
}

# An operation that needs another action than its name says, or several, or none.
_DIFFERENT: dict[str, tuple[str, ...]] = {
    # S3: "Required permissions for Amazon S3 API operations".
    "s3:HeadBucket": ("s3:ListBucket",),
    "s3:ListObjects": ("s3:ListBucket",),
    "s3:ListObjectsV2": ("s3:ListBucket",),
    "s3:ListObjectVersions": ("s3:ListBucketVersions",),
    "s3:ListMultipartUploads": ("s3:ListBucketMultipartUploads",),
    "s3:ListParts": ("s3:ListMultipartUploadParts",),
    "s3:ListBuckets": ("s3:ListAllMyBuckets",),
    "s3:HeadObject": ("s3:GetObject",),
    "s3:SelectObjectContent": ("s3:GetObject",),
    "s3:CopyObject": ("s3:GetObject", "s3:PutObject"),
    "s3:CreateMultipartUpload": ("s3:PutObject",),
    "s3:UploadPart": ("s3:PutObject",),
    "s3:UploadPartCopy": ("s3:GetObject", "s3:PutObject"),
    "s3:CompleteMultipartUpload": ("s3:PutObject",),
    "s3:DeleteObjects": ("s3:DeleteObject",),
    "s3:PutBucketNotificationConfiguration": ("s3:PutBucketNotification",),
    "s3:GetBucketNotificationConfiguration": ("s3:GetBucketNotification",),
    "s3:PutBucketLifecycleConfiguration": ("s3:PutLifecycleConfiguration",),
    "s3:GetBucketLifecycleConfiguration": ("s3:GetLifecycleConfiguration",),
    "s3:PutBucketEncryption": ("s3:PutEncryptionConfiguration",),
    "s3:GetBucketEncryption": ("s3:GetEncryptionConfiguration",),
    # boto3's transfers upload in parts above 8 MB, and give the upload up when a part fails:
    # boto3.amazonaws.com/v1/documentation/api/latest/guide/s3.html
    "s3:upload_file": ("s3:PutObject", "s3:AbortMultipartUpload"),
    "s3:download_file": ("s3:GetObject",),
    "s3:copy": ("s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"),
    # Actions shared by the operations of a service.
    "lambda:Invoke": ("lambda:InvokeFunction",),
    "lambda:InvokeAsync": ("lambda:InvokeFunction",),
    "lambda:InvokeWithResponseStream": ("lambda:InvokeFunction",),
    "sagemaker:InvokeEndpointWithResponseStream": ("sagemaker:InvokeEndpoint",),
    "bedrock:Converse": ("bedrock:InvokeModel",),
    "bedrock:ConverseStream": ("bedrock:InvokeModelWithResponseStream",),
    "sqs:SendMessageBatch": ("sqs:SendMessage",),
    "sqs:DeleteMessageBatch": ("sqs:DeleteMessage",),
    "sqs:ChangeMessageVisibilityBatch": ("sqs:ChangeMessageVisibility",),
    "sns:PublishBatch": ("sns:Publish",),
    "dynamodb:TransactGetItems": ("dynamodb:GetItem",),
    "dynamodb:TransactWriteItems": (
        "dynamodb:ConditionCheckItem",
        "dynamodb:DeleteItem",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
    ),
    # A transaction needs what its writes need: where source.py can read which they are, it names them.
    "dynamodb:TransactWriteItems.ConditionCheck": ("dynamodb:ConditionCheckItem",),
    "dynamodb:TransactWriteItems.Delete": ("dynamodb:DeleteItem",),
    "dynamodb:TransactWriteItems.Put": ("dynamodb:PutItem",),
    "dynamodb:TransactWriteItems.Update": ("dynamodb:UpdateItem",),
    "execute-api:PostToConnection": ("execute-api:ManageConnections",),
    "execute-api:GetConnection": ("execute-api:ManageConnections",),
    "execute-api:DeleteConnection": ("execute-api:ManageConnections",),
    # docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html: no permission is needed.
    "sts:GetCallerIdentity": (),
    "sts:GetSessionToken": (),
}

# What uses a key needs of it, when the thing it works on is encrypted with a key of one's own.
# S3: docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html#require-sse-kms-permissions
# (parts of an upload are decrypted to be put together); SQS, SNS, Kinesis and DynamoDB: the services' key management
# pages (docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html,
# docs.aws.amazon.com/sns/latest/dg/sns-key-management.html,
# docs.aws.amazon.com/streams/latest/dev/permissions-user-key-KMS.html).
KEY_ACTIONS: dict[str, tuple[str, ...]] = {
    "s3:GetObject": ("kms:Decrypt",),
    "s3:PutObject": ("kms:GenerateDataKey",),
    "s3:AbortMultipartUpload": ("kms:Decrypt",),
    "sqs:SendMessage": ("kms:Decrypt", "kms:GenerateDataKey"),
    "sqs:ReceiveMessage": ("kms:Decrypt",),
    "sns:Publish": ("kms:Decrypt", "kms:GenerateDataKey"),
    "kinesis:PutRecord": ("kms:GenerateDataKey",),
    "kinesis:PutRecords": ("kms:GenerateDataKey",),
    "kinesis:GetRecords": ("kms:Decrypt",),
    "kinesis:SubscribeToShard": ("kms:Decrypt",),
}


def actions(service: str, operation: str) -> tuple[str, ...]:
    """The IAM actions of one operation of a boto3 client, or of one of the methods that boto3 adds to it."""
    prefix = _PREFIXES.get(service) or boto.signing_name(service)
    action = f"{prefix}:{operation}"
    return _DIFFERENT.get(action, (action,))
