"""Apps of one stack of ours each, given by their project folders, with plain stand-ins for what it takes from others.

All run in this process, since half the time would go to starting it: each imports from its own folder and nothing else
of this repository. What goes wrong is written to error.txt in the folder; the assembly to cdk.out.
"""

import importlib
import inspect
import sys
import traceback
from pathlib import Path
from typing import Any

from aws_cdk import App
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns

ACCOUNT, REGION = "123456789012", "eu-west-1"
# Options of the stacks that make nothing by default.
GIVEN: dict[str, dict[str, Any]] = {
    "account_settings": {"glue_catalog_encryption": True, "s3_block_public_access": True},
    "people": dict.fromkeys(("data_engineers", "data_scientists", "auditors"), ("user/them",)),
}


def main(projects: list[Path]) -> None:
    """Synthesize each project: a folder with the name of its stack's module."""
    for project in projects:
        sys.path.insert(0, str(project))
        try:
            synthesize(project)
        except Exception:  # the others still have to be tried; the test reads this
            (project / "error.txt").write_text(traceback.format_exc())
        sys.path.remove(str(project))
        own = {path.name for path in project.iterdir()}
        for name in [name for name in sys.modules if name.split(".")[0] in own]:
            del sys.modules[name]


def synthesize(project: Path) -> None:
    """The stack of stacks/<project's name>.py, and a stack of stand-ins."""
    module, base = (importlib.import_module(name) for name in (f"stacks.{project.name}", "components.base"))
    layer = getattr(module, project.name.title().replace("_", ""))
    parameters = inspect.signature(layer.__init__).parameters.values()
    options = next(parameter.annotation for parameter in parameters if parameter.name == "options")
    inputs = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]

    app = App(outdir=str(project / "cdk.out"))
    deployment = base.Deployment(prefix="theirs", account=ACCOUNT, region=REGION, retain=False)
    existing = base.Layer(app, "existing", deployment, "What a user has already")
    given = options(**GIVEN.get(project.name, {}))
    layer(app, "lifted", deployment, given, **{name: stand_in(existing, name) for name in inputs})
    app.synth()


def stand_in(stack: Any, name: str) -> Any:
    """The input `name` of a stack, as plain as the library makes it."""
    match name:
        case "raw" | "curated" | "quarantine" | "models" | "captured" | "athena_results" | "packages":
            return s3.Bucket(stack, name)
        case "buckets":
            return [s3.Bucket(stack, name)]
        case "key":
            return kms.Key(stack, name)
        case "vpc":
            return ec2.Vpc(stack, name)
        case "repository":
            return ecr.Repository(stack, name)
        case "stream":
            return kinesis.Stream(stack, name)
        case "database":
            return glue.Database(stack, name, database_name="theirs")
        case "flights_table" | "weather_table":
            return glue.S3Table.from_table_arn(stack, name, f"arn:aws:glue:{REGION}:{ACCOUNT}:table/theirs/{name}")
        case "curate_job":
            return glue.PySparkEtlJob.from_job_attributes(stack, name, job_name="theirs")
        case "alerts":
            return sns.Topic(stack, name)
        case "image_uri":
            return f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/theirs:1"
        case "training_pipeline_arn":
            return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/theirs"
        case _:
            return f"their-{name}"


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
