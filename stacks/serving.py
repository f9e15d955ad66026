"""Serving: an endpoint that answers with the approved model, and the roll-out that an approval sets off.

Provisions  a model, endpoint configuration and endpoint; a predict function that calls it and captures what it
            answered; the approval rule and the function that puts an approved model package into this stack; a queue
            of the roll-outs that failed or were rolled back, for people to look at and delete.
Inputs      a KMS key, the ML image, a VPC (real-time only), the models and captured buckets, the package group's name.
Outputs     `endpoint_name`, `predict`, `deploy`, `failed_roll_outs`.
Parameter   ModelPackageArn: the model that serves; by default the image's baseline, the base rate. CloudFormation
            alone writes the endpoint: a later `cdk deploy` keeps the parameter, and a roll-out that fails rolls back.
Costs       serverless: nothing idle, $0.00004 a second and 2 GB in use; real-time: two ml.c7i.large $5.10 a day.
Copy        this file, components/{base,dead_letters,endpoint,findings,function,log_group,permissions,role,
            sagemaker_role}.py, lambda/predict and lambda/deploy_model.
"""

from aws_cdk import Aws, CfnOutput, CfnParameter, Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_s3 as s3
from constructs import Construct

from components.base import Deployment, Layer
from components.dead_letters import DeadLetters
from components.endpoint import BASELINE, LOG_GROUPS, Endpoint, EndpointOptions
from components.findings import explain
from components.function import Function
from components.permissions import allow, allow_any_of, put_objects, read_objects, use_key, write_objects
from components.sagemaker_role import ContainerRole

MODELS_PREFIX = "pipelines/"


class ServingOptions(EndpointOptions):
    """How the endpoint is billed and sized."""


class Serving(Layer):
    """Approved package -> endpoint -> predictions and their capture."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: ServingOptions,
        *,
        key: kms.IKey,
        vpc: ec2.IVpc | None,
        repository: ecr.IRepository,
        image_uri: str,
        models: s3.IBucket,
        captured: s3.IBucket,
        model_package_group: str,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: the endpoint and its roll-out")
        package = CfnParameter(
            self,
            "ModelPackageArn",
            default=BASELINE,
            description=f"Model package that serves, or {BASELINE!r}",
        )
        self.endpoint_name = f"{deployment.prefix}-flight-delays"
        role = ContainerRole(
            self,
            "ModelRole",
            repository=repository,
            key=key,
            log_groups=[f"{LOG_GROUPS}/{self.endpoint_name}"],
            in_vpc=vpc is not None and options.kind == "realtime",
            encrypts=options.kind == "realtime",
        )
        read_objects(role, models, MODELS_PREFIX)
        if options.kind == "realtime":
            write_objects(role, captured, f"{self.endpoint_name}/")
        endpoint = Endpoint(
            self,
            "FlightDelays",
            deployment,
            options,
            name=self.endpoint_name,
            image_uri=image_uri,
            package=package,
            role=role,
            key=key,
            vpc=vpc,
            captured=captured,
        )
        self.predict = self._predict(options, key, captured, endpoint)
        self.failed_roll_outs = self._queue_of_failed_roll_outs(key)
        self.deploy = self._deploy_on_approval(key, package, model_package_group)
        CfnOutput(self, "EndpointName", value=self.endpoint_name)
        CfnOutput(self, "PredictFunctionName", value=self.predict.function_name)

    def _predict(self, options: ServingOptions, key: kms.IKey, captured: s3.IBucket, endpoint: Endpoint) -> Function:
        capturing = options.kind == "serverless"  # a real-time endpoint captures by itself
        predict = Function(
            self,
            "Predict",
            self.deployment,
            folder="predict",
            handler="capturing.handler" if capturing else "handler.handler",
            key=key,
            failures_reach="the caller",
            description="Answers for flights from the endpoint and captures what it answered",
            environment={"ENDPOINT_NAME": self.endpoint_name}
            | ({"CAPTURE_BUCKET": captured.bucket_name} if capturing else {}),
        )
        allow(
            predict.permissions,
            ["sagemaker:InvokeEndpoint"],
            f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}:endpoint/{self.endpoint_name}",
        )
        if capturing:
            put_objects(predict.permissions, captured, f"{self.endpoint_name}/")
            use_key(predict.permissions, key)
        return predict

    def _queue_of_failed_roll_outs(self, key: kms.IKey) -> DeadLetters:
        """What ended without the approved model in service: undelivered, refused, or rolled back by CloudFormation."""
        failed = DeadLetters(self, "FailedRollOuts", self.deployment, key=key)
        rule = events.Rule(
            self,
            "RolledBack",
            description="An update of this stack was rolled back: the model before it serves",
            event_pattern=events.EventPattern(
                source=["aws.cloudformation"],
                detail_type=["CloudFormation Stack Status Change"],
                detail={
                    "stack-id": [Aws.STACK_ID],
                    "status-details": {"status": ["UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED"]},
                },
            ),
        )
        # Not to the alerts' topic: events can't reach an encrypted one through a key that asks for their account,
        # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
        failed.accept(rule)
        cfn_rule = rule.node.default_child
        cfn_rule.targets = [events.CfnRule.TargetProperty(id="FailedRollOuts", arn=failed.queue_arn)]
        explain(rule, "EventBusDLQ|event-dead-letter", "its target is a dead-letter queue")
        return failed

    def _deploy_on_approval(self, key: kms.IKey, package: CfnParameter, model_package_group: str) -> Function:
        deploy = Function(
            self,
            "DeployModel",
            self.deployment,
            folder="deploy_model",
            key=key,
            failures_reach="a queue, by its event invoke configuration",
            description="Puts an approved model package into this stack's parameter",
            timeout=Duration.minutes(15),
            environment={"STACK": Aws.STACK_ID, "PARAMETER": package.logical_id},
        )
        allow(deploy.permissions, ["cloudformation:DescribeStacks", "cloudformation:UpdateStack"], Aws.STACK_ID)
        allow_any_of(
            deploy.permissions,
            "the versions of one group, which SageMaker numbers",
            ["sagemaker:DescribeModelPackage"],
            f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}:model-package/{model_package_group}/*",
            finding=r".*:model-package/.*/\*",
        )
        # EventBridge has delivered once Lambda has queued the event: what fails later, Lambda hands over by itself.
        lambda_.EventInvokeConfig(
            self,
            "Retries",
            function=deploy,
            retry_attempts=2,
            on_failure=destinations.SqsDestination(self.failed_roll_outs),
        )
        allow(deploy.permissions, ["sqs:SendMessage"], self.failed_roll_outs.queue_arn)
        use_key(deploy.permissions, key)
        events.Rule(
            self,
            "PackageApproved",
            description="An approved model package replaces the one that serves",
            event_pattern=events.EventPattern(
                source=["aws.sagemaker"],
                detail_type=["SageMaker Model Package State Change"],
                detail={
                    "ModelPackageGroupName": [model_package_group],
                    "ModelApprovalStatus": ["Approved"],
                    # Registered as approved, or approved now: an approved package's metadata may change as well.
                    "$or": [
                        {"UpdatedModelPackageFields": ["ModelApprovalStatus"]},
                        {"UpdatedModelPackageFields": [{"exists": False}]},
                    ],
                },
            ),
            targets=[targets.LambdaFunction(deploy, dead_letter_queue=self.failed_roll_outs, retry_attempts=8)],
        )
        return deploy
