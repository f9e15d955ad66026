"""Each stack synthesizes in a new project from the files its docstring says to copy, and no others."""

from pathlib import Path

import pytest

from checks.assembly import Assembly
from tests.assembly.conftest import LAYERS


@pytest.mark.parametrize("layer", LAYERS)
def test_a_stack_lifts_out_with_what_its_docstring_names(layer: str, lifted: Path) -> None:
    project = lifted / layer
    error = project / "error.txt"
    assert not error.exists(), error.read_text()
    stacks = {stack.layer: stack for stack in Assembly(project / "cdk.out").stacks}
    assert stacks["lifted"].resources()
