"""Users and roles named in settings: by type and name in the deployment's account, or by a whole ARN."""

from typing import Annotated

from aws_cdk import Aws
from pydantic import StringConstraints

_PATTERN = r"^(arn:aws[a-z-]*:iam::\d{12}:)?(user|role)/[A-Za-z0-9+=,.@_*/-]*[A-Za-z0-9][A-Za-z0-9+=,.@_*/-]*$"
Principal = Annotated[str, StringConstraints(pattern=_PATTERN)]
FORM = "role/NAME or user/NAME of this account, or a whole ARN; * stands for any characters"


def principal_arn(principal: Principal) -> str:
    """Its ARN, or the pattern of ARNs if it has a *."""
    return principal if principal.startswith("arn:") else f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:{principal}"


def account_of(principal: Principal) -> str:
    """The account that it belongs to."""
    return principal.split(":")[4] if principal.startswith("arn:") else Aws.ACCOUNT_ID
