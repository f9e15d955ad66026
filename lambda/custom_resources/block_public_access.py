"""Custom resource Custom::AccountPublicAccessBlock: blocks public access to every bucket of the account."""

import logging
from collections.abc import Mapping
from typing import Any

import boto3
from response import custom_resource

_EVERY_WAY = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")

log = logging.getLogger()


def block_public_access(event: Mapping[str, Any]) -> dict[str, Any]:
    """On create and update, block it for `AccountId`; on delete leave it blocked, and say so in the log."""
    account = event["ResourceProperties"]["AccountId"]
    if event["RequestType"] == "Delete":
        log.warning("public access to the buckets of %s stays blocked: lifting it could open one", account)
    else:
        boto3.client("s3control").put_public_access_block(
            AccountId=account, PublicAccessBlockConfiguration=dict.fromkeys(_EVERY_WAY, True)
        )
    return {"PhysicalResourceId": f"public-access-block-{account}"}


handler = custom_resource(block_public_access)
