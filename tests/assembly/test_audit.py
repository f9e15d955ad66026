"""The audit trail: everything in every region, validated, encrypted, kept a year, and able to be written."""

import json
from typing import Any

import pytest

from checks.assembly import Assembly, Stack, references

SERVICE = {"Service": "cloudtrail.amazonaws.com"}


def trail(stack: Stack) -> dict[str, Any]:
    (found,) = stack.resources("AWS::CloudTrail::Trail").values()
    return found


def selectors(stack: Stack) -> dict[str, dict[str, Any]]:
    """name -> field -> condition."""
    return {
        selector["Name"]: {each["Field"]: each for each in selector["FieldSelectors"]}
        for selector in trail(stack)["Properties"]["AdvancedEventSelectors"]
    }


def bucket(stack: Stack) -> tuple[str, dict[str, Any]]:
    """Logical id and properties of the bucket that the trail writes to."""
    name = trail(stack)["Properties"]["S3BucketName"]["Ref"]
    return name, stack.resources("AWS::S3::Bucket")[name]["Properties"]


@pytest.mark.requirement("mon-cloudtrail", "sec-general")
def test_the_trail_covers_all_regions_is_validated_and_encrypted(assembly: Assembly) -> None:
    for environment in ("staging", "production"):
        stack = assembly.environments[environment]["audit"]
        properties = trail(stack)["Properties"]
        for switch in ("IsLogging", "IsMultiRegionTrail", "EnableLogFileValidation", "IncludeGlobalServiceEvents"):
            assert properties[switch] is True
        assert "foundation" in json.dumps(properties["KMSKeyId"])
        assert properties["CloudWatchLogsLogGroupArn"]
    assert "audit" not in assembly.environments["sandbox"]


@pytest.mark.requirement("mon-cloudtrail")
def test_the_trail_is_kept_for_a_year_by_a_bucket_of_its_own(assembly: Assembly) -> None:
    for environment in ("staging", "production"):
        _, properties = bucket(assembly.environments[environment]["audit"])
        rules = properties["LifecycleConfiguration"]["Rules"]
        assert [rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule] == [365]
        assert "aws:kms" in json.dumps(properties["BucketEncryption"])


@pytest.mark.requirement("mon-cloudtrail")
def test_objects_of_every_lake_bucket_are_watched(assembly: Assembly) -> None:
    for environment, reads_too in {"staging": False, "production": True}.items():
        stacks = assembly.environments[environment]
        found = selectors(stacks["audit"])
        assert found["Management events"]["eventCategory"]["Equals"] == ["Management"]
        objects = found["Objects of the lake"]
        assert objects["eventCategory"]["Equals"] == ["Data"]
        assert objects["resources.type"]["Equals"] == ["AWS::S3::Object"]
        assert ("readOnly" not in objects) == reads_too
        watched = {each.target.split(":ExportsOutputFnGetAtt")[1] for each in references(objects["resources.ARN"])}
        logs = {
            each["Properties"]["LoggingConfiguration"]["DestinationBucketName"]["Ref"]
            for each in stacks["data-lake"].resources("AWS::S3::Bucket").values()
            if "LoggingConfiguration" in each["Properties"]
        }
        lake = set(stacks["data-lake"].resources("AWS::S3::Bucket")) - logs
        assert lake
        assert {name for name in lake if any(each.startswith(name) for each in watched)} == lake


def test_object_events_and_the_log_group_can_be_left_out(variants: Assembly) -> None:
    stack = variants.environments["asked"]["audit"]
    assert set(selectors(stack)) == {"Management events"}
    assert not stack.resources("AWS::Logs::LogGroup", "AWS::IAM::Role")


def test_only_this_trail_may_write_to_its_bucket_and_the_policy_comes_first(assembly: Assembly) -> None:
    for environment in ("staging", "production"):
        stack = assembly.environments[environment]["audit"]
        name, _ = bucket(stack)
        ((policy, document),) = [
            (policy, each["Properties"]["PolicyDocument"])
            for policy, each in stack.resources("AWS::S3::BucketPolicy").items()
            if each["Properties"]["Bucket"] == {"Ref": name}
        ]
        allowed = {each["Action"]: each for each in document["Statement"] if each["Effect"] == "Allow"}
        assert set(allowed) == {"s3:GetBucketAcl", "s3:PutObject"}
        for statement in allowed.values():
            assert statement["Principal"] == SERVICE
            assert f"trail/millrace-{environment}-audit" in json.dumps(statement["Condition"]["StringEquals"])
        assert policy in trail(stack)["DependsOn"]


def test_the_key_lets_this_trail_encrypt_and_not_decrypt(assembly: Assembly) -> None:
    for environment in ("staging", "production"):
        (key,) = assembly.environments[environment]["foundation"].resources("AWS::KMS::Key").values()
        (found,) = [each for each in key["Properties"]["KeyPolicy"]["Statement"] if each["Principal"] == SERVICE]
        assert set(found["Action"]) == {"kms:DescribeKey", "kms:GenerateDataKey*"}
        assert f"trail/millrace-{environment}-audit" in json.dumps(found["Condition"]["StringEquals"])
        assert trail(assembly.environments[environment]["audit"])["Properties"]["TrailName"].endswith("-audit")
