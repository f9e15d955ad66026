"""Catalogued Parquet tables over one prefix: partitioned by day through partition projection, or whole."""

from collections.abc import Sequence

from aws_cdk import aws_glue as glue
from aws_cdk import aws_s3 as s3
from constructs import Construct

PARTITION_KEYS = ("year", "month", "day")
_TYPES = {
    "string": glue.Schema.STRING,
    "int": glue.Schema.INTEGER,
    "bigint": glue.Schema.BIG_INT,
    "double": glue.Schema.DOUBLE,
    "boolean": glue.Schema.BOOLEAN,
    "timestamp": glue.Schema.TIMESTAMP,
}


class DayPartitionedTable(glue.S3Table):
    """`s3://bucket/prefix/year=2013/month=01/day=05/`, known to Athena without a crawler or MSCK.

    `columns` are (name, Glue type) pairs; the partition keys are integers.
    """

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
        integer = glue.PartitionProjectionConfiguration.integer
        super().__init__(
            scope,
            construct_id,
            database=database,
            storage=glue.S3TableStorage.from_bucket(bucket),
            s3_prefix=prefix,
            table_name=table_name,
            description=description,
            data_format=glue.DataFormat.PARQUET,
            columns=[_column(name, glue_type) for name, glue_type in columns],
            partition_keys=[_column(name, "int") for name in PARTITION_KEYS],
            partition_projection={
                "year": integer(min=2000, max=2100, digits=4),
                "month": integer(min=1, max=12, digits=2),
                "day": integer(min=1, max=31, digits=2),
            },
            parameters={
                "storage.location.template": bucket.s3_url_for_object(prefix)
                + "year=${year}/month=${month}/day=${day}/"
            },
        )


class ParquetTable(glue.S3Table):
    """The Parquet files of one folder, `s3://bucket/prefix/`. `columns` are (name, Glue type) pairs."""

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
            storage=glue.S3TableStorage.from_bucket(bucket),
            s3_prefix=prefix,
            table_name=table_name,
            description=description,
            data_format=glue.DataFormat.PARQUET,
            columns=[_column(name, glue_type) for name, glue_type in columns],
        )


def _column(name: str, glue_type: str) -> glue.Column:
    return glue.Column(name=name, type=_TYPES[glue_type])
