"""Account settings: two that belong to a whole account, so that nothing touches them unless it is asked to.

Provisions  the Glue catalogue's encryption; the block of public access to every bucket of the account. Both are of
            the account, not of this deployment: ask for them in one deployment only.
Inputs      a KMS key.
Costs       nothing; each request to an encrypted catalogue is also one to KMS ($0.03 per 10,000).
Leaves      the block of public access stays when the stack is destroyed: lifting it could open a bucket.
Copy        this file, components/{base,findings,function,log_group,permissions,role}.py and lambda/custom_resources.
"""

from aws_cdk import Aws, CustomResource, Duration
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kms as kms
from constructs import Construct
from pydantic import Field

from components.base import Deployment, Layer, Options
from components.function import Function
from components.permissions import allow_any_of


class AccountSettingsOptions(Options):
    glue_catalog_encryption: bool = Field(False, description="encrypt the account's whole Glue catalogue in the region")
    s3_block_public_access: bool = Field(False, description="block public access to every bucket of the account")

    @property
    def wanted(self) -> bool:
        """Whether anything is asked for."""
        return self.glue_catalog_encryption or self.s3_block_public_access


class AccountSettings(Layer):
    """What is asked for of the whole account."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: AccountSettingsOptions,
        *,
        key: kms.IKey,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: settings of the whole account")
        if options.glue_catalog_encryption:
            self._encrypt_catalogue(key)
        if options.s3_block_public_access:
            self._block_public_access(key)

    def _encrypt_catalogue(self, key: kms.IKey) -> None:
        encryption = glue.CfnDataCatalogEncryptionSettings
        encryption(
            self,
            "CatalogEncryption",
            catalog_id=Aws.ACCOUNT_ID,
            data_catalog_encryption_settings=encryption.DataCatalogEncryptionSettingsProperty(
                encryption_at_rest=encryption.EncryptionAtRestProperty(
                    catalog_encryption_mode="SSE-KMS", sse_aws_kms_key_id=key.key_arn
                ),
                connection_password_encryption=encryption.ConnectionPasswordEncryptionProperty(
                    return_connection_password_encrypted=True, kms_key_id=key.key_arn
                ),
            ),
        )

    def _block_public_access(self, key: kms.IKey) -> None:
        blocker = Function(
            self,
            "BlockPublicAccess",
            self.deployment,
            folder="custom_resources",
            handler="block_public_access.handler",
            key=key,
            failures_reach="CloudFormation, which the function always answers",
            description="Blocks public access to every bucket of the account, which CloudFormation can't",
        )
        allow_any_of(
            blocker.permissions,
            "s3:PutAccountPublicAccessBlock has no resource-level permission",
            ["s3:PutAccountPublicAccessBlock"],
            "*",
            finding=r"\*",
        )
        CustomResource(
            self,
            "PublicAccessBlock",
            resource_type="Custom::AccountPublicAccessBlock",
            service_token=blocker.function_arn,
            properties={"AccountId": Aws.ACCOUNT_ID},
            service_timeout=Duration.minutes(2),
        )
