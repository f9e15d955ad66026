"""Cleaning by people who don't write code: a DataBrew project over a catalogued table, and the job that repeats it."""

from aws_cdk import Aws, Stack
from aws_cdk import aws_databrew as databrew
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from components.permissions import allow, allow_any_of, before, read_objects, replace_objects, use_key
from components.role import ServiceRole

# What a look at the curated flights asks for. docs.aws.amazon.com/databrew/latest/dg/recipe-actions-reference.html
STEPS: tuple[tuple[str, dict[str, str]], ...] = (
    ("DELETE_DUPLICATE_ROWS", {}),
    # A flight that was cancelled or diverted has no arrival to learn from.
    ("REMOVE_MISSING", {"sourceColumn": "arr_delay"}),
    ("REMOVE_INVALID", {"sourceColumn": "distance", "columnDataType": "number"}),
    # No gust is reported when there is none; a pressure that was not measured was hardly far from the others.
    ("FILL_WITH_CUSTOM", {"sourceColumn": "wind_gust", "columnDataType": "number", "value": "0"}),
    ("FILL_WITH_MEDIAN", {"sourceColumn": "pressure"}),
    # A flight's number is a name: nobody adds two.
    ("CHANGE_DATA_TYPE", {"sourceColumn": "flight", "columnDataType": "string"}),
)


class DataPreparation(Construct):
    """Dataset, recipe, project and job over `table`, whose objects are under `folder`; the job writes `output`.

    Opening the project costs $1 a session of half an hour; the job $0.48 a node and hour.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        table: glue.ITable,
        database: glue.IDatabase,
        bucket: s3.IBucket,
        folder: str,
        output: str,
        key: kms.IKey,
    ) -> None:
        super().__init__(scope, construct_id)
        role = self._role(table, database, bucket, folder, output, key)
        dataset = databrew.CfnDataset(
            self,
            "Dataset",
            name=name,
            input=databrew.CfnDataset.InputProperty(
                data_catalog_input_definition=databrew.CfnDataset.DataCatalogInputDefinitionProperty(
                    catalog_id=Aws.ACCOUNT_ID, database_name=database.database_name, table_name=table.table_name
                )
            ),
        )
        recipe = databrew.CfnRecipe(
            self,
            "Recipe",
            name=name,
            description="Flights that arrived, without gaps in their weather",
            steps=[
                databrew.CfnRecipe.RecipeStepProperty(
                    action=databrew.CfnRecipe.ActionProperty(operation=operation, parameters=parameters or None)
                )
                for operation, parameters in STEPS
            ],
        )
        project = databrew.CfnProject(
            self, "Project", name=name, dataset_name=dataset.name, recipe_name=recipe.name, role_arn=role.role_arn
        )
        job = databrew.CfnJob(
            self,
            "Job",
            name=name,
            type="RECIPE",
            project_name=project.name,
            role_arn=role.role_arn,
            encryption_mode="SSE-KMS",
            encryption_key_arn=key.key_arn,
            log_subscription="ENABLE",
            max_capacity=2,
            timeout=60,
            outputs=[
                databrew.CfnJob.OutputProperty(
                    location=databrew.CfnJob.S3LocationProperty(bucket=bucket.bucket_name, key=output),
                    format="PARQUET",
                    overwrite=True,
                )
            ],
        )
        project.add_dependency(dataset)
        project.add_dependency(recipe)
        job.add_dependency(project)
        before(role, project, job)

    def _role(
        self,
        table: glue.ITable,
        database: glue.IDatabase,
        bucket: s3.IBucket,
        folder: str,
        output: str,
        key: kms.IKey,
    ) -> ServiceRole:
        role = ServiceRole(self, "Role", "databrew")
        read_objects(role, bucket, folder)
        replace_objects(role, bucket, output)
        allow(role, ["s3:GetBucketLocation"], bucket.bucket_arn)
        use_key(role, key)
        catalog = Stack.of(self).format_arn(service="glue", resource="catalog")
        actions = ["glue:GetDatabase", "glue:GetTable", "glue:GetPartitions"]
        allow(role, actions, catalog, database.database_arn, table.table_arn)
        allow_any_of(
            role,
            "DataBrew names the log streams of its jobs itself",
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
            f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:/aws-glue-databrew/*",
            finding=r".*:log-group:/aws-glue-databrew/\*",
        )
        return role
