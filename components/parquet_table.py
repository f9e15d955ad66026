"""Catalogued Parquet tables whose partitions Athena projects: no crawler finds them, no MSCK."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aws_cdk import Stack
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from components.layout import DATE, DIGITS, Layout
from components.permissions import allow, read_objects

_TYPES = {"string": glue.Schema.STRING, "int": glue.Schema.INTEGER, "double": glue.Schema.DOUBLE}
_RANGES = {"year": (2000, 2100), "month": (1, 12), "day": (1, 31)}


class ProjectedTable(glue.S3Table):
    """Parquet objects in the folders of `layout`, whose keys are its partition keys.

    `columns` are (name, Glue type) pairs. `values` lists those of each key that is no part of a date.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        database: glue.IDatabase,
        bucket: s3.IBucket,
        layout: Layout,
        values: Mapping[str, Sequence[str]] | None = None,
        table_name: str,
        columns: Sequence[tuple[str, str]],
        description: str,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            database=database,
            storage=glue.S3TableStorage.from_bucket(bucket),
            s3_prefix=layout.prefix,
            table_name=table_name,
            description=description,
            data_format=glue.DataFormat.PARQUET,
            columns=[_column(name, glue_type) for name, glue_type in columns],
            partition_keys=[_column(key, "int" if key in DIGITS else "string") for key in layout.keys],
            partition_projection={key: _projection(key, values or {}) for key in layout.keys},
            parameters={"storage.location.template": bucket.s3_url_for_object(layout.template)},
        )


class DayPartitionedTable(ProjectedTable):
    """`s3://bucket/prefix/year=2013/month=01/day=05/`; the partition keys are integers."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        database: glue.IDatabase,
        bucket: s3.IBucket,
        prefix: str,
        table_name: str,
        columns: Sequence[tuple[str, str]],
        description: str,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            database=database,
            bucket=bucket,
            layout=Layout(prefix, DATE, named=True),
            table_name=table_name,
            columns=columns,
            description=description,
        )


class CataloguedTable(NamedTuple):
    """A table of the catalogue, and the folder of a bucket that its objects are under."""

    table: glue.ITable
    bucket: s3.IBucket
    folder: str


def read_tables(role: iam.Role, database: glue.IDatabase, *tables: CataloguedTable) -> None:
    """Read tables with their registered partitions, and their objects."""
    catalog = Stack.of(role).format_arn(service="glue", resource="catalog")
    actions = ["glue:GetDatabase", "glue:GetTable", "glue:GetPartitions", "glue:BatchGetPartition"]
    allow(role, actions, catalog, database.database_arn, *(each.table.table_arn for each in tables))
    for each in tables:
        read_objects(role, each.bucket, each.folder)


def _projection(key: str, values: Mapping[str, Sequence[str]]) -> glue.PartitionProjectionConfiguration:
    if key in DIGITS:
        least, most = _RANGES[key]
        return glue.PartitionProjectionConfiguration.integer(min=least, max=most, digits=DIGITS[key])
    return glue.PartitionProjectionConfiguration.enum(values=list(values[key]))


def _column(name: str, glue_type: str) -> glue.Column:
    return glue.Column(name=name, type=_TYPES[glue_type])
