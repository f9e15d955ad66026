"""Roles of people: who may assume them, what they may do, and what nobody can add."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from checks.assembly import Assembly, Stack

# The row sec-sm-iam-actions: what a data scientist creates in SageMaker, and the conditions that each request meets.
NETWORK = {"sagemaker:VpcSubnets", "sagemaker:VpcSecurityGroupIds"}
CREATING = {
    "CreateTrainingJob": NETWORK
    | {"sagemaker:NetworkIsolation", "sagemaker:InterContainerTrafficEncryption"}
    | {"sagemaker:VolumeKmsKey", "sagemaker:OutputKmsKey"},
    "CreateHyperParameterTuningJob": NETWORK
    | {"sagemaker:NetworkIsolation", "sagemaker:InterContainerTrafficEncryption"}
    | {"sagemaker:VolumeKmsKey", "sagemaker:OutputKmsKey"},
    "CreateModel": NETWORK | {"sagemaker:NetworkIsolation"},
    "CreateEndpointConfig": {"sagemaker:VolumeKmsKey"},
    "CreateTransformJob": {"sagemaker:VolumeKmsKey", "sagemaker:OutputKmsKey"},
    "CreateNotebookInstance": NETWORK
    | {"sagemaker:VolumeKmsKey", "sagemaker:DirectInternetAccess", "sagemaker:RootAccess"},
    "UpdateNotebookInstance": {"sagemaker:RootAccess"},
}
CREATE_NOTEBOOK = "sagemaker:CreateNotebookInstance"
FOLLOWING = re.compile(r"sagemaker:(Describe|List|Stop|Start)")
TITLES = ("DataEngineer", "DataScientist", "Auditor")
PEOPLE = {"DataEngineer": "data-engineers", "DataScientist": "data-scientists", "Auditor": "auditors"}
LONGEST_INLINE, LONGEST_MANAGED = 10240, 6144  # characters, of all inline policies of a role, and of a managed one


@pytest.fixture(params=["staging", "production"])
def people(request: pytest.FixtureRequest, assembly: Assembly) -> Stack:
    return assembly.environments[request.param]["people"]


def role(stack: Stack, title: str) -> dict[str, Any]:
    """Properties of a role."""
    (found,) = [each for name, each in stack.resources("AWS::IAM::Role").items() if name.startswith(title)]
    properties: dict[str, Any] = found["Properties"]
    return properties


def statements(stack: Stack, title: str) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """(actions, statement) of a role's own policy, or of the boundary."""
    policies = stack.resources("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
    (policy,) = [each for name, each in policies.items() if name.startswith(title)]
    for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
        actions = statement["Action"]
        yield [actions] if isinstance(actions, str) else actions, statement


def allowed(stack: Stack, title: str) -> set[str]:
    found = [actions for actions, statement in statements(stack, title) if statement["Effect"] == "Allow"]
    return {action for actions in found for action in actions}


@pytest.mark.requirement("sec-sm-iam-actions", "sec-sm-vpc", "sec-sm-rest-kms", "sec-sm-intercontainer")
@pytest.mark.requirement("sec-sm-notebook-internet", "sec-sm-network-isolation")
def test_a_data_scientist_creates_these_and_only_on_our_conditions(people: Stack) -> None:
    changing = {
        action: statement
        for actions, statement in statements(people, "DataScientist")
        for action in actions
        if action.startswith("sagemaker:") and not FOLLOWING.match(action)
    }
    assert set(changing) == {f"sagemaker:{name}" for name in CREATING}
    for name, keys in CREATING.items():
        conditions = changing[f"sagemaker:{name}"]["Condition"]
        assert {key for operator in conditions.values() for key in operator} == keys, name
        # "ForAllValues" is also true of a request that says nothing.
        assert set(conditions.get("ForAllValues:StringEquals", {})) == set(conditions.get("Null", {}))
        assert set(conditions.get("Null", {}).values()) <= {"false"}
        assert not any(operator.endswith("IfExists") for operator in conditions)
        assert re.search(rf"/{people.name.removesuffix('-people')}-\*", json.dumps(changing[f"sagemaker:{name}"]))


@pytest.mark.requirement("sec-sm-notebook-internet")
def test_a_notebook_has_neither_internet_nor_root(people: Stack, assembly: Assembly) -> None:
    (creating,) = [each for actions, each in statements(people, "DataScientist") if actions == [CREATE_NOTEBOOK]]
    refused = {"sagemaker:DirectInternetAccess": "Disabled", "sagemaker:RootAccess": "Disabled"}
    assert creating["Condition"]["StringEquals"] == refused
    assert not assembly.resources("AWS::SageMaker::NotebookInstance", "AWS::SageMaker::Domain")  # we make none


def test_only_the_experiments_role_is_passed_on_and_only_to_sagemaker(people: Stack) -> None:
    passing = [
        (title, statement)
        for title in TITLES
        for actions, statement in statements(people, title)
        if "iam:PassRole" in actions
    ]
    ((title, statement),) = passing
    assert title == "DataScientist"
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    assert statement["Resource"]["Fn::GetAtt"][0].startswith("ExperimentRole")


@pytest.mark.requirement("sec-general")
def test_named_people_with_a_second_factor_assume_a_role_for_a_few_hours(people: Stack) -> None:
    for title in TITLES:
        properties = role(people, title)
        (trust,) = properties["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Condition"]["Bool"] == {"aws:MultiFactorAuthPresent": "true"}
        (named,) = trust["Condition"]["ArnLike"]["aws:PrincipalArn"]
        assert json.dumps(named).endswith(f':user/{PEOPLE[title]}/*"]]}}')
        assert properties["MaxSessionDuration"] <= 4 * 3600


def test_people_of_other_accounts_are_trusted_by_name_too(variants: Assembly) -> None:
    auditor = role(variants.environments["asked"]["people"], "Auditor")
    trusted = {
        json.dumps(each["Principal"]): each["Condition"]["ArnLike"]["aws:PrincipalArn"]
        for each in auditor["AssumeRolePolicyDocument"]["Statement"]
    }
    other = "arn:aws:iam::999999999999"
    assert trusted.pop(json.dumps({"AWS": f"{other}:root"})) == [f"{other}:role/aws-reserved/*/Auditors_*"]
    assert [len(names) for names in trusted.values()] == [1]
    assert not [name for name in variants.environments["asked"]["people"].resources() if name.startswith("Data")]


def test_sandbox_has_no_roles_of_people(assembly: Assembly) -> None:
    assert "people" not in assembly.environments["sandbox"]


@pytest.mark.requirement("sec-general")
def test_an_auditor_reads_no_data_whatever_else_is_attached(people: Stack) -> None:
    denied = {
        action
        for actions, statement in statements(people, "Auditor")
        for action in actions
        if statement["Effect"] == "Deny" and statement["Resource"] == "*" and "Condition" not in statement
    }
    assert {"s3:GetObject", "s3:GetObjectVersion", "kms:Decrypt", "kinesis:GetRecords"} <= denied
    assert not denied & allowed(people, "Auditor")
    reading = re.compile(r"\w+:(Describe|Get|List|Lookup|Filter)|logs:StartQuery$")
    assert all(reading.match(action) for action in allowed(people, "Auditor"))


@pytest.mark.requirement("sec-general")
def test_the_boundary_holds_every_person_to_what_some_person_may(people: Stack) -> None:
    logical_id, _ = people.resources("AWS::IAM::ManagedPolicy").popitem()
    assert {json.dumps(role(people, title)["PermissionsBoundary"]) for title in TITLES} == {
        json.dumps({"Ref": logical_id})
    }
    assert allowed(people, "Boundary") == set().union(*(allowed(people, title) for title in TITLES))
    for actions, statement in statements(people, "Boundary"):
        assert not any("*" in action for action in actions)
        if statement["Resource"] == "*":
            assert "iam:PassRole" not in actions
            assert statement["Condition"] == {
                "StringEqualsIfExists": {"aws:ResourceAccount": {"Ref": "AWS::AccountId"}}
            }


def test_the_policies_fit_into_iam(people: Stack) -> None:
    for kind, longest in (("AWS::IAM::Policy", LONGEST_INLINE), ("AWS::IAM::ManagedPolicy", LONGEST_MANAGED)):
        for name, policy in people.resources(kind).items():
            assert len(_deployed(policy["Properties"]["PolicyDocument"])) <= longest, name


@pytest.mark.requirement("sec-ec2-role", "sec-sm-managed-policies")
def test_there_are_roles_and_no_keys_and_nothing_of_aws_own_is_attached(assembly: Assembly) -> None:
    assert not assembly.resources("AWS::IAM::User", "AWS::IAM::AccessKey")
    attached = {
        json.dumps(each)
        for stack, _, found in assembly.resources("AWS::IAM::Role")
        for each in found["Properties"].get("ManagedPolicyArns", [])
        if stack.environment != "sandbox"  # whose buckets are emptied by the CDK's own function
    }
    assert not attached


def _deployed(value: Any) -> str:
    """A document as JSON about as long as IAM will see it: joined, and 60 characters for what is not known yet."""

    def written(part: Any) -> Any:
        match part:
            case {"Fn::Join": [separator, parts]}:
                return separator.join(map(written, parts))
            case {"Ref": str() as name} if name.startswith("AWS::"):
                return "123456789012"
            case {"Ref": _} | {"Fn::GetAtt": _} | {"Fn::ImportValue": _} | {"Fn::GetStackOutput": _}:
                return "x" * 60
            case dict():
                return {key: written(each) for key, each in part.items()}
            case list():
                return [written(each) for each in part]
        return part

    return json.dumps(written(value), separators=(",", ":"))
