"""The lake and a stack that reads it, in two stages; in `after` the lake's database and raw bucket are replaced."""

from aws_cdk import App, CfnResource, CrossStackReferences, ReferenceStrength, Stage
from aws_cdk import aws_kms as kms

from components.base import Deployment, Layer
from stacks.catalog_etl import CatalogEtl, CatalogEtlOptions
from stacks.data_lake import DataLake, DataLakeOptions


def build(app: App, stage: str, *, replaced: bool) -> None:
    """The lake and its consumer; a new logical id is what CloudFormation replaces a resource by."""
    scope = Stage(app, stage)
    here = Deployment(prefix="millrace-test", account="123456789012", region="us-east-1", retain=False)
    key = kms.Key(Layer(scope, "keys", here, "A key"), "Key")
    CrossStackReferences.of(key).produce(ReferenceStrength.STRONG)
    lake = DataLake(scope, "data-lake", here, DataLakeOptions(), key=key)
    if replaced:
        for producer in (lake.database, lake.raw):
            child = producer.node.default_child
            assert isinstance(child, CfnResource)
            child.override_logical_id(f"Replaced{producer.node.id}")
    CatalogEtl(
        scope,
        "catalog-etl",
        here,
        CatalogEtlOptions(),
        key=key,
        raw=lake.raw,
        curated=lake.curated,
        athena_results=lake.athena_results,
        database=lake.database,
    )


if __name__ == "__main__":
    application = App()
    build(application, "before", replaced=False)
    build(application, "after", replaced=True)
    application.synth()
