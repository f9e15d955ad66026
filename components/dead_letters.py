"""A queue for what could not be delivered."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from components.base import Deployment
from components.findings import explain


def waiting_in(queue_name: str) -> cloudwatch.Metric:
    """What waits in a dead-letter queue for somebody to look at it."""
    return cloudwatch.Metric(
        namespace="AWS/SQS",
        metric_name="ApproximateNumberOfMessagesVisible",
        dimensions_map={"QueueName": queue_name},
        statistic="Maximum",
        period=Duration.minutes(5),
    )


class DeadLetters(sqs.Queue):
    """Encrypted, TLS only, kept for the 14 days that SQS keeps anything at most."""

    def __init__(self, scope: Construct, construct_id: str, deployment: Deployment, *, key: kms.IKey) -> None:
        super().__init__(
            scope,
            construct_id,
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=key,
            enforce_ssl=True,
            retention_period=Duration.days(14),
            removal_policy=deployment.removal_policy,
        )
        explain(self, "SQS3|SQSRedrivePolicy", "it is itself the dead-letter queue")

    def of(self, rule: events.Rule) -> events.CfnRule.DeadLetterConfigProperty:
        """What a target of `rule` needs to send here the events that it did not take."""
        self.accept(rule)
        return events.CfnRule.DeadLetterConfigProperty(arn=self.queue_arn)

    def accept(self, rule: events.Rule) -> None:
        """Let `rule` send events here."""
        self.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self.queue_arn],
                conditions={"ArnEquals": {"aws:SourceArn": rule.rule_arn}},
            )
        )
