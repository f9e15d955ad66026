"""What Firehose asks of its role: the part of implicit.py's table that is one service's, by what its stream names."""

# Property of a delivery stream -> actions, what they are for, section of the page on access control
DELIVERY: dict[str, tuple[str, str, str]] = {
    "BucketARN": (
        "s3:AbortMultipartUpload s3:GetBucketLocation s3:GetObject s3:ListBucket s3:ListBucketMultipartUploads "
        "s3:PutObject",
        "its S3 destination",
        "using-iam-s3",
    ),
    "AWSKMSKeyARN": (
        "kms:Decrypt kms:GenerateDataKey",
        "what it delivers, encrypted with a key of one's own",
        "using-iam-s3",
    ),
    "KinesisStreamSourceConfiguration": (
        "kinesis:DescribeStream kinesis:GetRecords kinesis:GetShardIterator kinesis:ListShards",
        "the stream that it reads",
        "using-iam-s3",
    ),
    "LambdaArn": (
        "lambda:GetFunctionConfiguration lambda:InvokeFunction",
        "the function that transforms its records",
        "using-iam-s3",
    ),
    "SchemaConfiguration": (
        "glue:GetTable glue:GetTableVersion glue:GetTableVersions",
        "the table that has its schema",
        "using-iam-glue",
    ),
    "CloudWatchLoggingOptions": ("logs:PutLogEvents", "its errors' log", "using-iam-s3"),
    "AmazonopensearchserviceDestinationConfiguration": (
        "es:DescribeDomain es:DescribeDomainConfig es:DescribeDomains es:ESHttpGet es:ESHttpPost es:ESHttpPut",
        "its OpenSearch domain",
        "using-iam-es",
    ),
    "AmazonOpenSearchServerlessDestinationConfiguration": (
        "aoss:APIAccessAll",
        "its OpenSearch collection, whose data access policy says the rest",
        "using-iam-serverless",
    ),
    "SecretsManagerConfiguration": (
        "secretsmanager:GetSecretValue",
        "the username and password of its destination",
        "using-iam-rs",
    ),
}
