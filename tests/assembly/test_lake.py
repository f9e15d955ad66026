"""The lake's buckets: each zone's lifecycle, encryption and policy, and what the settings change of them."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_cdk import App
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from ministack.core.iam_evaluator import EvalContext, evaluate_resource_policy
from moto import mock_aws

from checks.assembly import Assembly, Stack
from components.base import Deployment, Layer
from components.lifecycle import LifecycleError
from stacks.data_lake import WORKING_LAYERS, DataLake, DataLakeOptions
from tests.assembly.synthesis import ROOT

KEYS = "arn:aws:kms:eu-west-1:123456789012:key/"
KEY, OTHER_KEY = (f"{KEYS}{digit * 8}-1111-4111-8111-111111111111" for digit in "12")
ALGORITHM, KEY_ID = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
FULL: dict[str, Any] = {
    "endpoint_only": True,
    "trusted_accounts": ["210987654321"],
    "rules": [{"zone": "captured", "name": "short", "prefix": "trial/", "expire_days": 7}],
}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The lake with every option in use."""
    return synthesized(tmp_path_factory.mktemp("full"), FULL)


def synthesized(folder: Path, options: dict[str, Any]) -> Stack:
    flags = json.loads((ROOT / "cdk.json").read_text())["context"]
    app = App(outdir=str(folder), context=flags)
    deployment = Deployment(prefix="theirs", account="123456789012", region="eu-west-1", retain=True)
    existing = Layer(app, "existing", deployment, "What a user has already")
    given = {"key": kms.Key.from_key_arn(existing, "Key", KEY), "vpc": ec2.Vpc(existing, "Vpc")}
    DataLake(app, "lake", deployment, DataLakeOptions.model_validate(options), **given)
    app.synth()
    return next(stack for stack in Assembly(folder).stacks if stack.layer == "lake")


def lake(assembly: Assembly, environment: str = "production") -> Stack:
    return assembly.environments[environment]["data-lake"]


def bucket(stack: Stack, zone: str) -> dict[str, Any]:
    """Properties of the bucket whose logical id is `zone` and a hash."""
    return next(each["Properties"] for name, each in stack.resources("AWS::S3::Bucket").items() if name[:-8] == zone)


def rule(stack: Stack, zone: str, name: str) -> dict[str, Any]:
    """What a lifecycle rule says, without its name and status."""
    rules = {each["Id"]: each for each in bucket(stack, zone)["LifecycleConfiguration"]["Rules"]}
    return {key: value for key, value in rules[name].items() if key not in ("Id", "Status")}


def transitions(*steps: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"StorageClass": name, "TransitionInDays": days} for name, days in steps]


@pytest.mark.requirement("st-data-lake", "st-standard-use")
def test_there_is_a_bucket_for_every_zone(assembly: Assembly) -> None:
    zones = {name[:-8] for name in lake(assembly).resources("AWS::S3::Bucket")}
    data = {"Raw", "Quarantine", "Curated", "Features", "Models", "Captured"}
    assert zones == {*data, "AthenaResults", "AccessLogs"}


@pytest.mark.requirement(
    "st-lifecycle-ia-60", "st-lifecycle-glacier-6mo", "st-standard-ia", "st-glacier-flexible", "st-lifecycle-prefix"
)
def test_raw_events_are_archived_and_reference_data_is_not(assembly: Assembly) -> None:
    assert rule(lake(assembly), "Raw", "cool-flights") == {
        "Prefix": "flights/",
        "Transitions": transitions(("STANDARD_IA", 60), ("GLACIER", 180)),
    }
    moved = {
        each.get("Prefix", "")
        for each in bucket(lake(assembly), "Raw")["LifecycleConfiguration"]["Rules"]
        if "Transitions" in each
    }
    assert moved == {"flights/", "weather/", "source/"}


