"""Where a job's table goes: a folder in S3, a table of the catalogue, or a table behind a Glue JDBC connection.

    s3://bucket/folder/            Parquet
    catalog://database/table       Parquet where the catalogue says that the table is
    jdbc://connection/table        rows in a database: the connection says where, its secret who

Each is replaced whole, so that a run that is repeated leaves the same table. A database's table is emptied and filled
again: it keeps its columns, grants and indexes, and who reads it meanwhile finds a part.
"""

from typing import Any
from urllib.parse import urlparse

import boto3
from pyspark.sql import DataFrame

SCHEMES = ("s3", "catalog", "jdbc")


def check(target: str) -> None:
    """Raise ValueError if this is no target."""
    parsed = urlparse(target)
    if parsed.scheme not in SCHEMES or not parsed.netloc or not parsed.path.strip("/"):
        raise ValueError(f"{target!r}: give s3://bucket/folder/, catalog://database/table or jdbc://connection/table")


def write(table: DataFrame, target: str) -> None:
    """Replace what the target holds by a table. Raises ValueError if it is none, or not ours to use."""
    check(target)
    parsed = urlparse(target)
    name = parsed.path.strip("/")
    if parsed.scheme == "jdbc":
        try:
            from glue_jobs import jdbc
        except ImportError:
            raise ValueError(f"{target!r}: this job may use no connection; set etl_jobs.jdbc and deploy") from None
        jdbc.write(table, parsed.netloc, name)
    else:
        path = table_location(boto3.client("glue"), parsed.netloc, name) if parsed.scheme == "catalog" else target
        table.write.mode("overwrite").parquet(path)


def table_location(glue: Any, database: str, name: str) -> str:
    """The folder of a catalogued table."""
    return str(glue.get_table(DatabaseName=database, Name=name)["Table"]["StorageDescriptor"]["Location"])
