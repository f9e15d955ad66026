"""The streaming layer as synthesized: two streams of their own size, each delivered alike, with nothing thrown away."""

from typing import Any

import pytest

from checks.assembly import Assembly, Stack, references
from components.stream import shards_needed

DELIVERY, STREAM = "AWS::KinesisFirehose::DeliveryStream", "AWS::Kinesis::Stream"
SOURCES = ("Flights", "Weather")


@pytest.mark.requirement("str-kds-provisioned")
@pytest.mark.parametrize(
    ("mb_in", "records_in", "mb_out", "shards"),
    [(5, 3_500, 12, 6), (5, 3_500, 2, 5), (0.5, 3_500, 2, 4), (0, 0, 0, 1), (1, 1_000, 2, 1), (1.01, 1_000, 2, 2)],
)
def test_shards_are_as_many_as_the_largest_of_three_loads_needs(
    mb_in: float, records_in: float, mb_out: float, shards: int
) -> None:
    assert shards_needed(mb_in, records_in, mb_out) == shards


@pytest.mark.requirement("str-kds", "str-kds-ondemand", "str-kds-provisioned", "str-kds-record-1mb")
def test_streams_have_the_capacity_of_their_environment(assembly: Assembly) -> None:
    found = {
        environment: {
            source: (
                stream["StreamModeDetails"]["StreamMode"],
                stream.get("ShardCount"),
                stream["RetentionPeriodHours"],
            )
            for source in SOURCES
            for stream in [one(stacks["streaming"], STREAM, source)]
        }
        for environment, stacks in assembly.environments.items()
    }
    assert found == {
        "sandbox": {"Flights": ("PROVISIONED", 1, 24), "Weather": ("PROVISIONED", 1, 24)},
        "staging": {"Flights": ("ON_DEMAND", None, 72), "Weather": ("PROVISIONED", 1, 72)},
        "production": {"Flights": ("ON_DEMAND", None, 168), "Weather": ("PROVISIONED", 1, 168)},
    }
    # A record has 1 MiB at most unless a stream asks for more, and the producer refuses what is larger.
    assert not [stream for _, _, stream in assembly.resources(STREAM) if "MaxRecordSizeInKiB" in stream["Properties"]]


@pytest.mark.requirement("str-firehose", "str-firehose-formats", "str-firehose-convert")
@pytest.mark.parametrize("source", SOURCES)
def test_each_stream_has_its_own_delivery_as_parquet_by_its_own_table(assembly: Assembly, source: str) -> None:
    for stacks in assembly.environments.values():
        stack = stacks["streaming"]
        delivery = one(stack, DELIVERY, source)
        destination = delivery["ExtendedS3DestinationConfiguration"]
        assert destination["BufferingHints"].keys() == {"SizeInMBs", "IntervalInSeconds"}
        (stream,) = references(delivery["KinesisStreamSourceConfiguration"]["KinesisStreamARN"])
        assert stream.target in stack.resources(STREAM) and stream.target.startswith(source)
        conversion = destination["DataFormatConversionConfiguration"]
        assert conversion["InputFormatConfiguration"] == {"Deserializer": {"OpenXJsonSerDe": {}}}
        # Snappy is what it compresses with unless told otherwise.
        assert conversion["OutputFormatConfiguration"] == {"Serializer": {"ParquetSerDe": {}}}
        (table,) = references(conversion["SchemaConfiguration"]["TableName"])
        name = stack.resources()[table.target]["Properties"]["TableInput"]["Name"]
        (processor,) = destination["ProcessingConfiguration"]["Processors"]
        transform = references({"of": processor["Parameters"][1]["ParameterValue"]})
        (function,) = (stack.resources()[each.target]["Properties"] for each in transform)
        variables = function["Environment"]["Variables"]
        assert (name, variables["CONTRACT"]) == (f"{source.lower()}_raw", source.lower())
        assert variables["QUARANTINE_PREFIX"] == f"{source.lower()}/"


@pytest.mark.requirement("str-firehose-no-replay", "st-partition-date")
@pytest.mark.parametrize("source", SOURCES)
def test_what_firehose_would_forget_is_kept(assembly: Assembly, source: str) -> None:
    name = source.lower()
    hour = "year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/hour=!{timestamp:HH}/"
    day = "/".join(f"{unit}=!{{partitionKeyFromLambda:{unit}}}" for unit in ("year", "month", "day"))
    for stacks in assembly.environments.values():
        destination = one(stacks["streaming"], DELIVERY, source)["ExtendedS3DestinationConfiguration"]
        backup = destination["S3BackupConfiguration"]
        assert destination["S3BackupMode"] == "Enabled"
        assert (destination["Prefix"], backup["Prefix"]) == (f"{name}/{day}/", f"source/{name}/{hour}")
        for part in (destination, backup):
            assert part["ErrorOutputPrefix"] == f"errors/{name}/!{{firehose:error-output-type}}/"
            assert part["EncryptionConfiguration"] == destination["EncryptionConfiguration"]
            assert part["CloudWatchLoggingOptions"]["Enabled"] is True


@pytest.mark.parametrize("source", SOURCES)
def test_people_hear_of_a_delivery_that_is_late_or_fails(assembly: Assembly, source: str) -> None:
    for stacks in assembly.environments.values():
        stack = stacks["streaming"]
        (topic,) = stack.resources("AWS::SNS::Topic")
        alarms = {
            each["Properties"]["MetricName"]: each["Properties"]
            for name, each in stack.resources("AWS::CloudWatch::Alarm").items()
            if name.startswith(source)
        }
        assert alarms.keys() == {
            *("DeliveryToS3.DataFreshness", "FailedConversion.Records"),
            *("Errors", "Throttles", "quarantine_failed"),
        }
        for name in ("Throttles", "quarantine_failed"):
            assert alarms[name]["Dimensions"] == alarms["Errors"]["Dimensions"]
        transform = one(stack, "AWS::Lambda::Function", f"{source}DeliveryTransform")
        assert transform["Environment"]["Variables"]["METRIC_NAMESPACE"] == alarms["quarantine_failed"]["Namespace"]
        assert all(alarm["AlarmActions"] == [{"Ref": topic}] for alarm in alarms.values())
        watched = {reference.target for alarm in alarms.values() for reference in references(alarm["Dimensions"])}
        assert len(watched) == 2 and all(each.startswith(f"{source}Delivery") for each in watched)
        freshness = alarms["DeliveryToS3.DataFreshness"]
        buffering = one(stack, DELIVERY, source)["ExtendedS3DestinationConfiguration"]["BufferingHints"]
        assert freshness["Threshold"] > buffering["IntervalInSeconds"] + 120  # and the transform's own waiting


def one(stack: Stack, kind: str, start: str) -> dict[str, Any]:
    """Properties of the one resource of a kind whose logical id starts so."""
    (found,) = (each["Properties"] for name, each in stack.resources(kind).items() if name.startswith(start))
    return found
