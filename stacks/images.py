"""Images: source pictures and their thumbnails, each kept the way that suits what it would cost to lose it.

Provisions  buckets pictures (archived at 60 days) and thumbnails (One Zone-IA from the start, gone at 60 days), with
            their access logs; a Lambda function that makes a thumbnail of each new picture; a queue for those it
            could not make, its alarm, and an encrypted topic that the alarm publishes to.
Inputs      a KMS key.
Outputs     `pictures`, `thumbnails`.
Costs       the alarm $0.10 a month; a GB of pictures $0.023 a month, $0.0036 archived; a GB of thumbnails $0.01, each
            of which counts as 128 KB at least.
Copy        this file, components/{alerts,base,bucket,bucket_policy,dead_letters,findings,function,lifecycle,log_group,
            permissions,role}.py, lambda/thumbnails and build/vendored/thumbnails.
"""

from aws_cdk import CfnOutput, CrossStackReferences, Duration, ReferenceStrength
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from constructs import Construct
from pydantic import Field

from components.alerts import Alerts, Email
from components.base import Deployment, Layer, Options
from components.bucket import ZoneBucket, own_auto_delete_logs
from components.dead_letters import DeadLetters, waiting_in
from components.function import Function
from components.lifecycle import Rule, StorageClass, recoverable
from components.permissions import allow, get_objects, put_objects, use_key


class ImagesOptions(Options):
    archive_days: int = Field(60, ge=1, description="days after which pictures are archived: 3 to 5 hours to restore")
    thumbnail_days: int = Field(60, ge=1, description="days that thumbnails are kept; One Zone-IA charges for 30")
    longest_side: int = Field(
        1024, ge=64, le=4096, description="pixels of a thumbnail's longer side; below 56 KB Standard would be cheaper"
    )
    access_log_days: int = Field(365, ge=1, description="days that access logs are kept")
    alert_email: Email | None = Field(None, description="who is told of unmade thumbnails")


class Images(Layer):
    """Picture -> EventBridge -> function -> thumbnail."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: ImagesOptions,
        *,
        key: kms.IKey,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: pictures and their thumbnails")
        logs = ZoneBucket(
            self,
            "AccessLogs",
            deployment,
            lifecycle_rules=[Rule(name="logs", expire_days=options.access_log_days)],
        )
        archived = Rule(name="archive", transitions={StorageClass.GLACIER: options.archive_days})
        self.pictures = ZoneBucket(
            self,
            "Pictures",
            deployment,
            key=key,
            access_logs=logs,
            versioned=True,
            publish_events=True,
            lifecycle_rules=[archived, recoverable(30, 365)],
        )
        self.thumbnails = ZoneBucket(
            self,
            "Thumbnails",
            deployment,
            key=key,
            access_logs=logs,
            lifecycle_rules=[Rule(name="made-again-on-demand", expire_days=options.thumbnail_days)],
        )
        self._make_thumbnails(options, key)
        if not deployment.retain:
            own_auto_delete_logs(self, deployment, key)
        for bucket in (self.pictures, self.thumbnails):
            CrossStackReferences.of(bucket).produce(ReferenceStrength.STRONG)
        CfnOutput(self, "PicturesBucketName", value=self.pictures.bucket_name)
        CfnOutput(self, "ThumbnailsBucketName", value=self.thumbnails.bucket_name)

    def _make_thumbnails(self, options: ImagesOptions, key: kms.IKey) -> None:
        function = Function(
            self,
            "MakeThumbnail",
            self.deployment,
            folder="thumbnails",
            key=key,
            failures_reach="a queue, by its event invoke configuration",
            description="Makes a thumbnail of a new picture, into One Zone-IA",
            timeout=Duration.minutes(1),
            memory_mb=1536,  # a whole processor is at 1,769; 100 million pixels need a third of it and more
            environment={
                "THUMBNAILS_BUCKET": self.thumbnails.bucket_name,
                "LONGEST_SIDE": str(options.longest_side),
            },
        )
        get_objects(function.permissions, self.pictures, "")
        put_objects(function.permissions, self.thumbnails, "")
        use_key(function.permissions, key)
        unmade = DeadLetters(self, "UnmadeThumbnails", self.deployment, key=key)
        Alerts(self, "Alerts", key=key, email=options.alert_email).alarm(
            "ThumbnailsUnmade",
            waiting_in(unmade.queue_name),
            "A thumbnail could not be made: the queue's messages name the picture and the error",
        )
        # What is no picture fails three times and ends here, with the event and the error that names the object.
        lambda_.EventInvokeConfig(
            self,
            "Unreadable",
            function=function,
            retry_attempts=2,
            on_failure=destinations.SqsDestination(unmade),
        )
        allow(function.permissions, ["sqs:SendMessage"], unmade.queue_arn)
        events.Rule(
            self,
            "NewPicture",
            description="A new picture gets its thumbnail",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={"bucket": {"name": [self.pictures.bucket_name]}},
            ),
            targets=[targets.LambdaFunction(function, dead_letter_queue=unmade, retry_attempts=8)],
        )
