"""Rules of data quality on a catalogued table, evaluated by Glue on a schedule."""

from collections.abc import Mapping

from aws_cdk import Aws, Stack
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from components.findings import explain
from components.parquet_table import CataloguedTable, read_tables
from components.permissions import allow, allow_any_of, before, decrypt, get_objects, put_metrics
from components.role import ServiceRole

# A run reads itself by its id, of whatever ruleset it is, and says how it went.
# docs.aws.amazon.com/glue/latest/dg/data-quality-authorization.html
_RUN = ["glue:GetDataQualityRulesetEvaluationRun", "glue:PublishDataQuality"]


class DataQuality(Construct):
    """The ruleset `rules` (DQDL) of a table; its ReferentialIntegrity may name tables of `others` by their alias.

    With `schedule` it is evaluated then, on the whole table, as the table is; without on demand. Glue sees partitions
    that are registered, not those that Athena projects.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        rules: str,
        primary: CataloguedTable,
        others: Mapping[str, CataloguedTable],
        description: str,
        database: glue.IDatabase,
        key: kms.IKey,
        schedule: str | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.ruleset = glue.CfnDataQualityRuleset(
            self,
            "Ruleset",
            name=name,
            description=description,
            ruleset=rules,
            target_table=glue.CfnDataQualityRuleset.DataQualityTargetTableProperty(
                database_name=database.database_name, table_name=primary.table.table_name
            ),
        )
        self.role = self._role(key)
        read_tables(self.role, database, primary, *others.values())
        if schedule:
            self._schedule(schedule, primary, others, database)

    def _role(self, key: kms.IKey) -> ServiceRole:
        role = ServiceRole(self, "Role", "glue")
        decrypt(role, key)
        allow(role, ["glue:GetDataQualityRuleset"], self._arn())
        every = f"arn:{Aws.PARTITION}:glue:{Aws.REGION}:{Aws.ACCOUNT_ID}:dataQualityRuleset/*"
        allow_any_of(role, "a run names no ruleset to IAM", _RUN, every, finding=r".*:dataQualityRuleset/\*")
        put_metrics(role, "Glue Data Quality")
        # Spark looks for the default database, whatever it reads, and Glue's own libraries are in a bucket of AWS:
        # docs.aws.amazon.com/glue/latest/dg/data-quality-trouble.html
        default = Stack.of(self).format_arn(service="glue", resource="database", resource_name="default")
        allow(role, ["glue:GetDatabase"], default)
        assets = s3.Bucket.from_bucket_name(self, "Assets", f"aws-glue-ml-data-quality-assets-{Aws.REGION}")
        get_objects(role, assets, "")
        allow_any_of(
            role,
            "Glue names the log groups of its runs itself",
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
            f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:/aws-glue/*",
            finding=r".*:log-group:/aws-glue/\*",
        )
        return role

    def _schedule(
        self,
        expression: str,
        primary: CataloguedTable,
        others: Mapping[str, CataloguedTable],
        database: glue.IDatabase,
    ) -> None:
        """A Glue trigger starts jobs and crawlers alone, EventBridge's scheduler any API."""
        role = ServiceRole(self, "ScheduleRole", "scheduler")
        allow(role, ["glue:StartDataQualityRulesetEvaluationRun"], self._arn())
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["iam:PassRole"],
                resources=[self.role.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "glue.amazonaws.com"}},
            )
        )

        def source(each: CataloguedTable) -> dict[str, dict[str, str]]:
            return {"GlueTable": {"DatabaseName": database.database_name, "TableName": each.table.table_name}}

        run = {
            "DataSource": source(primary),
            "AdditionalDataSources": {alias: source(each) for alias, each in others.items()},
            # Without metrics EventBridge hears nothing: docs.aws.amazon.com/glue/latest/dg/data-quality-alerts.html
            "AdditionalRunOptions": {"CloudWatchMetricsEnabled": True},
            "NumberOfWorkers": 2,
            "Timeout": 60,
            "Role": self.role.role_arn,
            "RulesetNames": [self.ruleset.ref],
        }
        schedule = scheduler.CfnSchedule(
            self,
            "Schedule",
            description="Evaluates a table's rules of data quality",
            schedule_expression=expression,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=f"arn:{Aws.PARTITION}:scheduler:::aws-sdk:glue:startDataQualityRulesetEvaluationRun",
                input=Stack.of(self).to_json_string({name: value for name, value in run.items() if value}),
                role_arn=role.role_arn,
            ),
        )
        before(role, schedule)
        before(self.role, schedule)
        explain(schedule, "event-dead-letter", "the next evaluation looks at the same table")

    def _arn(self) -> str:
        return Stack.of(self).format_arn(service="glue", resource="dataQualityRuleset", resource_name=self.ruleset.ref)
