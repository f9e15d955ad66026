"""The one reviewed table of what is used without a line of our code calling it, each entry with its source.

`IMPLIED` is for services that act with a role: the log of a function, the image of a job, the target of a rule.
`MANAGED` is what AWS's managed policies for such roles hold. What libraries call on their own is in libraries.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

from checks.calls.delivery import DELIVERY
from checks.calls.workloads import Use

_AWS = "https://docs.aws.amazon.com/"
_SAGEMAKER_ROLES = f"{_AWS}sagemaker/latest/dg/sagemaker-roles.html"
_FIREHOSE = f"{_AWS}firehose/latest/dev/controlling-access.html"
_LAMBDA_ROLE = f"{_AWS}lambda/latest/dg/lambda-intro-execution-role.html"
_PIPELINE_ROLE = f"{_AWS}sagemaker/latest/dg/build-and-manage-access.html"
_CODEBUILD_ROLE = f"{_AWS}codebuild/latest/userguide/setting-up-service-role.html"
_RULE_TARGETS = f"{_AWS}eventbridge/latest/userguide/eb-use-identity-based.html"
_TRAIL_LOG = f"{_AWS}awscloudtrail/latest/userguide/cloudtrail-required-policy-for-cloudwatch-logs.html"
_MULTIPART = f"{_AWS}AmazonS3/latest/userguide/mpuoverview.html"

_LOG_STREAM = "logs:CreateLogStream logs:PutLogEvents"
_PULL = "ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:GetAuthorizationToken ecr:GetDownloadUrlForLayer"
_DESTINATIONS = {"AWS::SQS::Queue": "sqs:SendMessage", "AWS::SNS::Topic": "sns:Publish"}
_DESTINATIONS |= {"AWS::S3::Bucket": "s3:ListBucket s3:PutObject"}
_INTERFACES = (
    "ec2:CreateNetworkInterface ec2:CreateNetworkInterfacePermission ec2:DeleteNetworkInterface "
    "ec2:DeleteNetworkInterfacePermission ec2:DescribeDhcpOptions ec2:DescribeNetworkInterfaces "
    "ec2:DescribeSecurityGroups ec2:DescribeSubnets ec2:DescribeVpcs"
)


@dataclass(frozen=True)
class Implied:
    """The `actions` that users of these `kinds` need of their role when `applies`, both separated by spaces.

    `needed` is False where a role may hold the actions and AWS does not document that it must: neither is a finding.
    """

    kinds: str
    actions: str
    why: str
    source: str
    applies: Callable[[Use], bool] = lambda _: True
    needed: bool = True


def _has(*path: str) -> Callable[[Use], bool]:
    return lambda use: bool(use.at(*path))


def _mentions(name: str) -> Callable[[Use], bool]:
    return lambda use: use.mentions(name)


def _lacks(*path: str) -> Callable[[Use], bool]:
    return lambda use: not use.at(*path)


def _targets(service: str, kind: str) -> Callable[[Use], bool]:
    return lambda use: f":{service}:" in use.text and f":{kind}/" in use.text


def _runs(command: str) -> Callable[[Use], bool]:
    return lambda use: command in str(use.at("Source", "BuildSpec"))


_FUNCTION, _MAPPING = "AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping"
_JOB, _PIPELINE, _ENDPOINT = "AWS::Glue::Job", "AWS::SageMaker::Pipeline", "AWS::SageMaker::EndpointConfig"
_BUILD, _DELIVERY = "AWS::CodeBuild::Project", "AWS::KinesisFirehose::DeliveryStream"
_FLOWS = "AWS::EC2::FlowLog"
_CONTAINERS = "Processing Training AWS::SageMaker::Model"

IMPLIED: tuple[Implied, ...] = (
    Implied(_FUNCTION, _LOG_STREAM, "its log", _LAMBDA_ROLE),
    Implied("AWS::CloudTrail::Trail", _LOG_STREAM, "its log", _TRAIL_LOG),
    Implied(_FUNCTION, "logs:CreateLogGroup", "its log", _LAMBDA_ROLE, _lacks("LoggingConfig", "LogGroup")),
    Implied(
        _FUNCTION,
        "kms:Decrypt",
        "its environment, encrypted with a key of one's own",
        f"{_AWS}lambda/latest/dg/configuration-envvars-encryption.html",
        _has("KmsKeyArn"),
    ),
    Implied(
        _FUNCTION,
        "xray:PutTelemetryRecords xray:PutTraceSegments",
        "its traces",
        f"{_AWS}lambda/latest/dg/services-xray.html",
        lambda use: use.at("TracingConfig", "Mode") == "Active",
    ),
    Implied(
        _FUNCTION,
        "ec2:AssignPrivateIpAddresses ec2:CreateNetworkInterface ec2:DeleteNetworkInterface "
        "ec2:DescribeNetworkInterfaces ec2:UnassignPrivateIpAddresses",
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
        for kind, actions in _DESTINATIONS.items()
    ),
    Implied(
        _MAPPING,
        "kinesis:DescribeStream kinesis:DescribeStreamSummary kinesis:GetRecords kinesis:GetShardIterator "
        "kinesis:ListShards",
        "a stream that it reads",
        f"{_AWS}lambda/latest/dg/services-kinesis-create.html",
        lambda use: "AWS::Kinesis::Stream" in use.types("EventSourceArn"),
    ),
    Implied(
        _MAPPING,
        "sqs:DeleteMessage sqs:GetQueueAttributes sqs:ReceiveMessage",
        "a queue that it reads",
        f"{_AWS}lambda/latest/dg/services-sqs-configure.html",
        lambda use: "AWS::SQS::Queue" in use.types("EventSourceArn"),
    ),
    Implied(_JOB, "s3:GetObject", "its script", f"{_AWS}glue/latest/ug/getting-started-min-privs-job.html"),
    Implied(
        _JOB,
        f"logs:CreateLogGroup {_LOG_STREAM}",
        "its logs",
        f"{_AWS}glue/latest/dg/create-service-policy.html",
    ),
    Implied(
        _JOB,
        "logs:AssociateKmsKey",
        "its logs, encrypted by its security configuration",
        f"{_AWS}glue/latest/dg/monitor-continuous-logging-enable.html",
        _has("SecurityConfiguration"),
    ),
    Implied(
        _JOB,
        "kms:Decrypt kms:Encrypt kms:GenerateDataKey",
        "what it reads and writes, encrypted by its security configuration",
        f"{_AWS}glue/latest/dg/set-up-encryption.html",
        _has("SecurityConfiguration"),
    ),
    Implied(
        _JOB,
        "cloudwatch:PutMetricData",
        "its metrics",
        f"{_AWS}glue/latest/dg/create-service-policy.html",
        lambda use: "--enable-metrics" in use.text or "--enable-observability-metrics" in use.text,
    ),
    Implied(
        _CONTAINERS,
        f"cloudwatch:PutMetricData logs:CreateLogGroup logs:DescribeLogStreams {_LOG_STREAM}",
        "its container's metrics and log",
        _SAGEMAKER_ROLES,
    ),
    Implied(_CONTAINERS, _PULL, "its container's image", _SAGEMAKER_ROLES),
    Implied(
        _CONTAINERS, _INTERFACES, "its network interfaces", _SAGEMAKER_ROLES, lambda use: use.mentions("VpcConfig")
    ),
    Implied("AWS::SageMaker::Model", "s3:GetObject s3:ListBucket", "its model", _SAGEMAKER_ROLES),
    Implied("Processing", "s3:GetObject s3:ListBucket", "its inputs", _SAGEMAKER_ROLES, _has("ProcessingInputs")),
    Implied("Training", "s3:GetObject s3:ListBucket", "its inputs", _SAGEMAKER_ROLES, _has("InputDataConfig")),
    Implied("Processing", "s3:PutObject", "its outputs", _SAGEMAKER_ROLES, _has("ProcessingOutputConfig")),
    Implied("Training", "s3:PutObject", "its model", _SAGEMAKER_ROLES, _has("OutputDataConfig")),
    Implied("Processing Training", "s3:AbortMultipartUpload", "uploads that failed", _MULTIPART),
    Implied(
        "Processing Training",
        "kms:Encrypt kms:GenerateDataKey",
        "its outputs, encrypted with a key of one's own",
        _SAGEMAKER_ROLES,
        lambda use: bool(use.at("ProcessingOutputConfig", "KmsKeyId") or use.at("OutputDataConfig", "KmsKeyId")),
    ),
    Implied(
        "Processing Training",
        "kms:CreateGrant",
        "its disk, encrypted with a key of one's own",
        _SAGEMAKER_ROLES,
        lambda use: use.mentions("VolumeKmsKeyId"),
    ),
    Implied(
        _ENDPOINT,
        "kms:CreateGrant",
        "its disks, encrypted with a key of one's own",
        f"{_AWS}sagemaker/latest/APIReference/API_CreateEndpointConfig.html",
        _has("KmsKeyId"),
    ),
    Implied(
        _ENDPOINT,
        "s3:AbortMultipartUpload s3:PutObject",
        "the requests that it captures",
        f"{_AWS}sagemaker/latest/dg/model-monitor-data-capture-endpoint.html",
        _has("DataCaptureConfig", "EnableCapture"),
    ),
    Implied(
        _ENDPOINT,
        "kms:Decrypt kms:Encrypt kms:GenerateDataKey",
        "the requests that it captures, encrypted with a key of one's own",
        f"{_AWS}sagemaker/latest/dg/model-monitor-data-capture-endpoint.html",
        _has("DataCaptureConfig", "KmsKeyId"),
    ),
    *(
        Implied(
            _PIPELINE,
            f"sagemaker:Create{job}Job sagemaker:Describe{job}Job",
            f"its {job} steps",
            _PIPELINE_ROLE,
            lambda use, job=job: job in use.steps,  # type: ignore[misc]
        )
        for job in ("Processing", "Training")
    ),
    *(
        Implied(
            _PIPELINE,
            f"sagemaker:AddTags sagemaker:Stop{job}Job",
            f"its {job} steps, when the pipeline is stopped",
            f"{_AWS}sagemaker/latest/APIReference/API_StopPipelineExecution.html",
            lambda use, job=job: job in use.steps,  # type: ignore[misc]
            needed=False,
        )
        for job in ("Processing", "Training")
    ),
    Implied(
        _PIPELINE,
        "iam:PassRole",
        "the role of its jobs",
        _PIPELINE_ROLE,
        lambda use: bool({"Processing", "Training"} & use.steps),
    ),
    Implied(
        _PIPELINE,
        "events:DescribeRule events:PutRule events:PutTargets",
        "the rule through which it learns of the end of its jobs",
        f"{_AWS}sagemaker/latest/dg/security-iam-awsmanpol-pipelines.html",
        needed=False,
    ),
    Implied(
        _PIPELINE,
        "s3:GetObject",
        "the property files that its conditions read",
        _PIPELINE_ROLE,
        lambda use: use.mentions("Std:JsonGet"),
    ),
    Implied(
        _PIPELINE,
        "sagemaker:CreateModelPackage",
        "the package that it registers",
        _PIPELINE_ROLE,
        lambda use: "RegisterModel" in use.steps,
    ),
    Implied(
        _PIPELINE,
        f"ecr:DescribeImages {_PULL} kms:Decrypt s3:ListBucket sagemaker:DescribeModelPackage",
        "the image and the model of the package that it registers, which are looked at",
        f"{_AWS}sagemaker/latest/APIReference/API_CreateModelPackage.html",
        lambda use: "RegisterModel" in use.steps,
        needed=False,
    ),
    *(
        Implied("AWS::Events::Rule AWS::Scheduler::Schedule", action, "its target", source, _targets(*target))
        for target, action, source in (
            (("sagemaker", "pipeline"), "sagemaker:StartPipelineExecution", _RULE_TARGETS),
            (("glue", "workflow"), "glue:notifyEvent", f"{_AWS}glue/latest/dg/starting-workflow-eventbridge.html"),
        )
    ),
    Implied(
        "AWS::Events::Rule",
        "sns:Publish",
        "its target",
        _RULE_TARGETS,
        lambda use: "AWS::SNS::Topic" in use.types("Arn"),
    ),
    Implied(
        "AWS::Scheduler::Schedule",
        "glue:StartJobRun",
        "its target",
        f"{_AWS}scheduler/latest/UserGuide/managing-targets-universal.html",
        lambda use: ":aws-sdk:glue:startJobRun" in use.text,
    ),
    Implied(_BUILD, _LOG_STREAM, "its log", _CODEBUILD_ROLE),
    Implied(
        _BUILD,
        "logs:CreateLogGroup",
        "its log",
        _CODEBUILD_ROLE,
        _lacks("LogsConfig", "CloudWatchLogs", "GroupName"),
    ),
    Implied(
        _BUILD,
        "s3:GetObject s3:GetObjectVersion",
        "its source",
        _CODEBUILD_ROLE,
        lambda use: use.at("Source", "Type") == "S3",
    ),
    Implied(
        _BUILD,
        "ecr:GetAuthorizationToken",
        "its `aws ecr get-login-password`",
        f"{_AWS}AmazonECR/latest/userguide/registry_auth.html",
        _runs("aws ecr get-login-password"),
    ),
    Implied(
        _BUILD,
        "ecr:BatchGetImage ecr:GetDownloadUrlForLayer",
        "its `docker manifest inspect`, which reads the manifest and its configuration",
        f"{_AWS}AmazonECR/latest/userguide/image-push-iam.html",
        _runs("docker manifest inspect"),
    ),
    Implied(
        _BUILD,
        "ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:CompleteLayerUpload "
        "ecr:InitiateLayerUpload ecr:PutImage ecr:UploadLayerPart",
        "its `docker push`",
        f"{_AWS}AmazonECR/latest/userguide/image-push-iam.html",
        _runs("docker push"),
    ),
    Implied(
        _BUILD,
        "s3:AbortMultipartUpload s3:PutObject",
        "its `aws s3 cp` of what it built, in parts when that is large",
        _MULTIPART,
        _runs("aws s3 cp"),
    ),
    Implied(
        _BUILD,
        "kms:Decrypt kms:DescribeKey kms:Encrypt kms:GenerateDataKey",
        "its artifacts, encrypted with a key of one's own; one without artifacts is not known to go without",
        f"{_AWS}codebuild/latest/userguide/setting-up-kms.html",
        _has("EncryptionKey"),
        needed=False,
    ),
    Implied(
        _FLOWS,
        "logs:CreateLogStream logs:DescribeLogStreams logs:PutLogEvents",
        "the flows that it logs",
        f"{_AWS}vpc/latest/userguide/flow-logs-iam-role.html",
    ),
    Implied(
        _FLOWS,
        "logs:CreateLogGroup logs:DescribeLogGroups",
        "its log group: the page lists them, the CDK's own role goes without",
        f"{_AWS}vpc/latest/userguide/flow-logs-iam-role.html",
        needed=False,
    ),
    *(
        Implied(_DELIVERY, actions, why, f"{_FIREHOSE}#{section}", _mentions(name))
        for name, (actions, why, section) in DELIVERY.items()
    ),
)

# https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSLambdaBasicExecutionRole.html
MANAGED: dict[str, str] = {
    "service-role/AWSLambdaBasicExecutionRole": f"logs:CreateLogGroup {_LOG_STREAM}",
}
