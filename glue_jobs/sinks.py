"""Where a job's table goes: a folder in S3, a table of the catalogue, or a table behind a Glue JDBC connection.

    s3://bucket/folder/            Parquet
    catalog://database/table       Parquet where the catalogue says that the table is
    jdbc://connection/table        rows in a database: the connection says where, its secret who

Each is replaced whole, so that a run that is repeated leaves the same table. A database's table is emptied and filled
again: it keeps its columns, grants and indexes, and who reads it meanwhile finds a part.
"""

import json
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
    """Replace what the target holds by a table. Raises ValueError if it is no target, or has none of ours there."""
    check(target)
    parsed = urlparse(target)
    name = parsed.path.strip("/")
    if parsed.scheme == "jdbc":
        location = jdbc_location(boto3.client("glue"), boto3.client("secretsmanager"), parsed.netloc)
        write_jdbc(table, name, **location)
    else:
        path = table_location(boto3.client("glue"), parsed.netloc, name) if parsed.scheme == "catalog" else target
        table.write.mode("overwrite").parquet(path)


def table_location(glue: Any, database: str, name: str) -> str:
    """The folder of a catalogued table."""
    return str(glue.get_table(DatabaseName=database, Name=name)["Table"]["StorageDescriptor"]["Location"])


def jdbc_location(glue: Any, secrets: Any, connection: str) -> dict[str, str]:
    """The URL, user and password of a Glue connection. Raises ValueError unless its password is in a secret."""
    properties = glue.get_connection(Name=connection, HidePassword=True)["Connection"]["ConnectionProperties"]
    if missing := [name for name in ("JDBC_CONNECTION_URL", "SECRET_ID") if name not in properties]:
        raise ValueError(f"the connection {connection} has no {' and no '.join(missing)}: use a secret of its database")
    secret = json.loads(secrets.get_secret_value(SecretId=properties["SECRET_ID"])["SecretString"])
    return {"url": properties["JDBC_CONNECTION_URL"], "user": secret["username"], "password": secret["password"]}


def write_jdbc(table: DataFrame, name: str, *, url: str, user: str, password: str) -> None:
    """Empty a database's table and fill it; it is made if there is none."""
    properties = {"user": user, "password": password, "truncate": "true"}
    table.write.mode("overwrite").jdbc(url, name, properties=properties)
