"""What the tests of stream consumers give a function: the context that Lambda does, and a table to write to."""

from types import SimpleNamespace

import boto3


def context(name: str) -> SimpleNamespace:
    """What Powertools reads of a context."""
    return SimpleNamespace(
        function_name=name,
        memory_limit_in_mb=256,
        invoked_function_arn=f"arn:aws:lambda:eu-west-1:123456789012:function:{name}",
        aws_request_id="1",
    )


def create_table(name: str, key: str) -> None:
    """A table as the stacks make it, whose key is a text."""
    boto3.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
