"""What the Makefile hands to the CDK CLI: every stack of one environment, and none of another."""

import os
import shlex
import subprocess

from checks.assembly import Assembly
from local import tools


def chosen_by(verb: str, environment: str) -> list[str]:
    """The words after `cdk <verb>` in the recipe of `make <verb> ENV=<environment>`."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--dry-run", verb, f"ENV={environment}"]
    recipe = subprocess.run(command, cwd=tools.ROOT, env=outside, capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in recipe.splitlines() if f"/cdk {verb} " in line]
    return shlex.split(line)[2:]


def test_deploy_diff_and_destroy_are_for_every_stack_of_an_environment(assembly: Assembly) -> None:
    chosen = chosen_by("deploy", "production")
    assert chosen_by("diff", "production") == chosen_by("destroy", "production") == chosen
    program = [str(tools.node()), str(tools.cdk().resolve()), "list", "--app", str(assembly.folder), "--no-notices"]
    listed = subprocess.run([*program, *chosen], cwd=tools.ROOT, capture_output=True, text=True, check=True).stdout
    wanted = {f"production/{layer}" for layer in assembly.environments["production"]}
    assert {line.split()[0] for line in listed.splitlines()} == wanted
