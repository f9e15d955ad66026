"""Code against role in our own assembly: the same set both ways, and one action more or less is caught by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checks.assembly import Assembly
from checks.calls import findings, not_judged

Statements = list[dict[str, Any]]
ROLES = {  # layer -> the start of a policy's name, and an action that its role can't do without
    "streaming": ("FlightsDeliveryTransformRole", "s3:PutObject"),
    "flight-state": ("UpdateRole", "dynamodb:PutItem"),
    "serving": ("PredictRole", "sagemaker:InvokeEndpoint"),
    "stream-scoring": ("ScoreRole", "dynamodb:BatchWriteItem"),
    "real-time": ("PostprocessRole", "sns:Publish"),
    "monitoring": ("JobRole", "sagemaker:DescribeEndpointConfig"),
    "training": ("EmptyGroupRole", "sagemaker:ListModelPackages"),
    "catalog-etl": ("JobRole", "s3:DeleteObject"),
    "data-catalog": ("LayoutsRole", "s3:PutObject"),
    "etl-jobs": ("StreamingWindowRole", "kinesis:GetRecords"),
    "foundation": ("MlImageBuildRole", "ecr:PutImage"),
}


@pytest.fixture(scope="module")
def sandbox(assembly: Assembly, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sandbox's templates, with links to its assets."""
    folder = tmp_path_factory.mktemp("sandbox")
    shutil.copytree(assembly.folder / "assembly-sandbox", folder, dirs_exist_ok=True)
    for asset in assembly.folder.glob("asset.*"):
        (folder / asset.name).symlink_to(asset)
    return folder


def changed(folder: Path, layer: str, role: str, change: Callable[[Statements], None]) -> list[str]:
    """What is found, as "rule action", once the statements of a role's policy are changed; the change is taken back."""
    (file,) = folder.glob(f"*{layer.replace('-', '')}*.template.json")
    kept = file.read_text()
    template = json.loads(kept)
    (policy,) = [
        each["Properties"]
        for name, each in template["Resources"].items()
        if each["Type"] == "AWS::IAM::Policy" and name.startswith(role)
    ]
    change(policy["PolicyDocument"]["Statement"])
    file.write_text(json.dumps(template))
    try:
        return [f"{each.rule} {each.message}" for each in findings(Assembly(folder))]
    finally:
        file.write_text(kept)


def test_every_call_is_allowed_and_every_permission_is_used(assembly: Assembly) -> None:
    assert [str(finding) for finding in findings(assembly)] == []


def test_only_people_and_what_is_no_python_is_not_judged(assembly: Assembly) -> None:
    layers = {(name.split("/")[1], why) for name, why in not_judged(assembly)}
    emptier = "its runtime is nodejs24.x"  # CDK's function that empties buckets
    assert layers == {
        ("data-lake", emptier),
        ("images", emptier),
        ("data-catalog", "nothing in the assembly works with it"),  # the sandbox evaluates rules on demand alone
        ("people", "nothing in the assembly works with it"),
    }


@pytest.mark.parametrize("layer", ROLES)
def test_an_action_that_is_taken_away_is_missed_by_name(layer: str, sandbox: Path) -> None:
    role, action = ROLES[layer]

    def take(statements: Statements) -> None:
        for statement in statements:
            listed = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            statement["Action"] = [each for each in listed if each != action]
        statements[:] = [statement for statement in statements if statement["Action"]]

    (found,) = changed(sandbox, layer, role, take)
    assert found.startswith(f"calls-missing it does not allow {action};")


@pytest.mark.parametrize("layer", ROLES)
def test_an_action_that_is_added_is_unused_by_name(layer: str, sandbox: Path) -> None:
    def add(statements: Statements) -> None:
        statements.append({"Effect": "Allow", "Action": "dynamodb:DeleteTable", "Resource": "*"})

    (found,) = changed(sandbox, layer, ROLES[layer][0], add)
    assert found.startswith("calls-unused it allows dynamodb:DeleteTable, of which nothing is called for by ")


def test_a_missing_permission_names_our_own_file_and_line(sandbox: Path) -> None:
    (found,) = changed(sandbox, "serving", "PredictRole", lambda statements: _without(statements, "InvokeEndpoint"))
    assert "lambda/predict/handler.py:" in found


def _without(statements: Statements, name: str) -> None:
    statements[:] = [statement for statement in statements if name not in str(statement["Action"])]
