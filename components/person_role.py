"""Roles that named people assume, with a second factor and for a few hours, and the boundary around all of them."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from aws_cdk import Aws, Duration
from aws_cdk import aws_iam as iam
from constructs import Construct

from components.findings import explain
from components.principal import Principal, account_of, principal_arn


class Boundary(iam.ManagedPolicy):
    """A permissions boundary: what is attached to a person's role later adds nothing that none of them had."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id, description="What no role of a person ever exceeds")

    def enclose(self, roles: Iterable["PersonRole"], passed: Sequence[iam.Role] = ()) -> None:
        """Allow what the `roles` are allowed by now, within this account, and passing on the roles `passed`."""
        actions = sorted({action for role in roles for action in _allowed(role)} - {"iam:PassRole"})
        self.add_statements(
            iam.PolicyStatement(
                actions=actions,
                resources=["*"],
                conditions={"StringEqualsIfExists": {"aws:ResourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        explain(self, r"IAM5\[Resource::\*\]", "a boundary grants nothing: it names actions, the roles' policies where")
        if passed:
            self.add_statements(
                iam.PolicyStatement(actions=["iam:PassRole"], resources=[role.role_arn for role in passed])
            )


class PersonRole(iam.Role):
    """Assumed by `people` only, and only if their own account lets them; never more than `boundary` allows.

    IAM refuses a trust policy that names a user or role that does not exist. So it trusts their account, and holds the
    caller's name against `people` in a condition: that allows * in a name, and whoever is hired later.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        description: str,
        people: Sequence[Principal],
        second_factor: bool,
        hours: int,
        boundary: Boundary,
    ) -> None:
        factor = {"Bool": {"aws:MultiFactorAuthPresent": "true"}} if second_factor else {}
        trusted = [
            iam.AccountPrincipal(account).with_conditions(
                {"ArnLike": {"aws:PrincipalArn": [principal_arn(person) for person in named]}, **factor}
            )
            for account, named in groupby(sorted(people, key=account_of), account_of)
        ]
        super().__init__(
            scope,
            construct_id,
            description=description,
            assumed_by=iam.CompositePrincipal(*trusted),
            max_session_duration=Duration.hours(hours),
            permissions_boundary=boundary,
        )
        explain(self, "IAMNoInlinePolicy", "the policy is this one role's; a managed one could be attached to others")


def _allowed(role: PersonRole) -> Iterator[str]:
    """The actions that the role's own policy allows."""
    policy = role.node.find_child("DefaultPolicy")
    for statement in policy.document.to_json()["Statement"]:
        if statement["Effect"] == "Allow":
            actions = statement["Action"]
            yield from [actions] if isinstance(actions, str) else actions
