"""Delivery of delays: the real-time job's metrics go where people ask about them, by setting.

    delays stream -> Firehose -> S3 (Parquet by day, a table for Athena), or OpenSearch, or Redshift

Provisions  a Firehose delivery stream that reads the delays; for S3 the table, for the others a place in the bucket
            for what they refused or still have to load; an alarm, and an encrypted topic that it publishes to.
Inputs      a KMS key, the delays stream, the curated bucket, the catalogue database. As options a domain or collection
            of OpenSearch, or a cluster or workgroup of Redshift, that is there already: neither is cheap.
Outputs     `table` (S3 only), `name`.
Costs       the alarm $0.10 a month; Firehose $0.029 a GB, $0.018 more for Parquet, of records that count as 5 KB at
            least.
Copy        this file, components/{alerts,base,delivery_role,findings,layout,log_group,parquet_table,permissions,
            role}.py and schemas.
"""

from collections.abc import Mapping
from typing import Any, Literal

from aws_cdk import Aws, CfnOutput, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct
from pydantic import Field, model_validator

from components.alerts import Alerts, Email
from components.base import Deployment, Layer, Options
from components.delivery_role import DeliveryRole
from components.findings import explain
from components.log_group import LogGroup
from components.parquet_table import DayPartitionedTable
from components.permissions import allow, allow_any_of, before
from schemas import delays

NAME = "delays"  # of the prefix, the Glue table, the index and the table of Redshift
PREFIX, ERRORS_PREFIX, STAGING_PREFIX = f"{NAME}/", f"errors/{NAME}/", f"staging/{NAME}/"

LATE_SECONDS = 900  # beyond the buffering, before people are told

Part = firehose.CfnDeliveryStream


class DelayDeliveryOptions(Options):
    deliver_to: Literal["s3", "opensearch", "redshift"] = Field("s3", description="where the metrics go")
    buffer_mib: int = Field(64, ge=64, le=128, description="MiB Firehose gathers for S3; Parquet needs 64 or more")
    buffer_seconds: int = Field(300, ge=60, le=900, description="seconds Firehose waits at most")
    opensearch_domain_arn: str | None = Field(
        None,
        pattern=r"^arn:aws[a-z-]*:es:[a-z0-9-]+:\d{12}:domain/[a-z0-9-]+$",
        description="a domain with a public endpoint",
    )
    opensearch_collection: str | None = Field(
        None,
        pattern=r"^https://[a-z0-9]+\.[a-z0-9-]+\.aoss\.amazonaws\.com$",
        description="the endpoint of a serverless collection, https://ID.REGION.aoss.amazonaws.com",
    )
    redshift_jdbc_url: str | None = Field(
        None,
        # https://docs.aws.amazon.com/firehose/latest/APIReference/API_RedshiftDestinationConfiguration.html
        pattern=r"^jdbc:(redshift|postgresql)://([A-Za-z0-9-]+\.)+redshift(-serverless)?\.[A-Za-z0-9.-]+:\d{1,5}/[\w$-]+$",
        description="jdbc:redshift://HOST:PORT/DATABASE of a cluster or workgroup that Firehose reaches",
    )
    redshift_secret_arn: str | None = Field(
        None,
        pattern=r"^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:.+$",
        description="a secret with the username and password that may insert",
    )
    redshift_secret_key_arn: str | None = Field(
        None, pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/.+$", description="the secret's key, unless AWS's own"
    )
    alert_email: Email | None = Field(None, description="who is told when delivery is late")

    @model_validator(mode="after")
    def _names_one_destination(self) -> "DelayDeliveryOptions":
        given = {name for name, value in self if value is not None and name.startswith(("opensearch", "redshift"))}
        needed: dict[str, list[set[str]]] = {
            "s3": [set()],
            "opensearch": [{"opensearch_domain_arn"}, {"opensearch_collection"}],
            "redshift": [{"redshift_jdbc_url", "redshift_secret_arn"}],
        }
        ways = needed[self.deliver_to]
        if given - {"redshift_secret_key_arn"} not in ways or (
            self.redshift_secret_key_arn and self.deliver_to != "redshift"
        ):
            wanted = " or ".join(" and ".join(sorted(way)) or "nothing of another destination" for way in ways)
            raise ValueError(f"deliver_to {self.deliver_to} takes {wanted}; given are {sorted(given) or 'none'}")
        return self


