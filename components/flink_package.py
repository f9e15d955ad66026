"""A Flink job's package built in AWS: its code, the wheels it needs and the Kinesis connector in one zip."""

import hashlib
import json
from collections.abc import Sequence

from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from components.aws_build import build_in_aws
from components.base import ROOT, Deployment
from components.function import gathered
from components.permissions import write_objects
from components.role import ServiceRole

# Where the package holds what the application's run options name:
# https://docs.aws.amazon.com/managed-flink/latest/java/how-python-creating.html
ENTRY, MODULES, CONNECTOR = "main.py", "dep/", "lib/connector.jar"

# The table connector for Flink 2.x, with all it needs:
# https://docs.aws.amazon.com/managed-flink/latest/java/how-flink-connectors.html
_COORDINATE = "org.apache.flink:flink-sql-connector-aws-kinesis-streams:6.0.1-2.0"
_COPY = "mvn --batch-mode --quiet --strict-checksums org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


class FlinkPackage(Construct):
    """A CodeBuild project, and a custom resource that builds `folder`'s package and waits for it.

    `folder` has main.py, the modules it imports, and requirements.txt with hashes; `shared` are packages of this
    repository, a folder each. `key_in_bucket`, under `prefix` of `bucket`, holds the hash of them all and of the build,
    `run_options` says what is in it. What reads the package has to depend on this construct.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        *,
        folder: str,
        shared: Sequence[str],
        key: kms.IKey,
        bucket: s3.IBucket,
        prefix: str,
        connector_sha256: str | None,
    ) -> None:
        super().__init__(scope, construct_id)
        sources = ((".", folder), *((package, package) for package in shared))
        source = s3_assets.Asset(self, "Source", path=str(ROOT / folder), **gathered(*sources))
        build = _build_spec(shared, connector_sha256)
        digest = hashlib.sha256((source.asset_hash + json.dumps(build)).encode()).hexdigest()
        self.bucket, self.prefix = bucket, prefix
        self.run_options = {"python": ENTRY, "jarfile": CONNECTOR, "pyFiles": MODULES}
        self.key_in_bucket = f"{prefix}{digest[:32]}.zip"
        role = ServiceRole(self, "BuildRole", "codebuild")
        write_objects(role, bucket, prefix)
        build_in_aws(
            self,
            deployment,
            product="Package",
            makes="Flink job's package and puts it under the hash of its sources",
            role=role,
            source=source,
            key=key,
            spec=build,
            properties={"Bucket": bucket.bucket_name, "Key": self.key_in_bucket},
        )


def _build_spec(shared: Sequence[str], connector_sha256: str | None) -> dict[str, object]:
    """The build as CodeBuild runs it: one command that fails ends it.

    The connector is checked against the signature of those who released it, whose keys come from Apache itself and not
    from where the jar comes from; and against `connector_sha256` if given. Managed Flink 2.2 runs Python 3.12:
    https://docs.aws.amazon.com/managed-flink/latest/java/how-python.html
    """
    jar = f"package/{CONNECTOR}"
    name = "-".join(_COORDINATE.split(":")[1:])
    wheels = "--no-deps --only-binary=:all: --require-hashes --platform manylinux_2_28_x86_64 --python-version 3.12"
    return {
        "version": "0.2",
        "phases": {
            "install": {"runtime-versions": {"java": "corretto17", "python": "3.12"}},
            "build": {
                "commands": [
                    f"mkdir -p package/{MODULES} package/lib fetched",
                    f"cp {ENTRY} package/ && cp -r $(ls *.py | grep -vx {ENTRY}) {' '.join(shared)} package/{MODULES}",
                    f"python -m pip install --quiet {wheels} --target package/{MODULES} -r requirements.txt",
                    *(
                        f"{_COPY} -Dartifact={_COORDINATE}:{kind} -DoutputDirectory=fetched"
                        for kind in ("jar", "jar.asc")
                    ),
                    "curl -sSf https://downloads.apache.org/flink/KEYS | gpg --quiet --import",
                    f"gpg --verify fetched/{name}.jar.asc fetched/{name}.jar",
                    f"mv fetched/{name}.jar {jar} && sha256sum {jar}",
                    *([f"echo '{connector_sha256}  {jar}' | sha256sum --check"] if connector_sha256 else []),
                    "(cd package && zip -qr ../package.zip .)",
                    'aws s3 cp --only-show-errors package.zip "s3://$BUCKET/$KEY"',
                ]
            },
        },
    }
