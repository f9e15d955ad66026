"""Whole platforms with settings that no environment has, held against the same rule packs."""

from typing import Any

from aws_cdk import App, Validations

from app import PACKS, Platform
from components.findings import Explained
from config.settings import validate

KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
VARIANTS: dict[str, dict[str, Any]] = {
    # a key and a network that are there already
    "existing": {
        "prefix": "millrace-existing",
        "serving": {"kind": "realtime"},
        "delay_delivery": {
            "deliver_to": "opensearch",
            "opensearch_domain_arn": "arn:aws:es:us-east-1:123456789012:domain/theirs",
        },
        "people": {"data_scientists": ["role/scientists"]},
        "foundation": {
            "existing_key_arn": KEY,
            "existing_vpc": {
                "vpc_id": "vpc-0a1b",
                "subnet_ids": ["subnet-0a", "subnet-0b"],
                "availability_zones": ["us-east-1a", "us-east-1d"],
            },
        },
    },
    # everything that is off unless asked for
    "asked": {
        "prefix": "millrace-asked",
        "alert_email": "all@example.com",
        "availability_zones": ["us-east-1b", "us-east-1d", "us-east-1f"],
        "foundation": {"zones": 3, "key_administrators": ["role/key-keepers"]},
        "audit": {"object_events": "none", "searchable": False},
        "real_time": {"alert_queues": ["arn:aws:sqs:us-east-1:123456789012:theirs"]},
        "delay_delivery": {
            "deliver_to": "redshift",
            "redshift_jdbc_url": "jdbc:redshift://theirs.123456789012.us-east-1.redshift-serverless.amazonaws.com:5439/dev",
            "redshift_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:theirs-a1b2c3",
            "redshift_secret_key_arn": KEY,
        },
        "people": {
            "auditors": ["arn:aws:iam::999999999999:role/aws-reserved/*/Auditors_*", "role/auditors"],
            "second_factor": False,
            "session_hours": 12,
        },
        "data_catalog": {
            "relational_database": {
                "connection": "bookings",
                "path": "bookings/public/%",
                "secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:bookings-1a2b3c",
                "schedule": "cron(0 1 * * ? *)",
            },
            "data_brew": True,
            "redshift_spectrum": True,
        },
        "account_settings": {"glue_catalog_encryption": True, "s3_block_public_access": True},
    },
    # another way to search
    "collection": {
        "prefix": "millrace-collection",
        "delay_delivery": {
            "deliver_to": "opensearch",
            "opensearch_collection": "https://07tjusf2h91cunochc.us-east-1.aoss.amazonaws.com",
        },
    },
}


if __name__ == "__main__":
    application = App(stack_traces=False)
    for name, settings in VARIANTS.items():
        Platform(application, name, validate(settings, __file__))
    packs = [pack(application) for pack in PACKS]
    Validations.of(application).add_plugins(Explained(application, *packs), *packs)
    application.synth()
