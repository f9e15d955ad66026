"""Rules for Kinesis, Data Firehose, MSK, Kinesis Video and IoT."""

from typing import Any

from checks.finding import Severity
from checks.rules.policy import matches, statements
from checks.rules.resource import Resource, at, false, number, own_key, texts, true
from checks.rules.rule import rule

_FORMAT = "https://docs.aws.amazon.com/firehose/latest/dev/enable-record-format-conversion.html"
_PARTITIONS = "https://docs.aws.amazon.com/firehose/latest/dev/dynamic-partitioning.html"
_DELIVERY = "AWS::KinesisFirehose::DeliveryStream"
_LEAST_BUFFER = 64  # MB


@rule(
    "kinesis-stream-key",
    "AWS::Kinesis::Stream",
    why="Records lie readable for as long as the stream keeps them; AWS's key can be neither audited nor withdrawn.",
    fix="Set StreamEncryption with EncryptionType KMS and the KeyId of a key of yours.",
)
def kinesis_stream_key(stream: Resource) -> str | None:
    """A stream is encrypted with a key of its owner."""
    if own_key(stream["StreamEncryption.KeyId"]):
        return None
    return "the key is AWS's own" if stream["StreamEncryption"] else "records are not encrypted"


@rule(
    "firehose-buffer",
    _DELIVERY,
    severity=Severity.HIGH,
    why="Firehose refuses format conversion and dynamic partitioning with smaller buffers, so the deployment fails.",
    fix="Set BufferingHints.SizeInMBs to 64 or more.",
    source=_FORMAT,
)
def firehose_buffer(delivery: Resource) -> str | None:
    """A delivery stream that converts or partitions buffers at least 64 MB. An intrinsic counts as too little."""
    target = _s3(delivery)
    if not (_on(target, "DataFormatConversionConfiguration") or _on(target, "DynamicPartitioningConfiguration")):
        return None
    hints = at(target, "BufferingHints")
    size = at(hints, "SizeInMBs")
    if size is None:
        return None if hints is None and _on(target, "DataFormatConversionConfiguration") else "no buffer size is given"
    return None if (number(size) or 0) >= _LEAST_BUFFER else f"the buffer is {_shown(size)} MB"


@rule(
    "firehose-error-prefix",
    _DELIVERY,
    severity=Severity.HIGH,
    why="Firehose refuses dynamic partitioning without a place for the records whose partition it can't tell.",
    fix="Set ErrorOutputPrefix, without partition keys in it.",
    source=_PARTITIONS,
)
def firehose_error_prefix(delivery: Resource) -> str | None:
    """A delivery stream that partitions has a prefix for errors, which uses no partition key."""
    target = _s3(delivery)
    if not _on(target, "DynamicPartitioningConfiguration"):
        return None
    prefix = at(target, "ErrorOutputPrefix")
    if not prefix:
        return "there is no error prefix"
    return "the error prefix uses a partition key" if "!{partitionKey" in " ".join(texts(prefix)) else None


@rule(
    "firehose-double-compression",
    _DELIVERY,
    severity=Severity.HIGH,
    why="Parquet and ORC are compressed inside; Firehose refuses to compress the files once more.",
    fix="Set CompressionFormat to UNCOMPRESSED.",
    source=_FORMAT,
)
def firehose_double_compression(delivery: Resource) -> str | None:
    """A delivery stream that converts to Parquet or ORC does not also compress."""
    target = _s3(delivery)
    chosen = at(target, "CompressionFormat")
    if _on(target, "DataFormatConversionConfiguration") and chosen not in (None, "UNCOMPRESSED"):
        return f"{_shown(chosen)} on top of the format's own compression"
    return None


@rule(
    "firehose-key",
    _DELIVERY,
    why="A producer's records wait in Firehose unencrypted until they are delivered.",
    fix="Set DeliveryStreamEncryptionConfigurationInput with KeyType CUSTOMER_MANAGED_CMK and a KeyARN.",
)
def firehose_key(delivery: Resource) -> str | None:
    """A delivery stream that producers write to directly is encrypted with a key of its owner."""
    if delivery["DeliveryStreamType"] not in (None, "DirectPut"):
        return None  # records that come from a stream have that stream's encryption
    return None if own_key(delivery["DeliveryStreamEncryptionConfigurationInput.KeyARN"]) else "the key is AWS's own"


