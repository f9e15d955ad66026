"""Rules for what runs code and what calls it: Lambda, EMR, Batch, Airflow, EventBridge, logs and alarms."""

import re

from checks.finding import Severity
from checks.rules.resource import Resource, at, false, intrinsic, items, number, own_key, parsed, target, text, true
from checks.rules.rule import rule

_SECRET_NAME = re.compile(
    r"(.*_)?(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|API_?KEY|SECRET_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIALS?)",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"(AKIA|ASIA)[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|{{resolve:(secretsmanager|ssm-secure):"
)


@rule(
    "nested-stack",
    "AWS::CloudFormation::Stack",
    severity=Severity.HIGH,
    why="Its template is a file of its own that no rule and no other gate reads: whatever is in it passes.",
    fix="Make it a stack of the app, or judge its template by itself and acknowledge this.",
)
def nested_stack(_stack: Resource) -> str | None:
    """There is no nested stack, which nothing here judges."""
    return "nothing of what it holds has been judged"


@rule(
    "lambda-secret-in-environment",
    "AWS::Lambda::Function",
    severity=Severity.HIGH,
    why="Whoever may read the function's configuration has the secret; so it has one of a dynamic reference.",
    fix="Give the function the secret's name, and let it read Secrets Manager or Parameter Store.",
    source="https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html",
)
def lambda_secret_in_environment(function: Resource) -> str | None:
    """A function's environment holds no secret, only where one is."""
    variables = function["Environment.Variables"]
    for name, value in variables.items() if isinstance(variables, dict) else ():
        literal = isinstance(value, str) and value and not value.startswith(("arn:", "/"))
        if (literal and _SECRET_NAME.fullmatch(name)) or _SECRET_VALUE.search(text(value)):
            return f"{name} holds a secret"
    return None


@rule(
    "lambda-stream-poison-record",
    "AWS::Lambda::EventSourceMapping",
    severity=Severity.HIGH,
    why="A record that fails is tried until it expires, up to a year, and holds up its shard; given up, it is lost.",
    fix="Set MaximumRetryAttempts or MaximumRecordAgeInSeconds, and DestinationConfig.OnFailure.",
    source="https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html",
)
def lambda_stream_poison_record(mapping: Resource) -> str | None:
    """A function that reads a stream gives up on a bad record and keeps it."""
    kafka = mapping["SelfManagedEventSource"] or mapping["Topics"]
    if not mapping["StartingPosition"] or kafka or mapping["DocumentDBEventSourceConfig"]:
        return None  # a queue has its own dead letters
    limits = [number(mapping[name]) for name in ("MaximumRetryAttempts", "MaximumRecordAgeInSeconds")]
    if not any(limit is not None and limit >= 0 for limit in limits):
        return "a record that fails is tried for as long as the stream keeps it"
    return None if mapping["DestinationConfig.OnFailure.Destination"] else "a record that is given up is lost"


@rule(
    "event-dead-letter",
    "AWS::Events::Rule",
    "AWS::Scheduler::Schedule",
    severity=Severity.LOW,
    why="An event that its target refuses for a day is dropped, and nothing tells.",
    fix="Set DeadLetterConfig on the target.",
    source="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html",
)
def event_dead_letter(source: Resource) -> str | None:
    """An event that can't be delivered goes to a queue."""
    targets = items(source["Targets"]) + items(source["Target"])
    bare = [text(each.get("Id") or "its target") for each in targets if not at(each, "DeadLetterConfig.Arn")]
    return f"no dead letters for {', '.join(bare)}" if bare else None


@rule(
    "emr-security-configuration",
    "AWS::EMR::Cluster",
    why="Without one neither disks nor the traffic between nodes is encrypted, and every job has the nodes' role.",
    fix="Name an EMR SecurityConfiguration.",
)
def emr_security_configuration(cluster: Resource) -> str | None:
    """A cluster runs under a security configuration."""
    return None if cluster["SecurityConfiguration"] else "there is no security configuration"


@rule(
    "emr-encryption-modes",
    "AWS::EMR::SecurityConfiguration",
    why="A part that is left out is not encrypted, though a cluster that names this configuration looks as if it were.",
    fix="Set EnableInTransitEncryption and EnableAtRestEncryption to true.",
    source="https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-create-security-configuration.html",
)
def emr_encryption_modes(configuration: Resource) -> str | None:
    """A security configuration encrypts in transit and at rest."""
    encryption = at(parsed(configuration["SecurityConfiguration"]), "EncryptionConfiguration")
    modes = ("EnableInTransitEncryption", "EnableAtRestEncryption")
    missing = [mode for mode in modes if not true(at(encryption, mode))]
    return f"not true: {', '.join(missing)}" if missing else None


