"""Delivery of delays as synthesized: to each place that a setting names, with no more permissions than it takes."""

import re
from typing import Any

import pytest

from checks.assembly import Assembly, Stack
from checks.calls import findings
from config.settings import SettingsError, validate
from schemas import delays
from tests.assembly.synthesis import ROOT

DOMAIN = {"opensearch_domain_arn": "arn:aws:es:us-east-1:123456789012:domain/theirs"}
REDSHIFT = {
    "redshift_jdbc_url": "jdbc:redshift://theirs.abc.us-east-1.redshift.amazonaws.com:5439/dev",
    "redshift_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:theirs-a1b2c3",
}


@pytest.mark.requirement("str-firehose-dest", "str-firehose-formats")
def test_by_default_it_writes_parquet_by_the_day_of_arrival(assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        stack = stacks["delay-delivery"]
        target = _delivery(stack)["ExtendedS3DestinationConfiguration"]
        conversion = target["DataFormatConversionConfiguration"]
        assert "ParquetSerDe" in conversion["OutputFormatConfiguration"]["Serializer"]
        assert target["Prefix"] == "delays/year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/"
        (table,) = stack.resources("AWS::Glue::Table").values()
        assert table["Properties"]["TableInput"]["Name"] == "delays"


@pytest.mark.requirement("str-firehose-dest")
def test_a_setting_chooses_opensearch_or_redshift(variants: Assembly) -> None:
    domain, redshift, collection = (
        _delivery(variants.environments[name]["delay-delivery"]) for name in ("existing", "asked", "collection")
    )
    assert domain["AmazonopensearchserviceDestinationConfiguration"]["DomainARN"] == DOMAIN["opensearch_domain_arn"]
    assert "CollectionEndpoint" in collection["AmazonOpenSearchServerlessDestinationConfiguration"]
    assert redshift["RedshiftDestinationConfiguration"]["SecretsManagerConfiguration"]["Enabled"] is True
    assert "Password" not in redshift["RedshiftDestinationConfiguration"]
    for delivery in (domain, redshift, collection):
        assert sum(name.endswith("DestinationConfiguration") for name in delivery) == 1


def test_a_delivery_to_opensearch_is_replaced_by_any_other(variants: Assembly) -> None:
    """Each has an id of its own, since UpdateDestination switches from or to none of them."""
    ids = [
        name
        for stacks in variants.environments.values()
        for name in stacks["delay-delivery"].resources("AWS::KinesisFirehose::DeliveryStream")
    ]
    assert len(set(ids)) == len(ids) == 3


def test_people_hear_of_delays_that_wait_for_their_destination(assembly: Assembly, variants: Assembly) -> None:
    names = {"existing": "AmazonOpenSearchService", "asked": "S3", "collection": "AmazonOpenSearchServerless"}
    stacks = {names[name]: stacks["delay-delivery"] for name, stacks in variants.environments.items()}
    for destination, stack in {"S3": assembly.environments["sandbox"]["delay-delivery"], **stacks}.items():
        (alarm,) = stack.resources("AWS::CloudWatch::Alarm").values()
        assert alarm["Properties"]["MetricName"] == f"DeliveryTo{destination}.DataFreshness"
        (stream,) = stack.resources("AWS::KinesisFirehose::DeliveryStream")
        assert alarm["Properties"]["Dimensions"] == [{"Name": "DeliveryStreamName", "Value": {"Ref": stream}}]


@pytest.mark.requirement("str-firehose-dest")
def test_each_role_may_do_what_its_destination_takes_and_no_more(variants: Assembly) -> None:
    assert not [str(finding) for finding in findings(variants) if "delay-delivery" in finding.stack]
    reached = {name: _reached(variants.environments[name]["delay-delivery"]) for name in variants.environments}
    assert reached == {
        "existing": {"es"},
        "asked": {"secretsmanager"},
        "collection": {"aoss"},
    }


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"deliver_to": "opensearch"}, "opensearch_domain_arn or opensearch_collection"),
        ({"deliver_to": "opensearch", **REDSHIFT}, "opensearch_domain_arn or opensearch_collection"),
        ({"deliver_to": "redshift"}, "redshift_jdbc_url and redshift_secret_arn"),
        ({"deliver_to": "s3", **DOMAIN}, "nothing of another destination"),
        ({"deliver_to": "redshift", **REDSHIFT, "redshift_jdbc_url": "https://theirs"}, "jdbc:redshift://HOST"),
        ({"deliver_to": "kafka"}, "'s3', 'opensearch' or 'redshift'"),
    ],
)
def test_a_destination_that_is_not_told_whole_fails_at_synth(given: dict[str, Any], wanted: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(wanted)):
        validate({"prefix": "millrace-test", "delay_delivery": given}, __file__)


def test_the_table_has_the_columns_that_the_job_writes() -> None:
    """The job's module imports Flink, which is not installed here."""
    source = (ROOT / "flink_jobs" / "delays" / "main.py").read_text()
    ddl = re.search(r'"metrics": """(.*?)"""', source, re.DOTALL)
    assert ddl
    types = {"STRING": "string", "BIGINT": "bigint", "DOUBLE": "double", "BOOLEAN": "boolean"}
    columns = [tuple(column.split()) for column in ddl[1].split(",")]
    assert [(name, types[kind]) for name, kind in columns] == delays.COLUMNS


def _delivery(stack: Stack) -> dict[str, Any]:
    (delivery,) = stack.resources("AWS::KinesisFirehose::DeliveryStream").values()
    return delivery["Properties"]


def _reached(stack: Stack) -> set[str]:
    """The services, besides those of every delivery, that the role may call."""
    always = {"s3", "kms", "kinesis", "logs"}
    actions = [
        action
        for policy in stack.resources("AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    ]
    return {action.split(":")[0] for action in actions} - always
