"""What an auditor may read, which is how things are set up and what was done, and may not, which is data."""

from aws_cdk import aws_iam as iam

from components.permissions import allow_any_of

READ = [
    "cloudformation:DescribeStackResources",
    "cloudformation:DescribeStacks",
    "cloudformation:GetTemplate",
    "cloudtrail:DescribeTrails",
    "cloudtrail:GetEventSelectors",
    "cloudtrail:GetTrailStatus",
    "cloudtrail:LookupEvents",
    "cloudwatch:DescribeAlarms",
    "ec2:DescribeFlowLogs",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcEndpoints",
    "ec2:DescribeVpcs",
    "glue:GetDatabases",
    "glue:GetTables",
    "iam:GetPolicy",
    "iam:GetPolicyVersion",
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:ListAttachedRolePolicies",
    "iam:ListRolePolicies",
    "iam:ListRoles",
    "kms:DescribeKey",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListAliases",
    "lambda:GetFunctionConfiguration",
    "lambda:GetPolicy",
    "lambda:ListFunctions",
    "logs:DescribeLogGroups",
    "logs:DescribeLogStreams",
    "logs:FilterLogEvents",
    "logs:GetLogEvents",
    "logs:GetQueryResults",
    "logs:StartQuery",
    "s3:GetAccountPublicAccessBlock",
    "s3:GetBucketLogging",
    "s3:GetBucketPolicy",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:ListAllMyBuckets",
    "sagemaker:DescribeEndpoint",
    "sagemaker:DescribeEndpointConfig",
    "sagemaker:DescribeModelPackage",
    "sagemaker:DescribeTrainingJob",
    "sagemaker:ListEndpoints",
    "sagemaker:ListModelPackages",
    "sagemaker:ListTrainingJobs",
]
DATA = [
    "athena:GetQueryResults",
    "athena:StartQueryExecution",
    "dynamodb:BatchGetItem",
    "dynamodb:GetItem",
    "dynamodb:Query",
    "dynamodb:Scan",
    "kinesis:GetRecords",
    "kinesis:SubscribeToShard",
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "kms:ReEncryptFrom",
    "lambda:InvokeFunction",
    "s3:GetObject",
    "s3:GetObjectVersion",
    "sagemaker:InvokeEndpoint",
    "sqs:ReceiveMessage",
]


def audit(role: iam.Role) -> None:
    """Let `role` read configuration and logs of the whole account, and deny it data whatever else it is given.

    The trail is read in CloudWatch Logs, which decrypts for whoever may read: its objects in S3 are denied too.
    """
    allow_any_of(
        role, "an auditor looks at the whole account, and most lists have no resource", READ, "*", finding=r"\*"
    )
    role.add_to_policy(iam.PolicyStatement(sid="NoData", effect=iam.Effect.DENY, actions=DATA, resources=["*"]))