@pytest.mark.requirement("st-glacier-instant", "st-lifecycle-ia-60")
def test_what_jobs_read_whole_stays_readable_at_once(assembly: Assembly) -> None:
    cool = transitions(("STANDARD_IA", 60), ("GLACIER_IR", 180))
    assert rule(lake(assembly), "Curated", "cool-all") == {"Transitions": cool}
    for zone in ("Models", "Curated"):
        current = bucket(lake(assembly), zone)["LifecycleConfiguration"]["Rules"]
        waiting = [
            each
            for each in current
            for step in each.get("Transitions", ())
            if step["StorageClass"] in ("GLACIER", "DEEP_ARCHIVE") and "TagFilters" not in each
        ]
        assert not waiting
    assert "IntelligentTieringConfigurations" not in bucket(lake(assembly), "Models")


@pytest.mark.requirement("st-intelligent-tiering")
def test_unread_features_go_to_the_archive_tiers(assembly: Assembly) -> None:
    (tiering,) = bucket(lake(assembly), "Features")["IntelligentTieringConfigurations"]
    days = {each["AccessTier"]: each["Days"] for each in tiering["Tierings"]}
    assert days == {"ARCHIVE_ACCESS": 90, "DEEP_ARCHIVE_ACCESS": 180}
    # The tiers are for objects of this class alone.
    assert rule(lake(assembly), "Features", "by-access")["Transitions"] == transitions(("INTELLIGENT_TIERING", 0))


@pytest.mark.requirement("st-lifecycle-logs-365", "sec-sse-s3")
def test_access_logs_are_gone_after_a_year_and_encrypted_by_s3(assembly: Assembly) -> None:
    assert rule(lake(assembly), "AccessLogs", "logs") == {"ExpirationInDays": 365}
    assert '"AES256"' in json.dumps(bucket(lake(assembly), "AccessLogs")["BucketEncryption"])


@pytest.mark.requirement("st-lifecycle-mpu", "st-lifecycle-oldversions")
def test_every_bucket_gives_up_unfinished_uploads_and_old_versions(assembly: Assembly) -> None:
    wrong = []
    for stack, name, resource in assembly.resources("AWS::S3::Bucket"):
        rules = resource["Properties"]["LifecycleConfiguration"]["Rules"]
        if not any("AbortIncompleteMultipartUpload" in each and len(each) == 3 for each in rules):
            wrong.append(f"{stack.where(name)} keeps unfinished uploads")
        versioned = "VersioningConfiguration" in resource["Properties"]
        if versioned and not any("NoncurrentVersionExpiration" in each for each in rules):
            wrong.append(f"{stack.where(name)} keeps every version")
    assert not wrong, "\n".join(wrong)


@pytest.mark.requirement("st-scenario2-versioning", "st-scenario2-transitions", "st-glacier-deep")
@pytest.mark.parametrize("zone", ["Raw", "Curated", "Features", "Models"])
def test_what_is_deleted_is_recoverable_for_a_year(assembly: Assembly, zone: str) -> None:
    assert bucket(lake(assembly), zone)["VersioningConfiguration"] == {"Status": "Enabled"}
    assert rule(lake(assembly), zone, "recoverable") == {
        "ExpiredObjectDeleteMarker": True,
        "NoncurrentVersionTransitions": transitions(("DEEP_ARCHIVE", 30)),
        "NoncurrentVersionExpiration": {"NoncurrentDays": 365},
    }


@pytest.mark.requirement("st-scenario2-versioning")
def test_a_deleted_object_comes_back_when_its_marker_goes(assembly: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="models")
        s3.put_bucket_versioning(
            Bucket="models", VersioningConfiguration=bucket(lake(assembly), "Models")["VersioningConfiguration"]
        )
        s3.put_object(Bucket="models", Key="model.tar.gz", Body=b"a model")
        s3.delete_object(Bucket="models", Key="model.tar.gz")
        assert "Contents" not in s3.list_objects_v2(Bucket="models")
        (marker,) = s3.list_object_versions(Bucket="models")["DeleteMarkers"]
        s3.delete_object(Bucket="models", Key="model.tar.gz", VersionId=marker["VersionId"])
        assert s3.get_object(Bucket="models", Key="model.tar.gz")["Body"].read() == b"a model"


