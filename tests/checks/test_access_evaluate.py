"""IAM's rules of evaluation: the truth table, boundaries, two accounts, keys, conditions, monotonicity."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.access.evaluate import Decision, Policy, Principal, Resource, Who, decide
from checks.access.kinds import KIND_OF
from checks.access.policies import Source, statements
from tests.checks.access_app import ACCOUNT, OTHER_ACCOUNT, ROOT, statement

OBJECT = "arn:aws:s3:::lake/raw/a"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/Reader"
KEY_ARN = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1"
HERE = Source("test/lake", "Policy")
ALLOWED, CONDITIONAL, DENIED = Decision.ALLOWED, Decision.CONDITIONAL, Decision.DENIED


def policy(*items: dict[str, Any]) -> Policy:
    return Policy(tuple(statements({"Statement": list(items)}, HERE)))


def bucket(*items: dict[str, Any], account: str = ACCOUNT) -> Resource:
    return Resource(KIND_OF["AWS::S3::Bucket"], "lake", "arn:aws:s3:::lake", account, policy(*items))


def key(*items: dict[str, Any]) -> Resource:
    return Resource(KIND_OF["AWS::KMS::Key"], "key", KEY_ARN, ACCOUNT, policy(*items))


def role(*items: dict[str, Any], boundary: list[dict[str, Any]] | None = None, account: str = ACCOUNT) -> Principal:
    limit = None if boundary is None else policy(*boundary)
    return Principal(Who.ROLE, "Reader", ROLE_ARN.replace(ACCOUNT, account), account, policy(*items), limit)


def read(principal: Principal, resource: Resource) -> Decision:
    return decide(principal, "s3:GetObject", resource, OBJECT)


READ = statement("Allow", "s3:GetObject", "arn:aws:s3:::lake/*")
NO_READ = statement("Deny", "s3:GetObject", "arn:aws:s3:::lake/*")
TO_ROLE = {"Principal": {"AWS": ROLE_ARN}}


@pytest.mark.requirement("sec-iam-vs-resource")
@pytest.mark.parametrize(("identity", "resource", "deny"), list(product([False, True], repeat=3)))
@pytest.mark.parametrize("denied_by", ["identity", "resource"])
def test_either_allow_gives_access_and_any_deny_takes_it(
    identity: bool, resource: bool, deny: bool, denied_by: str
) -> None:
    held = [READ] * identity + [NO_READ] * (deny and denied_by == "identity")
    on_bucket = [READ | TO_ROLE] * resource + [NO_READ | TO_ROLE] * (deny and denied_by == "resource")
    expected = ALLOWED if (identity or resource) and not deny else DENIED
    assert read(role(*held), bucket(*on_bucket)) is expected


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [([READ], ALLOWED), ([], DENIED), ([statement("Allow", "s3:PutObject")], DENIED), ([READ, NO_READ], DENIED)],
)
def test_a_boundary_limits_identity_policies_and_gives_nothing(boundary: list[Any], expected: Decision) -> None:
    assert read(role(READ, boundary=boundary), bucket()) is expected
    assert read(role(boundary=boundary), bucket()) is DENIED


def test_a_boundary_limits_what_a_bucket_gives_a_role_but_not_what_it_gives_a_user() -> None:
    limited = role(boundary=[])
    user = replace(limited, who=Who.USER, arn=f"arn:aws:iam::{ACCOUNT}:user/Ann")
    assert read(limited, bucket(READ | TO_ROLE)) is DENIED
    assert read(user, bucket(READ | {"Principal": {"AWS": user.arn}})) is ALLOWED


@pytest.mark.parametrize(("identity", "resource"), list(product([False, True], repeat=2)))
def test_between_accounts_both_must_allow(identity: bool, resource: bool) -> None:
    theirs = bucket(*[READ | TO_ROLE] * resource, account=OTHER_ACCOUNT)
    assert read(role(*[READ] * identity), theirs) is (ALLOWED if identity and resource else DENIED)


def test_another_account_that_a_bucket_names_is_taken_to_let_its_people_in() -> None:
    root = f"arn:aws:iam::{OTHER_ACCOUNT}:root"
    account = Principal(Who.ACCOUNT, "other", root, OTHER_ACCOUNT)
    assert read(account, bucket(READ | {"Principal": {"AWS": OTHER_ACCOUNT}})) is ALLOWED
    assert read(account, bucket(READ | TO_ROLE)) is DENIED


def test_a_key_is_left_to_iam_only_where_its_policy_names_the_account() -> None:
    decrypts = role(statement("Allow", "kms:Decrypt", KEY_ARN))
    to_account = statement("Allow", "kms:*", Principal={"AWS": ROOT})
    to_role = statement("Allow", "kms:Decrypt", **TO_ROLE)
    by = {name: decide(decrypts, "kms:Decrypt", key(*items), KEY_ARN) for name, items in _keys(to_account, to_role)}
    assert by == {"neither": DENIED, "account": ALLOWED, "role": ALLOWED}
    assert decide(role(), "kms:Decrypt", key(to_account), KEY_ARN) is DENIED
    assert decide(role(), "kms:Decrypt", key(to_role), KEY_ARN) is ALLOWED


def _keys(to_account: Any, to_role: Any) -> list[tuple[str, list[Any]]]:
    return [("neither", []), ("account", [to_account]), ("role", [to_role])]


@pytest.mark.parametrize(
    ("condition", "allow", "deny"),
    [
        ({"ArnEquals": {"aws:PrincipalArn": ROLE_ARN}}, ALLOWED, DENIED),
        ({"StringNotEquals": {"aws:PrincipalArn": ROLE_ARN}}, DENIED, ALLOWED),
        ({"ArnNotLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/Other*"}}, ALLOWED, DENIED),
        ({"StringEquals": {"aws:PrincipalAccount": OTHER_ACCOUNT}}, DENIED, ALLOWED),
        ({"StringLike": {"aws:PrincipalArn": "*"}}, ALLOWED, DENIED),
        ({"Bool": {"aws:SecureTransport": "false"}}, ALLOWED, ALLOWED),  # the caller chooses
        ({"StringEquals": {"aws:SourceVpce": "vpce-1"}}, CONDITIONAL, CONDITIONAL),
        ({"StringEquals": {"aws:SourceVpce": "vpce-1", "aws:PrincipalAccount": OTHER_ACCOUNT}}, DENIED, ALLOWED),
        ({"Strange": {"aws:PrincipalArn": ROLE_ARN}}, CONDITIONAL, CONDITIONAL),
    ],
)
def test_what_a_condition_leaves_open_is_the_worst_case(condition: Any, allow: Decision, deny: Decision) -> None:
    assert read(role(READ | {"Condition": condition}), bucket()) is allow
    assert read(role(READ, NO_READ | {"Condition": condition}), bucket()) is deny


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], ALLOWED),
        ([{"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "*"}], DENIED),
        ([{"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::lake/raw/*"}], DENIED),
        ([{"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::lake/curated/*"}], ALLOWED),
        ([READ, {"Effect": "Deny", "NotAction": "kms:*", "Resource": "*"}], DENIED),
        ([READ, {"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}], ALLOWED),
        ([READ, {"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:s3:::lake/*"}], ALLOWED),
        ([READ, {"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:s3:::other/*"}], DENIED),
    ],
)
def test_not_elements(items: list[Any], expected: Decision) -> None:
    assert read(role(*items), bucket()) is expected


def test_not_principal() -> None:
    assert read(role(READ), bucket({**NO_READ, "NotPrincipal": {"AWS": ROLE_ARN}})) is ALLOWED
    assert read(role(READ), bucket({**NO_READ, "NotPrincipal": {"AWS": ROLE_ARN + "2"}})) is DENIED
    assert read(role(), bucket({**READ, "NotPrincipal": {"AWS": ROLE_ARN + "2"}})) is ALLOWED


ITEMS = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Deny"]),
        "Action": st.sampled_from(["s3:GetObject", "s3:Get*", "*", "s3:PutObject", "S3:GETOBJECT"]),
        "Resource": st.sampled_from(["*", "arn:aws:s3:::lake/*", "arn:aws:s3:::lake/raw/?", "arn:aws:s3:::⟨x⟩/raw/a"]),
    },
    optional={
        "Condition": st.sampled_from(
            [
                {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}},
                {"StringEquals": {"aws:SourceIp": "10.0.0.1"}},
                {"Bool": {"aws:SecureTransport": "true"}},
            ]
        )
    },
)
PRINCIPALS = st.sampled_from([{"AWS": ROLE_ARN}, {"AWS": ROOT}, "*", {"Service": "s3.amazonaws.com"}])
ON_BUCKET = st.builds(lambda item, principal: item | {"Principal": principal}, ITEMS, PRINCIPALS)
POLICIES = st.tuples(
    st.lists(ITEMS, max_size=3), st.none() | st.lists(ITEMS, max_size=2), st.lists(ON_BUCKET, max_size=3)
)
ACCOUNTS = st.sampled_from([ACCOUNT, OTHER_ACCOUNT])


def _read(identity: list[Any], boundary: list[Any] | None, on_bucket: list[Any], account: str) -> Decision:
    return read(role(*identity, boundary=boundary), bucket(*on_bucket, account=account))


@given(POLICIES, ITEMS, ON_BUCKET, ACCOUNTS)
def test_one_more_statement_widens_only_by_an_allow_and_narrows_only_by_a_deny(
    policies: Any, item: dict[str, Any], on_bucket: dict[str, Any], account: str
) -> None:
    identity, boundary, resource = policies
    before = _read(identity, boundary, resource, account)
    held = _read([*identity, item], boundary, resource, account)
    protected = _read(identity, boundary, [*resource, on_bucket], account)
    assert held >= before if item["Effect"] == "Allow" else held <= before
    assert protected >= before if on_bucket["Effect"] == "Allow" else protected <= before


@given(POLICIES, ACCOUNTS, st.randoms())
def test_the_order_of_statements_means_nothing(policies: Any, account: str, random: Any) -> None:
    shuffled = [random.sample(items, len(items)) if items is not None else None for items in policies]
    assert _read(*policies, account) is _read(*shuffled, account)


@given(POLICIES, st.lists(ITEMS, max_size=2), ACCOUNTS)
def test_a_boundary_never_widens(policies: Any, boundary: list[Any], account: str) -> None:
    identity, _, resource = policies
    assert _read(identity, boundary, resource, account) <= _read(identity, None, resource, account)
