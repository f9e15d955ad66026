"""The forms of ARNs and names of the resource types that policies speak of.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
and, for what Ref and Fn::GetAtt give, the Return values of each type in CloudFormation's reference.
"""

_HERE = "arn:{partition}:%s:{region}:{account}:%s"


def _regional(service: str, resource: str = "{name}") -> str:
    return _HERE % (service, resource)


FORMS = {
    "AWS::Athena::WorkGroup": _regional("athena", "workgroup/{name}"),
    "AWS::CloudTrail::Trail": _regional("cloudtrail", "trail/{name}"),
    "AWS::CloudWatch::Alarm": _regional("cloudwatch", "alarm:{name}"),
    "AWS::CodeBuild::Project": _regional("codebuild", "project/{name}"),
    "AWS::DynamoDB::GlobalTable": _regional("dynamodb", "table/{name}"),
    "AWS::DynamoDB::Table": _regional("dynamodb", "table/{name}"),
    "AWS::ECR::Repository": _regional("ecr", "repository/{name}"),
    "AWS::Events::Rule": _regional("events", "rule/{name}"),
    "AWS::Glue::Database": _regional("glue", "database/{name}"),
    "AWS::Glue::Job": _regional("glue", "job/{name}"),
    "AWS::Glue::Table": _regional("glue", "table/{database}/{name}"),
    "AWS::IAM::Group": "arn:{partition}:iam::{account}:group{path}{name}",
    "AWS::IAM::ManagedPolicy": "arn:{partition}:iam::{account}:policy{path}{name}",
    "AWS::IAM::Role": "arn:{partition}:iam::{account}:role{path}{name}",
    "AWS::IAM::User": "arn:{partition}:iam::{account}:user{path}{name}",
    "AWS::KMS::Key": _regional("kms", "key/{name}"),
    "AWS::Kinesis::Stream": _regional("kinesis", "stream/{name}"),
    "AWS::Kinesis::StreamConsumer": "{stream}/consumer/{name}:…",
    "AWS::KinesisFirehose::DeliveryStream": _regional("firehose", "deliverystream/{name}"),
    "AWS::Lambda::Alias": _regional("lambda", "function:{function}:{name}"),
    "AWS::Lambda::Function": _regional("lambda", "function:{name}"),
    "AWS::Lambda::Version": _regional("lambda", "function:{function}:{name}"),
    "AWS::Logs::LogGroup": _regional("logs", "log-group:{name}:*"),
    "AWS::S3::Bucket": "arn:{partition}:s3:::{name}",
    "AWS::SNS::Topic": _regional("sns"),
    "AWS::SQS::Queue": _regional("sqs"),
    "AWS::SageMaker::Endpoint": _regional("sagemaker", "endpoint/{name}"),
    "AWS::SageMaker::FeatureGroup": _regional("sagemaker", "feature-group/{name}"),
    "AWS::SecretsManager::Secret": _regional("secretsmanager", "secret:{name}-" + "…" * 6),
    "AWS::StepFunctions::StateMachine": _regional("states", "stateMachine:{name}"),
}

# The property that gives the name.
NAMES = {
    "AWS::Athena::WorkGroup": "Name",
    "AWS::CloudTrail::Trail": "TrailName",
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CodeBuild::Project": "Name",
    "AWS::DynamoDB::GlobalTable": "TableName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::ECR::Repository": "RepositoryName",
    "AWS::Events::Rule": "Name",
    "AWS::Glue::Database": "DatabaseInput.Name",
    "AWS::Glue::Job": "Name",
    "AWS::Glue::Table": "TableInput.Name",
    "AWS::IAM::Group": "GroupName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::User": "UserName",
    "AWS::Kinesis::Stream": "Name",
    "AWS::Kinesis::StreamConsumer": "ConsumerName",
    "AWS::KinesisFirehose::DeliveryStream": "DeliveryStreamName",
    "AWS::Lambda::Alias": "Name",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SageMaker::Endpoint": "EndpointName",
    "AWS::SageMaker::FeatureGroup": "FeatureGroupName",
    "AWS::SecretsManager::Secret": "Name",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
}

# Ref gives the ARN of these, the name of the others.
ARN_AS_REF = {
    "AWS::IAM::ManagedPolicy",
    "AWS::Kinesis::StreamConsumer",
    "AWS::Lambda::Alias",
    "AWS::Lambda::Version",
    "AWS::SNS::Topic",
    "AWS::SageMaker::Endpoint",
    "AWS::SecretsManager::Secret",
    "AWS::StepFunctions::StateMachine",
}

# The attribute that gives the name.
ATTRIBUTES = {
    "AWS::KMS::Key": "KeyId",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SageMaker::Endpoint": "EndpointName",
    "AWS::StepFunctions::StateMachine": "Name",
}
