"""The topic that people are told through, and the alarms that publish to it."""

from typing import Annotated

from aws_cdk import Aws, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct
from pydantic import Field

from components.findings import explain

Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]  # of an option; SNS asks whoever reads it to confirm

AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
LESS_THAN = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD


class Alerts(sns.Topic):
    """An encrypted topic that the account's alarms may publish to; `email`, if any, is subscribed."""

    def __init__(self, scope: Construct, construct_id: str, *, key: kms.IKey, email: str | None) -> None:
        super().__init__(scope, construct_id, display_name="Millrace alerts", master_key=key, enforce_ssl=True)
        # A policy of its own, which enforcing TLS makes, replaces the one that lets the account's alarms publish.
        self.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsPublish",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        if email:
            # https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
            explain(
                self.add_subscription(subscriptions.EmailSubscription(email)),
                "SNSRedrivePolicy",
                "SNS tries a mail for six hours, and the alarm stays on; nobody would read a queue of notices",
            )

    def alarm(
        self,
        construct_id: str,
        metric: cloudwatch.Metric,
        description: str,
        *,
        threshold: float = 1,
        comparison: cloudwatch.ComparisonOperator = AT_LEAST,
        periods: int = 1,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> cloudwatch.Alarm:
        """Tell people when `metric` is on the wrong side of `threshold` in each of so many of its periods."""
        alarm = metric.create_alarm(
            Stack.of(self),
            construct_id,
            alarm_description=description,
            threshold=threshold,
            comparison_operator=comparison,
            evaluation_periods=periods,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(actions.SnsAction(self))
        return alarm
