"""A sandbox left on overnight costs less than a coffee: the sum in docs/foundation.md is of what is deployed."""

import json
import re
from typing import Any

from checks.assembly import Assembly
from tests.assembly.synthesis import ROOT

COFFEE = 3.00
HOURS, HOURS_A_MONTH = 14, 730
PAGE = (ROOT / "docs" / "foundation.md").read_text()
# By use alone, or by the gigabyte, or never. What makes an exception of one is looked at below.
FREE_WHILE_UNUSED = re.findall(
    r"\S+",
    """
Athena::NamedQuery Athena::WorkGroup CDK::Metadata CodeBuild::Project DynamoDB::Table EC2::FlowLog EC2::RouteTable
EC2::Subnet EC2::SubnetRouteTableAssociation EC2::VPC EC2::VPCEndpoint ECR::Repository Events::Rule Glue::Crawler
Glue::DataQualityRuleset Glue::Database Glue::Job Glue::Registry Glue::Schema Glue::SecurityConfiguration Glue::Table
Glue::Trigger Glue::Workflow IAM::Policy IAM::Role KMS::Alias KinesisAnalyticsV2::Application
KinesisAnalyticsV2::ApplicationCloudWatchLoggingOption KinesisFirehose::DeliveryStream Lambda::EventInvokeConfig
Lambda::EventSourceMapping Lambda::Function Lambda::Permission Logs::LogGroup Logs::LogStream S3::Bucket
S3::BucketPolicy SNS::Topic SNS::TopicPolicy SQS::Queue SQS::QueuePolicy SageMaker::Endpoint SageMaker::EndpointConfig
SageMaker::Model SageMaker::ModelPackageGroup SageMaker::Pipeline
""",
)


def found(assembly: Assembly, kind: str) -> list[dict[str, Any]]:
    """The properties of the sandbox's resources of a kind."""
    stacks = assembly.environments["sandbox"].values()
    return [each.get("Properties", {}) for stack in stacks for each in stack.resources(f"AWS::{kind}").values()]


def test_the_sum_is_of_what_a_sandbox_deploys(assembly: Assembly) -> None:
    streams = found(assembly, "Kinesis::Stream")
    assert all(each["StreamModeDetails"] == {"StreamMode": "PROVISIONED"} for each in streams)
    (sweep, drift) = sorted(found(assembly, "Scheduler::Schedule"), key=lambda each: "cron" in json.dumps(each))
    assert (sweep["ScheduleExpression"], drift["ScheduleExpression"]) == ("rate(24 hours)", "cron(0 6 * * ? *)")
    counted = {
        "shards": sum(each["ShardCount"] for each in streams),
        "KMS": len(found(assembly, "KMS::Key")),
        "alarms": len(found(assembly, "CloudWatch::Alarm")),
    }
    total = 0.0
    rows = re.findall(r"^\| (.+) \| (\d+) \| ([\d.]+) \| (hour|month|once) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    for what, number, price, each, told in rows:
        (known,) = [count for word, count in counted.items() if word in what] or [int(number)]
        hours = {"hour": HOURS, "month": HOURS / HOURS_A_MONTH, "once": 1}[each]
        assert int(number) == known and f"{known * float(price) * hours:.3f}" == told, what
        total += float(told)
    assert len(rows) == len(counted) + 2  # and what the two schedules start
    assert f"| together | | | | {total:.3f} |" in PAGE and f"about ${total:.2f}:" in (ROOT / "README.md").read_text()
    assert total < COFFEE


def test_nothing_else_of_a_sandbox_costs_while_nobody_uses_it(assembly: Assembly) -> None:
    resources = [each for stack in assembly.environments["sandbox"].values() for each in stack.resources().values()]
    priced = {"AWS::Kinesis::Stream", "AWS::KMS::Key", "AWS::CloudWatch::Alarm", "AWS::Scheduler::Schedule"}
    kinds = {each["Type"] for each in resources if not each["Type"].startswith("Custom::")}
    assert kinds - priced <= {f"AWS::{kind}" for kind in FREE_WHILE_UNUSED}
    assert {each["BillingMode"] for each in found(assembly, "DynamoDB::Table")} == {"PAY_PER_REQUEST"}
    assert {each["VpcEndpointType"] for each in found(assembly, "EC2::VPCEndpoint")} == {"Gateway"}
    for config in found(assembly, "SageMaker::EndpointConfig"):
        assert all("ProvisionedConcurrency" not in each["ServerlessConfig"] for each in config["ProductionVariants"])
    assert not any("Schedule" in each for kind in ("Glue::Crawler", "Glue::Trigger") for each in found(assembly, kind))


def test_every_instance_that_is_asked_for_has_its_quota_named(assembly: Assembly) -> None:
    """SageMaker's default is none of them."""
    for kind, use in (("SageMaker::Pipeline", "(training|processing) job"), ("SageMaker::EndpointConfig", "endpoint")):
        resources = [each for _, _, each in assembly.resources(f"AWS::{kind}")]
        for instance in {*re.findall(r"\bml\.\w+\.\w+", json.dumps(resources))}:
            assert re.search(rf"{re.escape(instance)} for {use} usage", PAGE), instance
