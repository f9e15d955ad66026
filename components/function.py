"""A Python Lambda function with its own log group and a role that holds only what it is granted."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsii
from aws_cdk import AssetHashType, BundlingOptions, DockerImage, Duration, ILocalBundling
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from components.base import ROOT, Deployment
from components.findings import explain
from components.log_group import LogGroup
from components.permissions import allow, before, decrypt, send_traces
from components.role import ServiceRole

REQUIREMENTS = "requirements.txt"
VENDORED = "build/vendored"


class Function(lambda_.Function):
    """`lambda/<folder>` as a function: newest runtime, traced, encrypted environment and logs, no managed policy.

    A requirements.txt in the folder names packages that go with it, `shared` those of this repository: a folder each.
    `failures_reach` names who hears of an event that the function could not handle. Raises VendoredPackagesError when
    the pinned packages are not there.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        *,
        folder: str,
        key: kms.IKey,
        failures_reach: str,
        description: str,
        shared: Sequence[str] = (),
        handler: str = "handler.handler",
        timeout: Duration | None = None,
        memory_mb: int = 256,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        log_group = LogGroup(scope, f"{construct_id}Logs", deployment, key=key)
        role = ServiceRole(scope, f"{construct_id}Role", "lambda")
        allow(role, ["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn)
        decrypt(role, key)
        send_traces(role)
        super().__init__(
            scope,
            construct_id,
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            code=_code(folder, shared),
            handler=handler,
            description=description,
            role=role.without_policy_updates(),  # it holds what is listed here and what its stack allows it
            log_group=log_group,
            timeout=timeout or Duration.seconds(30),
            memory_size=memory_mb,
            environment=dict(environment or {}),
            environment_encryption=key,
            tracing=lambda_.Tracing.ACTIVE,
        )
        self.permissions = role
        before(role, self)
        explain(self, "LambdaDLQ|CKV_AWS_116", f"a failure reaches {failures_reach}")
        explain(self, "LambdaConcurrency|CKV_AWS_115", "a new account has none to reserve, others would lose it")
        explain(self, "LambdaInsideVPC|CKV_AWS_117", "it calls AWS's APIs alone, over TLS and with its role")


class VendoredPackagesError(RuntimeError):
    """The packages that a function's requirements.txt pins are not there; the message says how to get them."""


@jsii.implements(ILocalBundling)
class Gathered:
    """Gathers an asset by plain copies of files and folders: no Docker at synth.

    `sources` are (name in the asset, path in this repository); folders of one name merge, and "." is the asset's top.
    """

    def __init__(self, *sources: tuple[str, str]) -> None:
        self.sources = sources

    def try_bundle(self, output_dir: str, *_args: object, **_options: object) -> bool:
        for name, path in self.sources:
            source, target = ROOT / path, Path(output_dir) / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", ".*")
                shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy2(source, target)
        return True


def gathered(*sources: tuple[str, str]) -> dict[str, Any]:
    """Options of an asset that is gathered so; its hash is that of its content alone."""
    image = DockerImage.from_registry("never-pulled")
    # Never run, but assets of one path whose options differ in `local` alone would be taken for one.
    command = [f"{name}={path}" for name, path in sources]
    return {
        "asset_hash_type": AssetHashType.OUTPUT,
        "bundling": BundlingOptions(image=image, command=command, local=Gathered(*sources)),
    }


def _code(folder: str, shared: Sequence[str]) -> lambda_.AssetCode:
    """The function's own code, and at its side the packages it needs, built for where it runs."""
    own = f"lambda/{folder}"
    others = [*_vendored(folder), *((package, package) for package in shared)]
    options = gathered(*others, (".", own)) if others else {"exclude": ["__pycache__", ".*"]}
    return lambda_.Code.from_asset(str(ROOT / own), **options)


def _vendored(folder: str) -> list[tuple[str, str]]:
    pinned = ROOT / "lambda" / folder / REQUIREMENTS
    if not pinned.exists():
        return []
    installed = ROOT / VENDORED / folder / f".{REQUIREMENTS}"  # `make install` puts a copy there when it is done
    if not installed.exists() or installed.read_bytes() != pinned.read_bytes():
        raise VendoredPackagesError(
            f"{VENDORED}/{folder} is not what lambda/{folder}/{REQUIREMENTS} pins: `make install`, "
            "and where this is a copy, copy both again after that"
        )
    return [(".", f"{VENDORED}/{folder}")]