@pytest.mark.requirement("st-lifecycle-tag")
def test_a_rule_of_the_settings_goes_by_tag(assembly: Assembly) -> None:
    for environment in ("staging", "production"):
        asked = rule(lake(assembly, environment), "Curated", "finance-exports")
        assert asked["TagFilters"] == [{"Key": "Department", "Value": "Finance"}]
        assert asked["Prefix"] == "exports/"


@pytest.mark.requirement("st-storage-class-analysis")
def test_raw_and_curated_are_analyzed_daily_into_the_log_bucket(assembly: Assembly) -> None:
    stack = lake(assembly)
    logs = next(name for name in stack.resources("AWS::S3::Bucket") if name.startswith("AccessLogs"))
    for zone in ("Raw", "Curated"):
        (analysis,) = bucket(stack, zone)["AnalyticsConfigurations"]
        export = analysis["StorageClassAnalysis"]["DataExport"]["Destination"]
        assert export["BucketArn"] == {"Fn::GetAtt": [logs, "Arn"]}
        source = next(name for name in stack.resources("AWS::S3::Bucket") if name[:-8] == zone)
        (accepts,) = (each for each in statements(stack, "AccessLogs") if each.get("Sid") == "StorageClassAnalyses")
        assert f"arn:aws:s3:::{source}" in accepts["Condition"]["ArnLike"]["aws:SourceArn"]
        assert accepts["Resource"].startswith(f"arn:aws:s3:::{logs}/{export['Prefix'].split('/')[0]}/")


@pytest.mark.requirement("st-scenario1-source", "st-scenario1-thumbs")
def test_pictures_are_archived_and_thumbnails_gone_after_sixty_days(assembly: Assembly) -> None:
    for stages in assembly.environments.values():
        assert rule(stages["images"], "Pictures", "archive") == {"Transitions": transitions(("GLACIER", 60))}
        assert rule(stages["images"], "Thumbnails", "made-again-on-demand") == {"ExpirationInDays": 60}
        assert "VersioningConfiguration" not in bucket(stages["images"], "Thumbnails")


def test_vendored_packages_are_built_for_where_the_function_runs(assembly: Assembly) -> None:
    for stages in assembly.environments.values():
        (function,) = (
            each for name, each in stages["images"].resources("AWS::Lambda::Function").items() if "Thumbnail" in name
        )
        properties = function["Properties"]
        assert (properties["Runtime"], properties["Architectures"]) == ("python3.14", ["arm64"])
        digest = properties["Code"]["S3Key"].removesuffix(".zip")
        (asset,) = assembly.folder.rglob(f"asset.{digest}")
        assert (asset / "handler.py").is_file()
        assert {path.suffixes[0] for path in (asset / "PIL").glob("*.so")} == {".cpython-314-aarch64-linux-gnu"}
        assert not [path for path in asset.rglob("*") if path.name in ("RECORD", "INSTALLER", "bin")]


