"""Rules for Redshift and for DMS, which fills warehouses."""

from checks.finding import Severity
from checks.rules.resource import Resource, at, false, intrinsic, items, own_key, text, true
from checks.rules.rule import rule

_CLUSTER, _WORKGROUP = "AWS::Redshift::Cluster", "AWS::RedshiftServerless::Workgroup"
_NAMESPACE = "AWS::RedshiftServerless::Namespace"
_INSTANCE = "AWS::DMS::ReplicationInstance"
# What a new cluster gets without a group of its own demands TLS.
# https://aws.amazon.com/about-aws/whats-new/2025/01/amazon-redshift-enhanced-default-security-configurations/
_DEFAULT_GROUP = "default.redshift-2.0"
# DMS speaks to the others by AWS's APIs, always with TLS.
_DATABASES = {
    "aurora",
    "aurora-postgresql",
    "db2",
    "docdb",
    "mariadb",
    "mongodb",
    "mysql",
    "oracle",
    "postgres",
    "sqlserver",
    "sybase",
}


@rule(
    "warehouse-public",
    _CLUSTER,
    _WORKGROUP,
    _INSTANCE,
    severity=Severity.HIGH,
    why="A public address puts the warehouse, or what copies databases into it, one password away from the internet.",
    fix="Set PubliclyAccessible to false; a DMS instance is public unless told otherwise.",
    source="https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-dms-replicationinstance.html",
)
def warehouse_public(warehouse: Resource) -> str | None:
    """A warehouse or replication instance has no public address."""
    public = warehouse["PubliclyAccessible"]
    if false(public) or (public is None and warehouse.type != _INSTANCE):
        return None
    return "it has a public address" if public is None or true(public) else "it may have a public address"


@rule(
    "redshift-key",
    _CLUSTER,
    _NAMESPACE,
    why="A key that AWS owns can neither be audited nor withdrawn.",
    fix="Set KmsKeyId to a key of yours, and Encrypted to true on a cluster.",
)
def redshift_key(warehouse: Resource) -> str | None:
    """A warehouse is encrypted with a key of its owner."""
    encrypted = warehouse.type == _NAMESPACE or true(warehouse["Encrypted"])
    if not encrypted:
        return "it is not set to be encrypted"
    return None if own_key(warehouse["KmsKeyId"]) else "the key is AWS's own"


@rule(
    "redshift-logging",
    _CLUSTER,
    _NAMESPACE,
    why="Without its log nobody can tell who connected and what they read.",
    fix="Set LoggingProperties on a cluster, LogExports with connectionlog and userlog on a namespace.",
)
def redshift_logging(warehouse: Resource) -> str | None:
    """A warehouse logs who connects."""
    logs = warehouse["LogExports" if warehouse.type == _NAMESPACE else "LoggingProperties"]
    return None if logs else "connections are not logged"


@rule(
    "redshift-tls",
    _CLUSTER,
    _WORKGROUP,
    severity=Severity.HIGH,
    why="Clients may send passwords and rows readable.",
    fix="Set require_ssl to true in a parameter group of the same template, or leave the default one.",
    source="https://docs.aws.amazon.com/redshift/latest/mgmt/connecting-ssl-support.html",
)
def redshift_tls(warehouse: Resource) -> str | None:
    """A warehouse insists on TLS. A parameter group from elsewhere can't be seen to."""
    if warehouse.type == _WORKGROUP:
        settings, name, value = items(warehouse["ConfigParameters"]), "ParameterKey", "ParameterValue"
        given = [each.get(value) for each in settings if each.get(name) == "require_ssl"]
        return None if all(map(true, given)) else "require_ssl is not true"
    group = warehouse["ClusterParameterGroupName"]
    if group in (None, _DEFAULT_GROUP):
        return None
    for each in warehouse.named_by(group, "AWS::Redshift::ClusterParameterGroup"):
        for parameter in items(each["Parameters"]):
            if at(parameter, "ParameterName") == "require_ssl" and true(at(parameter, "ParameterValue")):
                return None
    return "its parameter group does not set require_ssl"


@rule(
    "dms-endpoint-tls",
    "AWS::DMS::Endpoint",
    severity=Severity.HIGH,
    why="DMS sends passwords and rows readable unless SslMode says otherwise.",
    fix="Set SslMode to require, or verify-full with a certificate.",
    source="https://docs.aws.amazon.com/dms/latest/userguide/CHAP_Security.SSL.html",
)
def dms_endpoint_tls(endpoint: Resource) -> str | None:
    """DMS speaks to a database with TLS."""
    engine, mode = endpoint["EngineName"], endpoint["SslMode"]
    if text(engine).lower() not in _DATABASES and not intrinsic(engine):
        return None
    return None if mode in ("require", "verify-ca", "verify-full") else f"SslMode is {text(mode or 'none')}"
