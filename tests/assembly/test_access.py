"""Who can read what in our own stacks, as a reviewer last saw it, and nothing that the gate finds."""

import pytest

from checks.accepted import Accepted
from checks.access import findings, matrices
from checks.access.matrix import Matrix, text
from checks.assembly import Assembly
from config.settings import ENVIRONMENTS
from tests.assembly.synthesis import ROOT

RECORDED = ROOT / "tests" / "checks" / "access"
AGAIN = "after `make synth ENV=all`, `python -m checks.access cdk.out --write tests/checks/access`: review the change"


@pytest.fixture(scope="module")
def access(assembly: Assembly) -> dict[str, Matrix]:
    """environment -> its matrix."""
    return {matrix.environment: matrix for matrix in matrices(assembly)}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_nobody_may_do_more_or_less_than_is_recorded(access: dict[str, Matrix], environment: str) -> None:
    recorded = (RECORDED / f"{environment}.txt").read_text()
    assert text(access[environment]).splitlines() == recorded.splitlines(), AGAIN


@pytest.mark.requirement("sec-general", "sec-bucket-policy-json")
def test_no_policy_says_what_none_should(assembly: Assembly) -> None:
    found = list(Accepted(assembly).open(findings(assembly)))
    assert not found, "\n".join(map(str, found))


@pytest.mark.requirement("sec-ec2-role")
def test_only_roles_services_and_the_account_may_do_anything(access: dict[str, Matrix]) -> None:
    """No user with lasting keys, nobody unnamed; the account is what keys leave to IAM."""
    kinds = {row.principal.who.value for matrix in access.values() for row in matrix.rows}
    assert kinds == {"role", "service", "account"}


def test_whoever_may_read_a_bucket_can_use_its_key(access: dict[str, Matrix]) -> None:
    """A role that KMS would refuse has permissions that do nothing, or lacks one."""
    without = [
        f"{matrix.environment} {row.principal.label} {row.resource.label}: {row}"
        for matrix in access.values()
        for row in matrix.rows
        if any(not right.with_key for right in row.rights)
    ]
    assert not without, "\n".join(without)