@pytest.mark.requirement("sec-acl-disabled", "sec-block-public-access", "sec-sse-c", "sec-kms-quota", "sec-sse-kms")
def test_every_bucket_has_its_owner_no_acl_no_public_and_no_customers_key(assembly: Assembly) -> None:
    for stack, name, resource in assembly.resources("AWS::S3::Bucket"):
        properties, where = resource["Properties"], stack.where(name)
        assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}, where
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}, where
        (encryption,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert encryption["BlockedEncryptionTypes"] == {"EncryptionType": ["SSE-C"]}, where
        by_kms = encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
        assert encryption["BucketKeyEnabled"] is by_kms, where


@pytest.mark.requirement("sec-bucket-policy-json", "sec-deny-non-ssec")
def test_no_bucket_policy_allows_everyone_or_asks_for_a_customers_key(assembly: Assembly) -> None:
    for stack, name, policy in assembly.resources("AWS::S3::BucketPolicy"):
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            public = statement["Principal"] in ("*", {"AWS": "*"})
            assert not (statement["Effect"] == "Allow" and public), stack.where(name)
        assert "customer-algorithm" not in json.dumps(policy), stack.where(name)


@pytest.mark.requirement("sec-deny-unencrypted-put", "sec-policy-before-default")
@pytest.mark.parametrize(
    ("headers", "decision"),
    [
        ({}, "ImplicitDeny"),  # not denied: the caller's own role decides, and the bucket's key is used
        ({ALGORITHM: "aws:kms", KEY_ID: KEY}, "ImplicitDeny"),
        ({ALGORITHM: "AES256"}, "Deny"),
        ({ALGORITHM: "aws:kms:dsse", KEY_ID: KEY}, "Deny"),
        ({ALGORITHM: "aws:kms", KEY_ID: OTHER_KEY}, "Deny"),
        ({ALGORITHM: "aws:kms"}, "Deny"),  # AWS's own key
    ],
)
@pytest.mark.parametrize("zone", ["Quarantine", "Curated", "AthenaResults"])
def test_another_key_or_algorithm_is_denied_and_no_header_is_fine(
    full: Stack, zone: str, headers: dict[str, str], decision: str
) -> None:
    inside = {"aws:SourceVpc": "vpc"}
    assert decide(full, zone, "PutObject", headers | inside) == decision


@pytest.mark.parametrize(
    ("principal", "context", "decision"),
    [
        ("role/someone", {}, "Deny"),
        ("role/someone", {"aws:SourceVpc": "vpc-other"}, "Deny"),
        ("role/someone", {"aws:SourceVpc": "vpc"}, "ImplicitDeny"),
        ("role/someone", {"aws:ViaAWSService": "true"}, "ImplicitDeny"),  # Athena on someone's behalf
        ("role/theirs-streaming-FlightsDeliveryRole-1X", {}, "ImplicitDeny"),
        ("role/theirs-people-DataEngineer-1X", {}, "Deny"),
    ],
)
def test_endpoint_only_lets_in_the_network_and_the_platforms_own_roles(
    full: Stack, principal: str, context: dict[str, str], decision: str
) -> None:
    for zone in ("Raw", "Models"):
        assert decide(full, zone, "GetObject", context, principal) == decision
        assert decide(full, zone, "PutBucketPolicy", context, principal) == "ImplicitDeny", "a way back"


def test_every_layer_that_works_in_the_lake_is_among_those_let_in(assembly: Assembly) -> None:
    stacks = assembly.environments["production"].values()
    named = {stack.layer for stack in stacks if "-data-lake" in json.dumps(stack.template)}
    assert {"data-lake", *named} - {"audit", "people"} == set(WORKING_LAYERS), "people and CloudTrail are not excepted"


def test_by_default_objects_are_reached_from_anywhere(assembly: Assembly) -> None:
    assert decide(lake(assembly), "Raw", "GetObject", {}, "role/someone") == "ImplicitDeny"


@pytest.mark.requirement("sec-cross-account")
def test_trusted_accounts_read_curated_and_nothing_else_and_only_when_asked(full: Stack, assembly: Assembly) -> None:
    allowed = {
        zone: [each["Principal"] for each in statements(full, zone) if each.get("Sid") == "TrustedAccountsRead"]
        for zone in ("Raw", "Curated", "Models")
    }
    assert allowed == {"Raw": [], "Curated": [{"AWS": "arn:aws:iam::210987654321:root"}], "Models": []}
    assert "TrustedAccounts" not in json.dumps([stack.template for stack in assembly.stacks])
    assert decide(full, "Curated", "GetObject", {}, "role/analyst", account="210987654321") == "Allow"
    assert decide(full, "Curated", "PutObject", {}, "role/analyst", account="210987654321") == "ImplicitDeny"


def test_a_rule_of_the_settings_is_in_its_zone_alone(full: Stack) -> None:
    assert rule(full, "Captured", "short") == {"Prefix": "trial/", "ExpirationInDays": 7}
    assert "short" not in json.dumps(bucket(full, "Curated"))


def test_an_existing_bucket_takes_the_place_of_a_zones_own(tmp_path: Path) -> None:
    stack = synthesized(tmp_path, {"existing_buckets": {"raw": "theirs-since-2019"}})
    assert stack.outputs["RawBucketName"]["Value"] == "theirs-since-2019"
    assert not [name for name in stack.resources("AWS::S3::Bucket") if name.startswith("Raw")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"infrequent_days": 20}, "bucket Raw can't be:\n  rule 'cool-flights': STANDARD_IA at day 20"),
        ({"archive_days": 80}, "rule 'cool-flights': STANDARD_IA at day 60, then GLACIER at day 80"),
        ({"recover_days": 100}, "rule 'recoverable': noncurrent DEEP_ARCHIVE at day 30, then the end at day 100"),
        ({"feature_archive_days": 30}, "bucket Features can't be: ARCHIVE_ACCESS at day 30"),
        (
            {"rules": [{"zone": "models", "name": "theirs", "transitions": {"ONEZONE_IA": 10}}]},
            "bucket Models can't be:\n  rule 'theirs': ONEZONE_IA at day 10",
        ),
    ],
)
def test_a_lifecycle_that_s3_would_refuse_fails_at_synth(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(LifecycleError) as refused:
        synthesized(tmp_path, options)
    assert said in str(refused.value)


def statements(stack: Stack, zone: str) -> list[dict[str, Any]]:
    """The statements of a zone's bucket policy, with plain ARNs."""
    found: list[dict[str, Any]] = [
        plain(statement)
        for policy in stack.resources("AWS::S3::BucketPolicy").values()
        if policy["Properties"]["Bucket"]["Ref"][:-8] == zone
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    assert found
    return found


def plain(value: Any) -> Any:
    """A piece of a template with its intrinsic functions resolved, as far as bucket policies use them."""
    match value:
        case {"Fn::GetAtt": [str() as name, "Arn"]}:
            return f"arn:aws:s3:::{name}"
        case {"Fn::Join": [separator, parts]}:
            return separator.join(map(plain, parts))
        case {"Ref": "AWS::Partition"}:
            return "aws"
        case {"Ref": "AWS::AccountId"}:
            return "123456789012"
        case {"Fn::GetStackOutput": _} | {"Fn::ImportValue": _}:
            return "vpc"
        case dict():
            return {key: plain(each) for key, each in value.items()}
        case list():
            return [plain(each) for each in value]
        case _:
            return value


def decide(
    stack: Stack,
    zone: str,
    action: str,
    context: dict[str, str],
    principal: str = "role/someone",
    account: str = "123456789012",
) -> str:
    """What a bucket's policy says of a request, by an evaluator that nobody here wrote: Allow, Deny or ImplicitDeny."""
    name = next(each for each in stack.resources("AWS::S3::Bucket") if each[:-8] == zone)
    arn = f"arn:aws:s3:::{name}" + ("/flights/1.parquet" if "Object" in action else "")
    caller = f"arn:aws:iam::{account}:{principal}"
    asked = EvalContext(
        caller,
        "AssumedRole",
        account,
        f"s3:{action}",
        arn,
        "eu-west-1",
        secure_transport=True,
        service_context={name.lower(): value for name, value in context.items()} | {"s3:tlsversion": "1.3"},
        principal_keys={"aws:PrincipalArn": caller},
    )
    return evaluate_resource_policy({"Statement": statements(stack, zone)}, asked).decision
