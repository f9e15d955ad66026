"""Training: a pipeline that turns curated flights into a registered model package.

Provisions  a SageMaker pipeline (features, train, evaluate, gate, register) with its roles; the model package group.
Inputs      a KMS key, the ML image, the curated and models buckets, optionally a VPC for the jobs.
Outputs     `pipeline`, `model_package_group`.
Costs       nothing idle; a run is three ml.m7i.large jobs of a few minutes, about $0.05.
Copy        this file, components/{base,findings,function,log_group,permissions,role,sagemaker_role,
            sagemaker_pipeline}.py, pipelines, ml, lambda/custom_resources.
"""

from aws_cdk import Aws, CfnOutput, CustomResource, Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct
from pydantic import Field

from components.base import Deployment, Layer, Options
from components.function import Function
from components.permissions import allow, allow_any_of, decrypt, pull_image, read_objects, write_objects
from components.sagemaker_pipeline import Pipeline, job_network
from components.sagemaker_role import ContainerRole
from pipelines import training

CURATED_PREFIX = "flights/"
PIPELINES_PREFIX = "pipelines/"


class TrainingOptions(Options):
    instance_type: str = Field("ml.m7i.large", pattern=r"^ml\.", description="instances of the jobs")
    volume_gb: int = Field(10, ge=1, le=1000, description="disk of each job")
    max_minutes: int = Field(60, ge=5, le=1440, description="minutes after which a job is stopped")
    holdout_days: int = Field(15, ge=1, le=365, description="last days of the data, kept for the evaluation")
    minimum_auc: float = Field(
        0.6, ge=0.5, le=1.0, description="AUC on the held-out days below which nothing registers"
    )
    rounds: int = Field(200, ge=1, le=5000, description="XGBoost trees")
    max_depth: int = Field(6, ge=1, le=20, description="depth of an XGBoost tree")
    learning_rate: float = Field(0.05, gt=0, le=1, description="XGBoost learning rate")


class Training(Layer):
    """Curated flights -> features -> model -> evaluation -> registered package."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: TrainingOptions,
        *,
        key: kms.IKey,
        vpc: ec2.IVpc | None,
        repository: ecr.IRepository,
        image_uri: str,
        curated: s3.IBucket,
        models: s3.IBucket,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: the training pipeline and the model registry")
        self.model_package_group = f"{deployment.prefix}-flight-delays"
        group = sagemaker.CfnModelPackageGroup(
            self,
            "Models",
            model_package_group_name=self.model_package_group,
            model_package_group_description="Probability that a flight arrives more than 15 minutes late",
        )
        group.apply_removal_policy(deployment.removal_policy)
        if not deployment.retain:
            self._empty_on_delete(group, key)

        role = ContainerRole(
            self,
            "JobRole",
            repository=repository,
            key=key,
            log_groups=["/aws/sagemaker/ProcessingJobs", "/aws/sagemaker/TrainingJobs"],
            in_vpc=vpc is not None,
        )
        read_objects(role, curated, CURATED_PREFIX)
        read_objects(role, models, PIPELINES_PREFIX)
        write_objects(role, models, PIPELINES_PREFIX)
        name = f"{deployment.prefix}-training"
        self.pipeline = Pipeline(
            self,
            "Pipeline",
            name=name,
            description="Features, training, evaluation, gate and registration of the flight-delay model",
            container_role=role,
            definition=training.definition(
                training.TrainingPipeline(
                    image_uri=image_uri,
                    role_arn=role.role_arn,
                    kms_key_id=key.key_arn,
                    curated_uri=curated.s3_url_for_object(CURATED_PREFIX),
                    output_uri=models.s3_url_for_object(f"{PIPELINES_PREFIX}{name}"),
                    model_package_group=self.model_package_group,
                    instance_type=options.instance_type,
                    volume_gb=options.volume_gb,
                    max_runtime_seconds=options.max_minutes * 60,
                    holdout_days=options.holdout_days,
                    minimum_auc=options.minimum_auc,
                    hyperparameters={
                        "n_estimators": options.rounds,
                        "max_depth": options.max_depth,
                        "learning_rate": options.learning_rate,
                    },
                    vpc_config=job_network(self, vpc) if vpc else None,
                )
            ),
        )
        self._allow_registration(models, repository, key)
        CfnOutput(self, "TrainingPipelineName", value=self.pipeline.name)
        CfnOutput(self, "ModelPackageGroupName", value=self.model_package_group)

    def _allow_registration(self, models: s3.IBucket, repository: ecr.IRepository, key: kms.IKey) -> None:
        role = self.pipeline.role
        pull_image(role, repository)  # registering looks at the image and at the model
        allow(role, ["ecr:DescribeImages"], repository.repository_arn)
        decrypt(role, key)
        self._allow_packages(
            role, ["sagemaker:CreateModelPackage", "sagemaker:DescribeModelPackage", "sagemaker:AddTags"]
        )
        read_objects(role, models, PIPELINES_PREFIX)  # the gate reads the evaluation

    def _allow_packages(self, role: iam.Role, actions: list[str]) -> None:
        here = f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}"
        allow_any_of(
            role,
            "the versions of one group, which SageMaker numbers",
            actions,
            f"{here}:model-package-group/{self.model_package_group}",
            f"{here}:model-package/{self.model_package_group}/*",
            finding=r".*:model-package/.*/\*",
        )

    def _empty_on_delete(self, group: sagemaker.CfnModelPackageGroup, key: kms.IKey) -> None:
        emptier = Function(
            self,
            "EmptyGroup",
            self.deployment,
            folder="custom_resources",
            handler="empty_model_group.handler",
            key=key,
            failures_reach="CloudFormation, which waits for the answer",
            description="Deletes the group's packages before the group, which CloudFormation would refuse",
            timeout=Duration.minutes(5),
        )
        self._allow_packages(emptier.permissions, ["sagemaker:DeleteModelPackage"])
        allow_any_of(
            emptier.permissions,
            "a list of packages has no resource-level permission",
            ["sagemaker:ListModelPackages"],
            "*",
            finding=r"\*",
        )
        resource = CustomResource(
            self,
            "EmptyOnDelete",
            resource_type="Custom::EmptyModelGroup",
            service_token=emptier.function_arn,
            properties={"ModelPackageGroupName": self.model_package_group},
            service_timeout=Duration.minutes(5),
        )
        resource.node.add_dependency(group)
