"""A DynamoDB table of what a stream tells, each item with its day of expiry."""

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from constructs import Construct

from components.base import Deployment
from components.findings import explain

EXPIRES_AT = "expires_at"  # as the functions write it


class ExpiringTable(dynamodb.Table):
    """Billed by request, encrypted, recoverable to any second; an item is gone some time after its `EXPIRES_AT`.

    `item_key` names the attribute that is the key. What is in it comes from a stream, which can fill it anew.
    """

    def __init__(
        self, scope: Construct, construct_id: str, deployment: Deployment, *, key: kms.IKey, item_key: str
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            partition_key=dynamodb.Attribute(name=item_key, type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute=EXPIRES_AT,
            deletion_protection=deployment.retain,
            removal_policy=deployment.removal_policy,
        )
        explain(
            self,
            "DynamoDBInBackupPlan|CKV_AWS_119",
            "point-in-time recovery keeps it; the stream can fill it anew",
        )
