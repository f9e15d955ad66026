"""The topic that people are told through, and the alarms that publish to it."""

from typing import Annotated, TypedDict, Unpack

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


class Condition(TypedDict, total=False):
    """When an alarm goes off: when its metric compares so to `threshold` in each of so many `periods`.

    `missing` says what a period without the metric counts as.
    """

    threshold: float
    comparison: cloudwatch.ComparisonOperator
    periods: int
    missing: cloudwatch.TreatMissingData


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
        self, construct_id: str, metric: cloudwatch.Metric, description: str, **condition: Unpack[Condition]
    ) -> cloudwatch.Alarm:
        """As `alarm`, in this topic's own stack."""
        return alarm(Stack.of(self), construct_id, metric, description, self, **condition)


def alarm(
    scope: Stack,
    construct_id: str,
    metric: cloudwatch.Metric,
    description: str,
    topic: sns.ITopic,
    **condition: Unpack[Condition],
) -> cloudwatch.Alarm:
    """Tell people through `topic` when `metric` meets the condition: by default, when it is 1 or more in a period."""
    made = metric.create_alarm(
        scope,
        construct_id,
        alarm_description=description,
        threshold=condition.get("threshold", 1),
        comparison_operator=condition.get("comparison", AT_LEAST),
        evaluation_periods=condition.get("periods", 1),
        treat_missing_data=condition.get("missing", cloudwatch.TreatMissingData.NOT_BREACHING),
    )
    made.add_alarm_action(actions.SnsAction(topic))
    return made
