"""The one reviewed table of what is used without a line of our code calling it, each entry with its source.

`IMPLIED` is for services that act with a role: the log of a function, the image of a job, the target of a rule.
`MANAGED` is what AWS's managed policies for such roles hold. What libraries call on their own is in libraries.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

from checks.calls.workloads import Use

_AWS = "https://docs.aws.amazon.com/"
_SAGEMAKER_ROLES = f"{_AWS}sagemaker/latest/dg/sagemaker-roles.html"
_FIREHOSE = f"{_AWS}firehose/latest/dev/controlling-access.html"
_LAMBDA_ROLE = f"{_AWS}lambda/latest/dg/lambda-intro-execution-role.html"
_PIPELINE_ROLE = f"{_AWS}sagemaker/latest/dg/build-and-manage-access.html"
_CODEBUILD_ROLE = f"{_AWS}codebuild/latest/userguide/setting-up-service-role.html"
_RULE_TARGETS = f"{_AWS}eventbridge/latest/userguide/eb-use-identity-based.html"
_MULTIPART = f"{_AWS}AmazonS3/latest/userguide/mpuoverview.html"

_LOG_STREAM = ("logs:CreateLogStream", "logs:PutLogEvents")
_PULL = tuple(
    f"ecr:{name}"
    for name in ("BatchCheckLayerAvailability", "BatchGetImage", "GetAuthorizationToken", "GetDownloadUrlForLayer")
)
_INTERFACES = tuple(
    f"ec2:{name}"
    for name in (
        "CreateNetworkInterface",
        "CreateNetworkInterfacePermission",
        "DeleteNetworkInterface",
        "DeleteNetworkInterfacePermission",
        "DescribeDhcpOptions",
        "DescribeNetworkInterfaces",
        "DescribeSecurityGroups",
        "DescribeSubnets",
        "DescribeVpcs",
    )
)
_UPLOAD = ("s3:PutObject", "s3:AbortMultipartUpload")


@dataclass(frozen=True)
class Implied:
    """What users of these `kinds` need of their role when `applies`.

    `needed` is False where a role may hold the actions and AWS does not document that it must: neither is a finding.
    """

    kinds: str
    actions: tuple[str, ...]
    why: str
    source: str
    applies: Callable[[Use], bool] = lambda _: True
    needed: bool = True


def _has(*path: str) -> Callable[[Use], bool]:
    return lambda use: bool(use.at(*path))


def _lacks(*path: str) -> Callable[[Use], bool]:
    return lambda use: not use.at(*path)


def _targets(service: str, kind: str) -> Callable[[Use], bool]:
    return lambda use: f":{service}:" in use.text and f":{kind}/" in use.text


def _runs(command: str) -> Callable[[Use], bool]:
    return lambda use: command in str(use.at("Source", "BuildSpec"))


_FUNCTION, _JOB = "AWS::Lambda::Function", "AWS::Glue::Job"
_CONTAINERS = "Processing Training AWS::SageMaker::Model"

IMPLIED: tuple[Implied, ...] = (
    Implied(_FUNCTION, _LOG_STREAM, "its log", _LAMBDA_ROLE),
    Implied(_FUNCTION, ("logs:CreateLogGroup",), "its log", _LAMBDA_ROLE, _lacks("LoggingConfig", "LogGroup")),
    Implied(
        _FUNCTION,
        ("kms:Decrypt",),
        "its environment, encrypted with a key of one's own",
        f"{_AWS}lambda/latest/dg/configuration-envvars-encryption.html",
        _has("KmsKeyArn"),
    ),
    Implied(
        _FUNCTION,
        ("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
        "its traces",
        f"{_AWS}lambda/latest/dg/services-xray.html",
        lambda use: use.at("TracingConfig", "Mode") == "Active",
    ),
    Implied(
        _FUNCTION,
        (
            "ec2:AssignPrivateIpAddresses",
            "ec2:CreateNetworkInterface",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSubnets",
            "ec2:UnassignPrivateIpAddresses",
        ),
        "its network interfaces",
        f"{_AWS}lambda/latest/dg/configuration-vpc.html",
        _has("VpcConfig", "SubnetIds"),
    ),
    *(
        Implied(
            f"{_FUNCTION} AWS::Lambda::EventInvokeConfig AWS::Lambda::EventSourceMapping",
            actions,
            f"events that failed, to a {kind}",
            f"{_AWS}lambda/latest/dg/invocation-async-retain-records.html",
            lambda use, kind=kind: use.fails_to(kind),  # type: ignore[misc]
        )
        for kind, actions in (("AWS::SQS::Queue", ("sqs:SendMessage",)), ("AWS::SNS::Topic", ("sns:Publish",)))
    ),
    Implied(
        "AWS::Lambda::EventSourceMapping",
        (
            "kinesis:DescribeStream",
            "kinesis:DescribeStreamSummary",
            "kinesis:GetRecords",
            "kinesis:GetShardIterator",
            "kinesis:ListShards",
        ),
        "a stream that it reads",
        f"{_AWS}lambda/latest/dg/services-kinesis-create.html",
        lambda use: "AWS::Kinesis::Stream" in use.types("EventSourceArn"),
    ),
    Implied(
        "AWS::Lambda::EventSourceMapping",
        ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"),
        "a queue that it reads",
        f"{_AWS}lambda/latest/dg/services-sqs-configure.html",
        lambda use: "AWS::SQS::Queue" in use.types("EventSourceArn"),
    ),
    Implied(_JOB, ("s3:GetObject",), "its script", f"{_AWS}glue/latest/ug/getting-started-min-privs-job.html"),
    Implied(
        _JOB,
        ("logs:CreateLogGroup", *_LOG_STREAM),
        "its logs",
        f"{_AWS}glue/latest/dg/create-service-policy.html",
    ),
    Implied(
        _JOB,
        ("logs:AssociateKmsKey",),
        "its logs, encrypted by its security configuration",
        f"{_AWS}glue/latest/dg/monitor-continuous-logging-enable.html",
        _has("SecurityConfiguration"),
    ),
    Implied(
        _JOB,
        ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"),
        "what it reads and writes, encrypted by its security configuration",
        f"{_AWS}glue/latest/dg/set-up-encryption.html",
        _has("SecurityConfiguration"),
    ),
    Implied(
        _JOB,
        ("cloudwatch:PutMetricData",),
        "its metrics",
        f"{_AWS}glue/latest/dg/create-service-policy.html",
        lambda use: "--enable-metrics" in use.text or "--enable-observability-metrics" in use.text,
    ),
    Implied(
        _CONTAINERS,
        ("cloudwatch:PutMetricData", "logs:CreateLogGroup", "logs:DescribeLogStreams", *_LOG_STREAM),
        "its container's metrics and log",
        _SAGEMAKER_ROLES,
    ),
    Implied(_CONTAINERS, _PULL, "its container's image", _SAGEMAKER_ROLES),
    Implied(
        _CONTAINERS, _INTERFACES, "its network interfaces", _SAGEMAKER_ROLES, lambda use: use.mentions("VpcConfig")
    ),
    Implied("AWS::SageMaker::Model", ("s3:GetObject", "s3:ListBucket"), "its model", _SAGEMAKER_ROLES),
    Implied("Processing", ("s3:GetObject", "s3:ListBucket"), "its inputs", _SAGEMAKER_ROLES, _has("ProcessingInputs")),
    Implied("Training", ("s3:GetObject", "s3:ListBucket"), "its inputs", _SAGEMAKER_ROLES, _has("InputDataConfig")),
    Implied("Processing", ("s3:PutObject",), "its outputs", _SAGEMAKER_ROLES, _has("ProcessingOutputConfig")),
    Implied("Training", ("s3:PutObject",), "its model", _SAGEMAKER_ROLES, _has("OutputDataConfig")),
    Implied("Processing Training", ("s3:AbortMultipartUpload",), "uploads that failed", _MULTIPART),
    Implied(
        "Processing Training",
        ("kms:Encrypt", "kms:GenerateDataKey"),
        "its outputs, encrypted with a key of one's own",
        _SAGEMAKER_ROLES,
        lambda use: bool(use.at("ProcessingOutputConfig", "KmsKeyId") or use.at("OutputDataConfig", "KmsKeyId")),
    ),
    Implied(
        "Processing Training",
        ("kms:CreateGrant",),
        "its disk, encrypted with a key of one's own",
        _SAGEMAKER_ROLES,
        lambda use: use.mentions("VolumeKmsKeyId"),
    ),
    Implied(
        "AWS::SageMaker::EndpointConfig",
        ("kms:CreateGrant",),
        "its disks, encrypted with a key of one's own",
        f"{_AWS}sagemaker/latest/APIReference/API_CreateEndpointConfig.html",
        _has("KmsKeyId"),
    ),
    Implied(
        "AWS::SageMaker::EndpointConfig",
        _UPLOAD,
        "the requests that it captures",
        f"{_AWS}sagemaker/latest/dg/model-monitor-data-capture-endpoint.html",
        _has("DataCaptureConfig", "EnableCapture"),
    ),
    Implied(
        "AWS::SageMaker::EndpointConfig",
        ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"),
        "the requests that it captures, encrypted with a key of one's own",
        f"{_AWS}sagemaker/latest/dg/model-monitor-data-capture-endpoint.html",
        _has("DataCaptureConfig", "KmsKeyId"),
    ),
    *(
        Implied(
            "AWS::SageMaker::Pipeline",
            tuple(f"sagemaker:{verb}{job}Job" for verb in ("Create", "Describe")),
            f"its {job} steps",
            _PIPELINE_ROLE,
            lambda use, job=job: job in use.steps,  # type: ignore[misc]
        )
        for job in ("Processing", "Training")
    ),
    *(
        Implied(
            "AWS::SageMaker::Pipeline",
            (f"sagemaker:Stop{job}Job", "sagemaker:AddTags"),
            f"its {job} steps, when the pipeline is stopped",
            f"{_AWS}sagemaker/latest/APIReference/API_StopPipelineExecution.html",
            lambda use, job=job: job in use.steps,  # type: ignore[misc]
            needed=False,
        )
        for job in ("Processing", "Training")
    ),
    Implied(
        "AWS::SageMaker::Pipeline",
        ("iam:PassRole",),
        "the role of its jobs",
        _PIPELINE_ROLE,
        lambda use: bool({"Processing", "Training"} & use.steps),
    ),
    Implied(
        "AWS::SageMaker::Pipeline",
        ("events:DescribeRule", "events:PutRule", "events:PutTargets"),
        "the rule through which it learns of the end of its jobs",
        f"{_AWS}sagemaker/latest/dg/security-iam-awsmanpol-pipelines.html",
        needed=False,
    ),
    Implied(
        "AWS::SageMaker::Pipeline",
        ("s3:GetObject",),
        "the property files that its conditions read",
        _PIPELINE_ROLE,
        lambda use: use.mentions("Std:JsonGet"),
    ),
    Implied(
        "AWS::SageMaker::Pipeline",
        ("sagemaker:CreateModelPackage",),
        "the package that it registers",
        _PIPELINE_ROLE,
        lambda use: "RegisterModel" in use.steps,
    ),
    Implied(
        "AWS::SageMaker::Pipeline",
        ("ecr:DescribeImages", *_PULL, "kms:Decrypt", "s3:ListBucket", "sagemaker:DescribeModelPackage"),
        "the image and the model of the package that it registers, which are looked at",
        f"{_AWS}sagemaker/latest/APIReference/API_CreateModelPackage.html",
        lambda use: "RegisterModel" in use.steps,
        needed=False,
    ),
    *(
        Implied("AWS::Events::Rule AWS::Scheduler::Schedule", (action,), "its target", source, _targets(*target))
        for target, action, source in (
            (("sagemaker", "pipeline"), "sagemaker:StartPipelineExecution", _RULE_TARGETS),
            (("glue", "workflow"), "glue:notifyEvent", f"{_AWS}glue/latest/dg/starting-workflow-eventbridge.html"),
        )
    ),
    Implied(
        "AWS::Events::Rule",
        ("sns:Publish",),
        "its target",
        _RULE_TARGETS,
        lambda use: "AWS::SNS::Topic" in use.types("Arn"),
    ),
    Implied(
        "AWS::Scheduler::Schedule",
        ("glue:StartJobRun",),
        "its target",
        f"{_AWS}scheduler/latest/UserGuide/managing-targets-universal.html",
        lambda use: ":aws-sdk:glue:startJobRun" in use.text,
    ),
    Implied("AWS::CodeBuild::Project", _LOG_STREAM, "its log", _CODEBUILD_ROLE),
    Implied(
        "AWS::CodeBuild::Project",
        ("logs:CreateLogGroup",),
        "its log",
        _CODEBUILD_ROLE,
        _lacks("LogsConfig", "CloudWatchLogs", "GroupName"),
    ),
    Implied(
        "AWS::CodeBuild::Project",
        ("s3:GetObject", "s3:GetObjectVersion"),
        "its source",
        _CODEBUILD_ROLE,
        lambda use: use.at("Source", "Type") == "S3",
    ),
    Implied(
        "AWS::CodeBuild::Project",
        ("ecr:GetAuthorizationToken",),
        "its `aws ecr get-login-password`",
        f"{_AWS}AmazonECR/latest/userguide/registry_auth.html",
        _runs("aws ecr get-login-password"),
    ),
    Implied(
        "AWS::CodeBuild::Project",
        ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
        "its `docker manifest inspect`, which reads the manifest and its configuration",
        f"{_AWS}AmazonECR/latest/userguide/image-push-iam.html",
        _runs("docker manifest inspect"),
    ),
    Implied(
        "AWS::CodeBuild::Project",
        (
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:CompleteLayerUpload",
            "ecr:InitiateLayerUpload",
            "ecr:PutImage",
            "ecr:UploadLayerPart",
        ),
        "its `docker push`",
        f"{_AWS}AmazonECR/latest/userguide/image-push-iam.html",
        _runs("docker push"),
    ),
    Implied(
        "AWS::CodeBuild::Project",
        ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"),
        "its artifacts, encrypted with a key of one's own; one without artifacts is not known to go without",
        f"{_AWS}codebuild/latest/userguide/setting-up-kms.html",
        _has("EncryptionKey"),
        needed=False,
    ),
    Implied(
        "AWS::EC2::FlowLog",
        ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"),
        "the flows that it logs",
        f"{_AWS}vpc/latest/userguide/flow-logs-iam-role.html",
    ),
    Implied(
        "AWS::EC2::FlowLog",
        ("logs:CreateLogGroup", "logs:DescribeLogGroups"),
        "its log group, which exists when the stack names one",
        f"{_AWS}vpc/latest/userguide/flow-logs-iam-role.html",
        needed=False,
    ),
    Implied(
        "AWS::KinesisFirehose::DeliveryStream",
        (
            "s3:AbortMultipartUpload",
            "s3:GetBucketLocation",
            "s3:GetObject",
            "s3:ListBucket",
            "s3:ListBucketMultipartUploads",
            "s3:PutObject",
        ),
        "its S3 destination",
        f"{_FIREHOSE}#using-iam-s3",
        lambda use: use.mentions("BucketARN"),
    ),
    Implied(
        "AWS::KinesisFirehose::DeliveryStream",
        ("kms:Decrypt", "kms:GenerateDataKey"),
        "what it delivers, encrypted with a key of one's own",
        f"{_FIREHOSE}#using-iam-s3",
        lambda use: use.mentions("AWSKMSKeyARN"),
    ),
    Implied(
        "AWS::KinesisFirehose::DeliveryStream",
        ("kinesis:DescribeStream", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"),
        "the stream that it reads",
        f"{_FIREHOSE}#using-iam-s3",
        _has("KinesisStreamSourceConfiguration"),
    ),
    Implied(
        "AWS::KinesisFirehose::DeliveryStream",
        ("lambda:GetFunctionConfiguration", "lambda:InvokeFunction"),
        "the function that transforms its records",
        f"{_FIREHOSE}#using-iam-s3",
        lambda use: use.mentions("LambdaArn"),
    ),
    Implied(
        "AWS::KinesisFirehose::DeliveryStream",
        ("glue:GetTable", "glue:GetTableVersion", "glue:GetTableVersions"),
        "the table that has its schema",
        f"{_FIREHOSE}#using-iam-glue",
        lambda use: use.mentions("SchemaConfiguration"),
    ),
    Implied(
        "AWS::KinesisFirehose::DeliveryStream",
        ("logs:PutLogEvents",),
        "its errors' log",
        f"{_FIREHOSE}#using-iam-s3",
        lambda use: use.mentions("CloudWatchLoggingOptions"),
    ),
)

# https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSLambdaBasicExecutionRole.html
MANAGED: dict[str, tuple[str, ...]] = {
    "service-role/AWSLambdaBasicExecutionRole": ("logs:CreateLogGroup", *_LOG_STREAM),
}
