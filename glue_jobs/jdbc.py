"""Tables behind a Glue JDBC connection. Shipped only with jobs whose role may read the connection and its secret."""

import json
from typing import Any

import boto3
from pyspark.sql import DataFrame


def write(table: DataFrame, connection: str, name: str) -> None:
    """Empty a database's table and fill it; it is made if there is none."""
    url, properties = locate(boto3.client("glue"), boto3.client("secretsmanager"), connection)
    table.write.mode("overwrite").jdbc(url, name, properties=properties | {"truncate": "true"})


def locate(glue: Any, secrets: Any, connection: str) -> tuple[str, dict[str, str]]:
    """The URL of a Glue connection, with user and password. Raises ValueError unless these are in a secret."""
    properties = glue.get_connection(Name=connection, HidePassword=True)["Connection"]["ConnectionProperties"]
    if missing := [name for name in ("JDBC_CONNECTION_URL", "SECRET_ID") if name not in properties]:
        raise ValueError(f"the connection {connection} has no {' and no '.join(missing)}: use a secret of its database")
    secret = json.loads(secrets.get_secret_value(SecretId=properties["SECRET_ID"])["SecretString"])
    return properties["JDBC_CONNECTION_URL"], {"user": secret["username"], "password": secret["password"]}
