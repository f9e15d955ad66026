"""What the tests of stream consumers give a function: a batch and a context as Lambda does, and a table to write to."""

import base64
import json
from types import SimpleNamespace
from typing import Any

import boto3


def context(name: str) -> SimpleNamespace:
    """What Powertools reads of a context."""
    return SimpleNamespace(
        function_name=name,
        memory_limit_in_mb=256,
        invoked_function_arn=f"arn:aws:lambda:eu-west-1:123456789012:function:{name}",
        aws_request_id="1",
    )


def records(*values: dict[str, Any]) -> dict[str, Any]:
    """A batch of Kinesis records in JSON; their sequence numbers count up from 0."""
    encoded = (base64.b64encode(json.dumps(value).encode()).decode() for value in values)
    return {"Records": [{"kinesis": {"sequenceNumber": str(n), "data": data}} for n, data in enumerate(encoded)]}


def create_table(name: str, key: str) -> None:
    """A table as the stacks make it, whose key is a text."""
    boto3.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