@rule(
    "firehose-errors-unseen",
    _DELIVERY,
    severity=Severity.LOW,
    why="Why Firehose could not deliver is written to its log and nowhere else.",
    fix="Set CloudWatchLoggingOptions with a log group and stream.",
)
def firehose_errors_unseen(delivery: Resource) -> str | None:
    """A delivery stream to S3 writes why it could not deliver."""
    target = _s3(delivery)
    return "errors are not logged" if target and not true(at(target, "CloudWatchLoggingOptions.Enabled")) else None


@rule(
    "msk-plaintext",
    "AWS::MSK::Cluster",
    severity=Severity.HIGH,
    why="Whoever can listen on the network reads the records, and passwords with them.",
    fix="Set EncryptionInTransit.ClientBroker to TLS and InCluster to true.",
)
def msk_plaintext(cluster: Resource) -> str | None:
    """A Kafka cluster speaks TLS, to clients and between brokers."""
    clients = cluster["EncryptionInfo.EncryptionInTransit.ClientBroker"]
    if clients not in (None, "TLS"):
        return f"clients may connect with {_shown(clients)}"
    among = cluster["EncryptionInfo.EncryptionInTransit.InCluster"]
    return None if among is None or true(among) else "brokers talk to each other in plain text"


@rule(
    "msk-open",
    "AWS::MSK::Cluster",
    severity=Severity.HIGH,
    why="A broker with a public address, or one that asks nobody who they are, is open to whoever reaches its port.",
    fix="Leave PublicAccess DISABLED, and switch ClientAuthentication.Unauthenticated off and IAM, SASL or TLS on.",
)
def msk_open(cluster: Resource) -> str | None:
    """A Kafka cluster has no public address and asks who a client is."""
    access = cluster["BrokerNodeGroupInfo.ConnectivityInfo.PublicAccess.Type"]
    if access not in (None, "DISABLED"):
        return f"public access is {_shown(access)}"
    unknown = cluster["ClientAuthentication.Unauthenticated.Enabled"]
    if cluster["ClientAuthentication"] is None or not (unknown is None or false(unknown)):
        return "clients need not say who they are"
    return None


@rule(
    "kinesis-video-key",
    "AWS::KinesisVideo::Stream",
    why="AWS's key for video can be neither audited nor withdrawn: whoever may call GetMedia sees the pictures.",
    fix="Set KmsKeyId to a key of yours.",
)
def kinesis_video_key(stream: Resource) -> str | None:
    """A video stream is encrypted with a key of its owner."""
    return None if own_key(stream["KmsKeyId"]) else "the key is AWS's own"


@rule(
    "iot-policy-wildcard",
    "AWS::IoT::Policy",
    severity=Severity.HIGH,
    why="A device that is taken over speaks and listens as every other device.",
    fix="Name the actions, and the topics and clients by ${iot:Connection.Thing.ThingName}.",
    source="https://docs.aws.amazon.com/iot/latest/developerguide/security-best-practices.html",
)
def iot_policy_wildcard(policy: Resource) -> str | None:
    """A device may do only what is listed, to topics that are listed."""
    for statement in statements(policy["PolicyDocument"]):
        if any(matches(action, "iot:a-z") for action in texts(statement.get("Action"))):
            return "any action of IoT is allowed"
        if "*" in texts(statement.get("Resource")):
            return "the actions are allowed on every topic and client"
    return None


@rule(
    "iot-rule-error-action",
    "AWS::IoT::TopicRule",
    why="A message whose action fails is gone: the broker does not send it again.",
    fix="Set TopicRulePayload.ErrorAction, for instance to a queue or a bucket.",
)
def iot_rule_error_action(topic_rule: Resource) -> str | None:
    """A topic rule keeps the messages that it could not hand on."""
    return None if topic_rule["TopicRulePayload.ErrorAction"] else "messages that fail are dropped"


def _s3(delivery: Resource) -> Any:
    return delivery["ExtendedS3DestinationConfiguration"]


def _on(destination: Any, feature: str) -> bool:
    """Whether a feature is there and not switched off; an intrinsic may switch it on."""
    configuration = at(destination, feature)
    return bool(configuration) and not false(at(configuration, "Enabled"))


def _shown(value: Any) -> str:
    return " ".join(texts(value)) or "empty"