class DelayDelivery(Layer):
    """Delays stream -> S3, OpenSearch or Redshift."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: DelayDeliveryOptions,
        *,
        key: kms.IKey,
        stream: kinesis.IStream,
        curated: s3.IBucket,
        database: glue.IDatabase,
    ) -> None:
        super().__init__(scope, construct_id, deployment, f"Millrace: delays delivered to {options.deliver_to}")
        self.options, self.key, self.curated = options, key, curated
        self.table: DayPartitionedTable | None = None
        errors = LogGroup(self, "Errors", deployment, key=key)
        log_stream = logs.LogStream(self, "Error", log_group=errors, removal_policy=deployment.removal_policy)
        self.logging = Part.CloudWatchLoggingOptionsProperty(
            enabled=True, log_group_name=errors.log_group_name, log_stream_name=log_stream.log_stream_name
        )
        prefixes = {
            "s3": (PREFIX, ERRORS_PREFIX),
            "opensearch": (ERRORS_PREFIX,),
            # Firehose lists what is to be loaded under manifests/, and under errors/ what could not be.
            "redshift": (STAGING_PREFIX, "manifests/", "errors/"),
        }
        self.role = DeliveryRole(
            self,
            "Role",
            key=key,
            stream=stream,
            bucket=curated,
            prefixes=prefixes[options.deliver_to],
            errors=errors,
        )
        # Firehose turns no delivery to OpenSearch into another, nor another into one: under a new id it is replaced.
        # https://docs.aws.amazon.com/firehose/latest/APIReference/API_UpdateDestination.html
        to = "Domain" if options.opensearch_domain_arn else "Collection" if options.opensearch_collection else ""
        delivery = Part(
            self,
            f"{to}Delivery",
            delivery_stream_type="KinesisStreamAsSource",
            kinesis_stream_source_configuration=Part.KinesisStreamSourceConfigurationProperty(
                kinesis_stream_arn=stream.stream_arn, role_arn=self.role.role_arn
            ),
            **self._destination(database),
        )
        before(self.role, delivery)
        explain(
            delivery, "KDF1", "the records are encrypted in the stream it reads; Firehose takes no key of its own then"
        )
        self.name = delivery.ref
        self._watch(options, key)
        CfnOutput(self, "DelayDeliveryStreamName", value=self.name)

    def _watch(self, options: DelayDeliveryOptions, key: kms.IKey) -> None:
        """https://docs.aws.amazon.com/firehose/latest/dev/firehose-cloudwatch-metrics-best-practices.html"""
        to_opensearch = "OpenSearchServerless" if options.opensearch_collection else "OpenSearchService"
        to = f"Amazon{to_opensearch}" if options.deliver_to == "opensearch" else "S3"  # where Redshift loads it from
        waiting = cloudwatch.Metric(
            namespace="AWS/Firehose",
            metric_name=f"DeliveryTo{to}.DataFreshness",
            dimensions_map={"DeliveryStreamName": self.name},
            statistic="Maximum",
            period=Duration.minutes(5),
        )
        Alerts(self, "Alerts", key=key, email=options.alert_email).alarm(
            "DelaysLate",
            waiting,
            "Delays wait for where they are delivered: the delivery stream's log says why they can't be written",
            threshold=options.buffer_seconds + LATE_SECONDS,
        )

    def _destination(self, database: glue.IDatabase) -> Mapping[str, Any]:
        """The one property of the delivery stream that says where to."""
        if self.options.deliver_to == "s3":
            return {"extended_s3_destination_configuration": self._to_s3(database)}
        if self.options.deliver_to == "redshift":
            return {"redshift_destination_configuration": self._to_redshift()}
        if self.options.opensearch_domain_arn:
            return {
                "amazonopensearchservice_destination_configuration": self._to_domain(self.options.opensearch_domain_arn)
            }
        return {
            "amazon_open_search_serverless_destination_configuration": self._to_collection(
                str(self.options.opensearch_collection)
            )
        }

    def _to_s3(self, database: glue.IDatabase) -> firehose.CfnDeliveryStream.ExtendedS3DestinationConfigurationProperty:
        """Parquet by the day of arrival: metrics are of now, and Firehose knows no other day without a function."""
        self.table = DayPartitionedTable(
            self,
            "Delays",
            database=database,
            bucket=self.curated,
            prefix=PREFIX,
            table_name=NAME,
            columns=delays.COLUMNS,
            description="Delays by airport and minute with their anomaly scores, by the day (UTC) that they came in",
        )
        self.role.convert_by(self.table)
        days = (("year", "yyyy"), ("month", "MM"), ("day", "dd"))
        by_day = "/".join(f"{unit}=!{{timestamp:{letters}}}" for unit, letters in days)
        schema = Part.SchemaConfigurationProperty(
            database_name=database.database_name,
            table_name=self.table.table_name,
            region=Aws.REGION,
            role_arn=self.role.role_arn,
            version_id="LATEST",
        )
        reads = Part.DeserializerProperty(open_x_json_ser_de=Part.OpenXJsonSerDeProperty())
        writes = Part.SerializerProperty(parquet_ser_de=Part.ParquetSerDeProperty())
        return Part.ExtendedS3DestinationConfigurationProperty(
            **self._bucket(f"{PREFIX}{by_day}/", mib=self.options.buffer_mib),
            data_format_conversion_configuration=Part.DataFormatConversionConfigurationProperty(
                enabled=True,
                schema_configuration=schema,
                input_format_configuration=Part.InputFormatConfigurationProperty(deserializer=reads),
                output_format_configuration=Part.OutputFormatConfigurationProperty(serializer=writes),
            ),
        )

    def _to_domain(
        self, domain: str
    ) -> firehose.CfnDeliveryStream.AmazonopensearchserviceDestinationConfigurationProperty:
        """An index a month; the domain's own policy, or its fine-grained access, has to let the role in.

        https://docs.aws.amazon.com/firehose/latest/dev/controlling-access.html#using-iam-es
        """
        allow_any_of(
            self.role,
            "Firehose names what it asks of a domain: bulk requests, settings, mappings and statistics",
            ["es:DescribeDomain", "es:DescribeDomains", "es:DescribeDomainConfig", "es:ESHttpPost", "es:ESHttpPut"],
            domain,
            f"{domain}/*",
            finding=r".*:domain/[^/]*/\*",
        )
        paths = ("_all/_settings", "_cluster/stats", f"{NAME}*/_mapping/*", "_nodes", "_nodes/*stats", "_stats")
        allow_any_of(
            self.role,
            "the indices of one name, and nodes that the domain names",
            ["es:ESHttpGet"],
            *(f"{domain}/{path}" for path in (*paths, f"{NAME}*/_stats")),
            finding=r".*:domain/[^/]*/.+",
        )
        return Part.AmazonopensearchserviceDestinationConfigurationProperty(
            domain_arn=domain,
            index_name=NAME,
            index_rotation_period="OneMonth",
            role_arn=self.role.role_arn,
            s3_backup_mode="FailedDocumentsOnly",
            s3_configuration=Part.S3DestinationConfigurationProperty(**self._bucket(ERRORS_PREFIX)),
            buffering_hints=Part.AmazonopensearchserviceBufferingHintsProperty(
                interval_in_seconds=self.options.buffer_seconds, size_in_m_bs=5
            ),
            cloud_watch_logging_options=self.logging,
        )

    def _to_collection(
        self, endpoint: str
    ) -> firehose.CfnDeliveryStream.AmazonOpenSearchServerlessDestinationConfigurationProperty:
        """The collection's data access policy has to let the role in, and decides what it may do there.

        https://docs.aws.amazon.com/firehose/latest/dev/controlling-access.html#using-iam-serverless
        """
        collection = endpoint.removeprefix("https://").partition(".")[0]
        allow(
            self.role,
            ["aoss:APIAccessAll"],
            self.format_arn(service="aoss", resource="collection", resource_name=collection),
        )
        return Part.AmazonOpenSearchServerlessDestinationConfigurationProperty(
            collection_endpoint=endpoint,
            index_name=NAME,
            role_arn=self.role.role_arn,
            s3_backup_mode="FailedDocumentsOnly",
            s3_configuration=Part.S3DestinationConfigurationProperty(**self._bucket(ERRORS_PREFIX)),
            buffering_hints=Part.AmazonOpenSearchServerlessBufferingHintsProperty(
                interval_in_seconds=self.options.buffer_seconds, size_in_m_bs=5
            ),
            cloud_watch_logging_options=self.logging,
        )

    def _to_redshift(self) -> firehose.CfnDeliveryStream.RedshiftDestinationConfigurationProperty:
        """A table `delays` with the columns of schemas/delays.py; it loads what Firehose has gathered in the bucket."""
        options = self.options
        secret, secret_key = str(options.redshift_secret_arn), options.redshift_secret_key_arn
        allow(self.role, ["secretsmanager:GetSecretValue"], secret)
        if secret_key:
            allow(self.role, ["kms:Decrypt"], secret_key)
        return Part.RedshiftDestinationConfigurationProperty(
            cluster_jdbcurl=str(options.redshift_jdbc_url),
            copy_command=Part.CopyCommandProperty(data_table_name=NAME, copy_options="FORMAT AS JSON 'auto' GZIP"),
            role_arn=self.role.role_arn,
            s3_configuration=Part.S3DestinationConfigurationProperty(
                **self._bucket(STAGING_PREFIX), compression_format="GZIP"
            ),
            secrets_manager_configuration=Part.SecretsManagerConfigurationProperty(
                enabled=True, secret_arn=secret, role_arn=self.role.role_arn
            ),
            cloud_watch_logging_options=self.logging,
        )

    def _bucket(self, prefix: str, mib: int = 5) -> dict[str, Any]:
        """The properties of a place in the bucket, whatever it is for."""
        return {
            "bucket_arn": self.curated.bucket_arn,
            "role_arn": self.role.role_arn,
            "prefix": prefix,
            "error_output_prefix": f"{ERRORS_PREFIX}!{{firehose:error-output-type}}/",
            "buffering_hints": Part.BufferingHintsProperty(
                interval_in_seconds=self.options.buffer_seconds, size_in_m_bs=mib
            ),
            "encryption_configuration": Part.EncryptionConfigurationProperty(
                kms_encryption_config=Part.KMSEncryptionConfigProperty(awskms_key_arn=self.key.key_arn)
            ),
            "cloud_watch_logging_options": self.logging,
        }
