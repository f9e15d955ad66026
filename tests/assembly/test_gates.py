"""The gates over our own assembly: `make check` as a test."""

from checks.accepted import Accepted
from checks.assembly import Assembly
from checks.finding import Finding
from checks.lasting import STATEFUL
from checks.page import page
from config.settings import ENVIRONMENTS, load
from tests.assembly.synthesis import ROOT


def test_no_gate_finds_anything(assembly: Assembly, judged: list[Finding]) -> None:
    found = sorted(Accepted(assembly).open(judged))
    assert not found, "\n".join(map(str, found))


def test_what_holds_data_is_kept_or_gone_as_the_environment_says(assembly: Assembly) -> None:
    for environment in ENVIRONMENTS:
        expected = "Retain" if load(environment).retain else "Delete"
        stacks = assembly.environments[environment].values()
        policies = {each["DeletionPolicy"] for stack in stacks for each in stack.resources(*STATEFUL).values()}
        assert policies == {expected}, environment


def test_the_security_page_is_that_of_this_assembly(assembly: Assembly, judged: list[Finding]) -> None:
    assert (ROOT / "docs" / "security.md").read_text() == page(assembly, judged), "`make security` writes it anew"
