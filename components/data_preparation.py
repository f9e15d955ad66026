"""Cleaning by people who don't write code: a DataBrew project over a catalogued table, and the job that repeats it."""

from aws_cdk import Aws
from aws_cdk import aws_databrew as databrew
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kms as kms
from constructs import Construct

from components.parquet_table import CataloguedTable, read_tables
from components.permissions import allow, allow_any_of, before, replace_objects, use_key
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
    """Dataset, recipe, project and job over a table; the job writes to the folder `output` of the table's bucket.

    Opening the project costs $1 a session of half an hour; the job $0.48 a node and hour.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        source: CataloguedTable,
        output: str,
        database: glue.IDatabase,
        key: kms.IKey,
    ) -> None:
        super().__init__(scope, construct_id)
        role = self._role(source, output, database, key)
        dataset = databrew.CfnDataset(
            self,
            "Dataset",
            name=name,
            input=databrew.CfnDataset.InputProperty(
                data_catalog_input_definition=databrew.CfnDataset.DataCatalogInputDefinitionProperty(
                    catalog_id=Aws.ACCOUNT_ID, database_name=database.database_name, table_name=source.table.table_name
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
                    location=databrew.CfnJob.S3LocationProperty(bucket=source.bucket.bucket_name, key=output),
                    format="PARQUET",
                    overwrite=True,
                )
            ],
        )
        project.node.add_dependency(dataset)
        project.node.add_dependency(recipe)
        job.node.add_dependency(project)
        before(role, project, job)

    def _role(self, source: CataloguedTable, output: str, database: glue.IDatabase, key: kms.IKey) -> ServiceRole:
        role = ServiceRole(self, "Role", "databrew")
        read_tables(role, database, source)
        replace_objects(role, source.bucket, output)
        allow(role, ["s3:GetBucketLocation"], source.bucket.bucket_arn)
        use_key(role, key)
        allow_any_of(
            role,
            "DataBrew names the log streams of its jobs itself",
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
            f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:/aws-glue-databrew/*",
            finding=r".*:log-group:/aws-glue-databrew/\*",
        )
        return role
