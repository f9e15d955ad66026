"""People: roles for a data engineer, a data scientist and an auditor, for those whom the settings name.

Provisions  a role for each of the three that somebody is named for, all within one permissions boundary; for data
            scientists also the role and the security group of what they start.
Inputs      a KMS key, a VPC, the ML image's repository, the raw, quarantine, curated, models and Athena results
            buckets, the catalogue database.
Outputs     `roles`, by title.
Costs       nothing.
Copy        this file and components/{auditing,base,experiments,findings,permissions,person_role,principal}.py,
            components/{role,sagemaker_pipeline,sagemaker_role}.py.
"""

from collections.abc import Sequence

from aws_cdk import Aws, CfnOutput
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct
from pydantic import Field, model_validator

from components.auditing import audit
from components.base import Deployment, Layer, Options
from components.experiments import LOG_GROUPS, start_experiments
from components.permissions import allow, allow_any_of, read_objects, replace_objects, use_key, write_objects
from components.person_role import Boundary, PersonRole
from components.principal import FORM, Principal
from components.sagemaker_pipeline import job_network
from components.sagemaker_role import ContainerRole

EXPERIMENTS_PREFIX = "experiments/"
REFERENCE_PREFIX, REDRIVEN_PREFIX = "reference/", "redriven/"
RESULTS_PREFIX = "results/"


class PeopleOptions(Options):
    data_engineers: tuple[Principal, ...] = Field((), description=f"who may be data engineer: {FORM}")
    data_scientists: tuple[Principal, ...] = Field((), description=f"who may be data scientist: {FORM}")
    auditors: tuple[Principal, ...] = Field((), description=f"who may be auditor: {FORM}")
    session_hours: int = Field(1, ge=1, le=12, description="hours after which a role must be assumed again")
    second_factor: bool = Field(
        True, description="demand MFA; off only where an identity provider has demanded it and hands on no sign of it"
    )

    @model_validator(mode="after")
    def _somebody_is_named(self) -> "PeopleOptions":
        if not (self.data_engineers or self.data_scientists or self.auditors):
            raise ValueError("name somebody in data_engineers, data_scientists or auditors, or leave people out")
        return self


class People(Layer):
    """Who may do what by hand."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: PeopleOptions,
        *,
        key: kms.IKey,
        vpc: ec2.IVpc,
        repository: ecr.IRepository,
        raw: s3.IBucket,
        quarantine: s3.IBucket,
        curated: s3.IBucket,
        models: s3.IBucket,
        athena_results: s3.IBucket,
        database: glue.IDatabase,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: roles of people")
        self._options = options
        self._boundary = Boundary(self, "Boundary")
        self.roles: dict[str, PersonRole] = {}
        passed: list[iam.Role] = []
        if options.data_engineers:
            role = self._role("DataEngineer", "Looks after data: repairs it and replays it", options.data_engineers)
            read_objects(role, raw, "")
            write_objects(role, raw, REFERENCE_PREFIX, REDRIVEN_PREFIX)
            replace_objects(role, quarantine, "")
            self._query(role, key, curated, athena_results, database)
            self._replay(role)
        if options.data_scientists:
            role = self._role("DataScientist", "Explores curated data and trains models", options.data_scientists)
            read_objects(role, models, "")
            self._query(role, key, curated, athena_results, database)
            passed.append(self._job_role(repository, key, curated, models))
            start_experiments(role, deployment.prefix, passed[0], job_network(self, vpc), key)
        if options.auditors:
            audit(self._role("Auditor", "Reads configuration and logs, and no data", options.auditors))
        self._boundary.enclose(self.roles.values(), passed)

    def _role(self, title: str, description: str, people: Sequence[Principal]) -> PersonRole:
        role = self.roles[title] = PersonRole(
            self,
            title,
            description=description,
            people=people,
            second_factor=self._options.second_factor,
            hours=self._options.session_hours,
            boundary=self._boundary,
        )
        CfnOutput(self, f"{title}RoleArn", value=role.role_arn)
        return role

    def _query(
        self, role: iam.Role, key: kms.IKey, curated: s3.IBucket, athena_results: s3.IBucket, database: glue.IDatabase
    ) -> None:
        """Query the catalogue's curated tables with Athena, in the deployment's workgroups."""
        here = f"{Aws.REGION}:{Aws.ACCOUNT_ID}"
        allow_any_of(
            role,
            "the deployment's workgroups",
            [
                "athena:GetQueryExecution",
                "athena:GetQueryResults",
                "athena:GetWorkGroup",
                "athena:StartQueryExecution",
                "athena:StopQueryExecution",
            ],
            f"arn:{Aws.PARTITION}:athena:{here}:workgroup/{self.deployment.prefix}-*",
            finding=r".*:workgroup/.*-\*",
        )
        glue_here = f"arn:{Aws.PARTITION}:glue:{here}"
        allow_any_of(
            role,
            "the tables of the deployment's database",
            ["glue:GetDatabase", "glue:GetPartition", "glue:GetPartitions", "glue:GetTable", "glue:GetTables"],
            f"{glue_here}:catalog",
            f"{glue_here}:database/{database.database_name}",
            f"{glue_here}:table/{database.database_name}/*",
            finding=r".*:table/.*/\*",
        )
        read_objects(role, curated, "")
        replace_objects(role, athena_results, RESULTS_PREFIX)
        allow(role, ["s3:GetBucketLocation"], curated.bucket_arn, athena_results.bucket_arn)
        use_key(role, key)

    def _replay(self, role: iam.Role) -> None:
        """What `python -m producers` and its redrive call besides S3."""
        here = f"{Aws.REGION}:{Aws.ACCOUNT_ID}"
        allow_any_of(
            role,
            "the deployment's streams, which CloudFormation names after their stack",
            ["kinesis:DescribeStreamSummary", "kinesis:PutRecord", "kinesis:PutRecords"],
            f"arn:{Aws.PARTITION}:kinesis:{here}:stream/{self.deployment.prefix}-*",
            finding=r".*:stream/.*-\*",
        )
        allow_any_of(
            role,
            "the deployment's delivery streams and stacks, whose names and ids end as AWS likes",
            ["firehose:DescribeDeliveryStream"],
            f"arn:{Aws.PARTITION}:firehose:{here}:deliverystream/{self.deployment.prefix}-*",
            finding=r".*:deliverystream/.*-\*",
        )
        allow_any_of(
            role,
            "a stack's ARN ends with an id that AWS gives it",
            ["cloudformation:DescribeStacks"],
            *(
                f"arn:{Aws.PARTITION}:cloudformation:{here}:stack/{self.deployment.prefix}-{layer}/*"
                for layer in ("data-lake", "streaming")
            ),
            finding=r".*:stack/.*/\*",
        )

    def _job_role(
        self, repository: ecr.IRepository, key: kms.IKey, curated: s3.IBucket, models: s3.IBucket
    ) -> ContainerRole:
        """What an experiment runs as: reads curated data, writes beside the platform's own models."""
        role = ContainerRole(
            self,
            "ExperimentRole",
            repository=repository,
            key=key,
            log_groups=LOG_GROUPS,
            in_vpc=True,
        )
        read_objects(role, curated, "")
        replace_objects(role, models, EXPERIMENTS_PREFIX)
        CfnOutput(self, "ExperimentRoleArn", value=role.role_arn)
        return role
