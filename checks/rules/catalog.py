"""Rules for Glue, Athena and Lake Formation."""

from checks.finding import Severity
from checks.rules.resource import Resource, at, intrinsic, items, number, own_key, text, true
from checks.rules.rule import rule

_WORKGROUP = "AWS::Athena::WorkGroup"
_SETTINGS = "WorkGroupConfiguration"
_SECURITY = {
    "AWS::Glue::Job": "SecurityConfiguration",
    "AWS::Glue::DevEndpoint": "SecurityConfiguration",
    "AWS::Glue::Crawler": "CrawlerSecurityConfiguration",
}
_EVERYONE = ("IAM_ALLOWED_PRINCIPALS", "EVERYONE")


@rule(
    "glue-security-configuration",
    *_SECURITY,
    why="Without one, what a job writes to S3, its logs and its bookmarks are not encrypted with a key of yours.",
    fix="Name a Glue SecurityConfiguration.",
)
def glue_security_configuration(job: Resource) -> str | None:
    """A job or crawler runs under a security configuration."""
    return None if job[_SECURITY[job.type]] else "there is no security configuration"


@rule(
    "glue-encryption-modes",
    "AWS::Glue::SecurityConfiguration",
    why="A part that is left out is not encrypted, though a job that names this configuration looks as if it were.",
    fix="Set S3 to SSE-KMS or SSE-S3, CloudWatch to SSE-KMS and job bookmarks to CSE-KMS.",
)
def glue_encryption_modes(configuration: Resource) -> str | None:
    """A security configuration encrypts data, logs and bookmarks."""
    encryption = configuration["EncryptionConfiguration"]
    buckets = [each.get("S3EncryptionMode") for each in items(at(encryption, "S3Encryptions"))]
    parts = {
        "data in S3": bool(buckets) and all(mode in ("SSE-KMS", "SSE-S3") for mode in buckets),
        "logs": at(encryption, "CloudWatchEncryption.CloudWatchEncryptionMode") == "SSE-KMS",
        "job bookmarks": at(encryption, "JobBookmarksEncryption.JobBookmarksEncryptionMode") == "CSE-KMS",
    }
    missing = [part for part, encrypted in parts.items() if not encrypted]
    return f"not encrypted: {', '.join(missing)}" if missing else None


@rule(
    "glue-connection-tls",
    "AWS::Glue::Connection",
    severity=Severity.HIGH,
    why="Password and rows cross the network readable when the database offers no encryption of its own accord.",
    fix='Set JDBC_ENFORCE_SSL to "true"; for Kafka leave KAFKA_SSL_ENABLED true.',
    source="https://docs.aws.amazon.com/glue/latest/dg/connection-properties.html",
)
def glue_connection_tls(connection: Resource) -> str | None:
    """A connection to a database or to Kafka insists on TLS."""
    properties = connection["ConnectionInput.ConnectionProperties"]
    kind = connection["ConnectionInput.ConnectionType"]
    if kind == "JDBC" and not true(at(properties, "JDBC_ENFORCE_SSL")):
        return "the database may be spoken to without TLS"
    kafka = at(properties, "KAFKA_SSL_ENABLED")
    return "Kafka may be spoken to without TLS" if kind == "KAFKA" and not (kafka is None or true(kafka)) else None


@rule(
    "glue-connection-password",
    "AWS::Glue::Connection",
    severity=Severity.HIGH,
    why="The template, every copy of it and everyone who may describe the stack hold the password.",
    fix="Name a secret by SECRET_ID instead of PASSWORD.",
)
def glue_connection_password(connection: Resource) -> str | None:
    """A connection takes its password from a secret."""
    password = connection["ConnectionInput.ConnectionProperties.PASSWORD"]
    if not password or intrinsic(password) or text(password).startswith("{{resolve:"):
        return None
    return "the password is written in the template"


@rule(
    "athena-results-encryption",
    _WORKGROUP,
    why="Query results are copies of the lake's rows.",
    fix="Set ResultConfiguration.EncryptionConfiguration, or managed query results with a KmsKey.",
)
def athena_results_encryption(workgroup: Resource) -> str | None:
    """A workgroup encrypts the results of its queries."""
    option = workgroup[f"{_SETTINGS}.ResultConfiguration.EncryptionConfiguration.EncryptionOption"]
    managed = workgroup[f"{_SETTINGS}.ManagedQueryResultsConfiguration.EncryptionConfiguration.KmsKey"]
    return None if option or own_key(managed) else "results are not encrypted"


@rule(
    "athena-client-override",
    _WORKGROUP,
    why="Any client may write results to a place of its own, unencrypted.",
    fix="Leave EnforceWorkGroupConfiguration true.",
)
def athena_client_override(workgroup: Resource) -> str | None:
    """A workgroup's settings hold whatever a client asks for."""
    enforced = workgroup[f"{_SETTINGS}.EnforceWorkGroupConfiguration"]
    return None if enforced is None or true(enforced) else "clients may override where and how results are written"


@rule(
    "athena-scan-limit",
    _WORKGROUP,
    severity=Severity.LOW,
    why="Athena charges by the bytes it scans: one query without its partition can read the whole lake.",
    fix="Set BytesScannedCutoffPerQuery.",
    source="https://docs.aws.amazon.com/athena/latest/ug/workgroups-setting-control-limits-cloudwatch.html",
)
def athena_scan_limit(workgroup: Resource) -> str | None:
    """A workgroup for SQL stops a query that scans too much."""
    if text(workgroup[f"{_SETTINGS}.EngineVersion.SelectedEngineVersion"]).startswith("PySpark"):
        return None
    cutoff = workgroup[f"{_SETTINGS}.BytesScannedCutoffPerQuery"]
    return None if number(cutoff) or intrinsic(cutoff) else "a query may scan any number of bytes"


@rule(
    "lake-formation-everyone",
    "AWS::LakeFormation::PrincipalPermissions",
    "AWS::LakeFormation::Permissions",
    "AWS::LakeFormation::DataLakeSettings",
    severity=Severity.HIGH,
    why="This principal stands for whoever has any IAM permission on the catalogue, so Lake Formation decides nothing.",
    fix="Grant to named roles, and leave the default permissions of new databases and tables empty.",
    source="https://docs.aws.amazon.com/lake-formation/latest/dg/upgrade-glue-lake-formation-background.html",
)
def lake_formation_everyone(grant: Resource) -> str | None:
    """Lake Formation grants to named principals, also by default."""
    principals = [grant["Principal"], grant["DataLakePrincipal"]]
    for default in ("CreateDatabaseDefaultPermissions", "CreateTableDefaultPermissions"):
        principals += [each.get("Principal") for each in items(grant[default])]
    found = [name for each in principals if (name := at(each, "DataLakePrincipalIdentifier")) in _EVERYONE]
    return f"{found[0]} is granted permissions" if found else None
