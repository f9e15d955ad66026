"""Crawlers: what finds schemas and partitions, and never changes a schema that is there already.

A changed schema is logged, under /aws-glue/crawlers-role/<role>-<security configuration>, not applied: LOG.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from components.parquet_table import CataloguedTable, read_tables
from components.permissions import allow, allow_any_of, before, decrypt, read_objects, write_glue_logs
from components.role import ServiceRole

_FIND = ["glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:GetPartitions", "glue:BatchGetPartition"]
_ADD_PARTITIONS = ["glue:BatchCreatePartition"]
_ADD_TABLES = ["glue:CreateTable", "glue:UpdateTable"]
# Its network interface in the connection's subnet. docs.aws.amazon.com/glue/latest/dg/getting-started-access.html
_NETWORK = [
    *("ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:CreateTags", "ec2:DeleteTags"),
    *("ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets"),
    *("ec2:DescribeRouteTables", "ec2:DescribeVpcAttribute", "ec2:DescribeVpcEndpoints"),
]


class Crawler(glue.CfnCrawler):
    """A crawler with a role of its own and encrypted logs; it adds tables named `prefix`* or none.

    Without `schedule`, a cron expression, somebody or a workflow starts it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        key: kms.IKey,
        encryption: glue.ISecurityConfiguration,
        database: glue.IDatabase,
        description: str,
        targets: glue.CfnCrawler.TargetsProperty,
        prefix: str = "",
        new_folders_only: bool = False,
        configuration: Mapping[str, Any] | None = None,
        schedule: str | None = None,
    ) -> None:
        self.own_role = role = ServiceRole(scope, f"{construct_id}Role", "glue")
        decrypt(role, key)
        write_glue_logs(role, key)
        if prefix:
            _add_tables(role, database, prefix)
        super().__init__(
            scope,
            construct_id,
            description=description,
            role=role.without_policy_updates().role_arn,
            database_name=database.database_name,
            table_prefix=prefix or None,
            targets=targets,
            crawler_security_configuration=encryption.security_configuration_name,
            schema_change_policy=glue.CfnCrawler.SchemaChangePolicyProperty(
                update_behavior="LOG", delete_behavior="LOG"
            ),
            recrawl_policy=glue.CfnCrawler.RecrawlPolicyProperty(
                recrawl_behavior="CRAWL_NEW_FOLDERS_ONLY" if new_folders_only else "CRAWL_EVERYTHING"
            ),
            schedule=glue.CfnCrawler.ScheduleProperty(schedule_expression=schedule) if schedule else None,
            configuration=json.dumps({"Version": 1.0, **(configuration or {})}, sort_keys=True),
        )
        before(role, self)


class FolderCrawler(Crawler):
    """One table for each of `folders` of a bucket, whose subfolders are its partitions.

    With `new_folders_only` a later crawl adds partitions and nothing else, so the first has to find data:
    https://docs.aws.amazon.com/glue/latest/dg/incremental-crawls.html
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        folders: Sequence[str],
        prefix: str,
        **rest: Any,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            prefix=prefix,
            targets=glue.CfnCrawler.TargetsProperty(
                s3_targets=[
                    glue.CfnCrawler.S3TargetProperty(path=bucket.s3_url_for_object(folder)) for folder in folders
                ]
            ),
            configuration={
                "CrawlerOutput": {"Partitions": {"AddOrUpdateBehavior": "InheritFromTable"}},
                # A file that fits badly is no table of its own.
                "Grouping": {"TableGroupingPolicy": "CombineCompatibleSchemas"},
            },
            **rest,
        )
        read_objects(self.own_role, bucket, *folders)


class PartitionCrawler(Crawler):
    """Registers the partitions of tables that are there; their schema it may not change.

    Athena projects partitions and needs none of this. Glue's data quality and Redshift Spectrum do:
    https://docs.aws.amazon.com/athena/latest/ug/partition-projection.html
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        tables: Sequence[CataloguedTable],
        database: glue.IDatabase,
        **rest: Any,
    ) -> None:
        names = [each.table.table_name for each in tables]
        target = glue.CfnCrawler.CatalogTargetProperty(database_name=database.database_name, tables=names)
        super().__init__(
            scope,
            construct_id,
            database=database,
            targets=glue.CfnCrawler.TargetsProperty(catalog_targets=[target]),
            **rest,
        )
        read_tables(self.own_role, database, *tables)
        owned = [each.table.table_arn for each in tables]
        allow(self.own_role, _ADD_PARTITIONS, _catalog(self.own_role), database.database_arn, *owned)


class DatabaseCrawler(Crawler):
    """One table a table of a relational database, through a Glue connection that is there already."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        connection: str,
        path: str,
        secret_arn: str | None,
        prefix: str,
        **rest: Any,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            prefix=prefix,
            targets=glue.CfnCrawler.TargetsProperty(
                jdbc_targets=[glue.CfnCrawler.JdbcTargetProperty(connection_name=connection, path=path)]
            ),
            **rest,
        )
        own = Stack.of(self).format_arn(service="glue", resource="connection", resource_name=connection)
        allow(self.own_role, ["glue:GetConnection"], _catalog(self.own_role), own)
        allow_any_of(self.own_role, "Glue names the network interface that it makes", _NETWORK, "*", finding=r"\*")
        if secret_arn:
            allow(self.own_role, ["secretsmanager:GetSecretValue"], secret_arn)


def _add_tables(role: ServiceRole, database: glue.IDatabase, prefix: str) -> None:
    """Find and add tables whose names begin with `prefix`."""
    tables = Stack.of(role).format_arn(
        service="glue", resource="table", resource_name=f"{database.database_name}/{prefix}*"
    )
    allow_any_of(
        role,
        "the tables that it finds, all with its prefix",
        [*_FIND, *_ADD_PARTITIONS, *_ADD_TABLES],
        _catalog(role),
        database.database_arn,
        tables,
        finding=rf".*:table/.*/{prefix}\*",
    )


def _catalog(role: ServiceRole) -> str:
    return Stack.of(role).format_arn(service="glue", resource="catalog")
