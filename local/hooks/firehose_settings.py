"""What a Firehose destination asks for, with AWS's defaults; MiniStack 1.5.33 takes what it doesn't carry out."""

import re
from typing import Any

HINTS: dict[str, float] = {"SizeInMBs": 5, "IntervalInSeconds": 300}
PROCESSOR = {"BufferSizeInMBs": "1", "BufferIntervalInSeconds": "60", "NumberOfRetries": "3"}
PARTITION_KEY = re.compile(r"!\{partitionKeyFromLambda:([^}]*)\}")
PROCESSING, CONVERSION = "ProcessingConfiguration", "DataFormatConversionConfiguration"
PARTITIONING, BACKUP = "DynamicPartitioningConfiguration", "S3BackupConfiguration"
PLAIN = {
    "RoleARN", "BucketARN", "Prefix", "ErrorOutputPrefix", "BufferingHints", "EncryptionConfiguration",
    "CloudWatchLoggingOptions",
}  # fmt: skip
SUPPORTED = PLAIN | {PROCESSING, CONVERSION, PARTITIONING, "S3BackupMode", BACKUP}
NEUTRAL = ("UNCOMPRESSED", "Disabled", "UTC", "", None)  # as if the member were not given


def enabled(config: dict[str, Any], name: str) -> bool:
    """Whether a part of a destination is on: AWS takes one without `Enabled` as enabled."""
    return bool(config.get(name)) and config[name].get("Enabled", True)


def processors(config: dict[str, Any]) -> list[dict[str, Any]]:
    """A destination's processors that are on."""
    return config[PROCESSING].get("Processors", []) if enabled(config, PROCESSING) else []


def processor(config: dict[str, Any]) -> dict[str, str]:
    """The Lambda processor's parameters with AWS's defaults, empty when there is none."""
    for found in processors(config):
        return PROCESSOR | {item["ParameterName"]: item["ParameterValue"] for item in found["Parameters"]}
    return {}


def backup(config: dict[str, Any]) -> dict[str, Any]:
    """Where source records are backed up, empty when they aren't."""
    return (config.get(BACKUP) or {}) if config.get("S3BackupMode") == "Enabled" else {}


def buffering(config: dict[str, Any]) -> dict[str, float]:
    """A destination's BufferingHints with AWS's defaults."""
    large = enabled(config, CONVERSION) or enabled(config, PARTITIONING)
    given = {name: int(value) for name, value in (config.get("BufferingHints") or {}).items()}
    return HINTS | ({"SizeInMBs": 128} if large else {}) | given


def unsupported(config: dict[str, Any]) -> list[str]:
    """The names of what a destination asks for and isn't in the local cloud."""
    conversion = config.get(CONVERSION) or {}
    formats = {
        **conversion.get("InputFormatConfiguration", {}).get("Deserializer", {}),
        **conversion.get("OutputFormatConfiguration", {}).get("Serializer", {}),
    }
    members = (("", config, SUPPORTED), (f"{BACKUP}.", config.get(BACKUP) or {}, PLAIN))
    return [
        *(prefix + name for prefix, given, known in members for name, value in given.items()
          if name not in known and value not in NEUTRAL),
        *(found["Type"] for found in processors(config) if found["Type"] != "Lambda"),
        *(name for name, options in formats.items() if name not in ("OpenXJsonSerDe", "ParquetSerDe") or options),
    ]  # fmt: skip


def problem(config: dict[str, Any]) -> str | None:
    """Why a destination is refused: it isn't supported here, or would fail on AWS. None when it is sound."""
    prefix, partitioning = config.get("Prefix") or "", enabled(config, PARTITIONING)
    kept = backup(config)
    if unknown := unsupported(config):
        return f"{', '.join(unknown)}: not in the local cloud"
    if (partitioning or enabled(config, CONVERSION)) and buffering(config)["SizeInMBs"] < 64:
        return "BufferingHints.SizeInMBs must be at least 64 for data format conversion and Dynamic Partitioning."
    if any("!{" in (part.get("Prefix") or "") and not part.get("ErrorOutputPrefix") for part in (config, kept)):
        return "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions."
    if partitioning != bool(PARTITION_KEY.search(prefix)):
        return "Prefix must contain partitionKey namespaces when Dynamic Partitioning is enabled, and only then."
    if config.get("S3BackupMode") == "Enabled" and not kept.get("BucketARN"):
        return "S3BackupConfiguration with a BucketARN is needed when S3BackupMode is Enabled."
    if PARTITION_KEY.search(kept.get("Prefix") or ""):
        return "S3BackupConfiguration.Prefix cannot contain partitionKey namespaces."
    return None