@rule(
    "emr-public-subnet",
    "AWS::EMR::Cluster",
    severity=Severity.HIGH,
    why="The nodes get public addresses, with the consoles of Spark and Hadoop on them.",
    fix="Use a private subnet with endpoints or NAT.",
    source="https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-block-public-access.html",
)
def emr_public_subnet(cluster: Resource) -> str | None:
    """A cluster is not in a subnet that gives out public addresses; one from another template can't be judged."""
    subnets = cluster["Instances.Ec2SubnetIds"] or []
    for each in [cluster["Instances.Ec2SubnetId"], *(subnets if isinstance(subnets, list) else [])]:
        for subnet in cluster.named_by(each, "AWS::EC2::Subnet"):
            given = subnet["MapPublicIpOnLaunch"]
            if given is not None and not false(given):
                return f"subnet {subnet.logical_id} gives out public addresses"
    return None


@rule(
    "batch-public-or-privileged",
    "AWS::Batch::JobDefinition",
    severity=Severity.HIGH,
    why="A public address opens the container to the internet; a privileged one is root on its host.",
    fix="Set AssignPublicIp to DISABLED and leave Privileged out.",
)
def batch_public_or_privileged(job: Resource) -> str | None:
    """A job has no public address and is not privileged."""
    ranges = items(job["NodeProperties.NodeRangeProperties"])
    for container in [job["ContainerProperties"], *(each.get("Container") for each in ranges)]:
        if at(container, "NetworkConfiguration.AssignPublicIp") not in (None, "DISABLED"):
            return "it may get a public address"
        if at(container, "Privileged") not in (None, False, "false"):
            return "it may be privileged"
    return None


@rule(
    "airflow-public",
    "AWS::MWAA::Environment",
    severity=Severity.HIGH,
    why="Airflow's console, from which every pipeline can be started and every connection read, is on the internet.",
    fix="Set WebserverAccessMode to PRIVATE_ONLY.",
)
def airflow_public(environment: Resource) -> str | None:
    """Airflow's console is reached through the VPC only."""
    return None if environment["WebserverAccessMode"] in (None, "PRIVATE_ONLY") else "its console is public"


@rule(
    "airflow-key",
    "AWS::MWAA::Environment",
    why="Airflow stores connections and variables; a key that AWS owns can't be audited or withdrawn.",
    fix="Set KmsKey; it can't be changed later.",
)
def airflow_key(environment: Resource) -> str | None:
    """Airflow is encrypted with a key of its owner."""
    return None if own_key(environment["KmsKey"]) else "the key is AWS's own"


@rule(
    "log-retention",
    "AWS::Logs::LogGroup",
    severity=Severity.LOW,
    why="Logs are kept, and paid for, forever; so is personal data in them.",
    fix="Set RetentionInDays.",
)
def log_retention(group: Resource) -> str | None:
    """A log group forgets."""
    days = group["RetentionInDays"]
    return None if number(days) or intrinsic(days) else "events never expire"


@rule(
    "alarm-unheard",
    "AWS::CloudWatch::Alarm",
    severity=Severity.LOW,
    why="An alarm without an action that no other resource reads changes its colour on a page nobody looks at.",
    fix="Set AlarmActions, and leave ActionsEnabled true.",
)
def alarm_unheard(alarm: Resource) -> str | None:
    """An alarm tells somebody, or something of the template reads it."""
    enabled = alarm["ActionsEnabled"]
    if alarm["AlarmActions"] and (enabled is None or true(enabled)):
        return None
    others = {name: each for name, each in alarm.template["Resources"].items() if name != alarm.logical_id}
    return None if _named(alarm.logical_id, others) else "nobody hears it"


def _named(logical_id: str, value: object) -> bool:
    """Whether a reference to `logical_id` is anywhere in `value`."""
    if target(value) == logical_id:
        return True
    if isinstance(value, str):
        return f"${{{logical_id}}}" in value or f"${{{logical_id}." in value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_named(logical_id, each) for each in parts)
