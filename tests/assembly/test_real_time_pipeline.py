"""The real-time layer from end to end: who reads whom and who writes where, across its stacks."""

from collections.abc import Iterator
from typing import Any

import pytest

from checks.assembly import Assembly, Stack
from checks.calls.workloads import Index

LAYERS = ("real-time", "stream-scoring", "delay-delivery")
Edge = tuple[str, str]

PIPELINE = {
    ("streaming/Flights", "real-time/Application"),
    ("real-time/Application", "real-time/Departures"),
    ("real-time/Application", "real-time/Delays"),
    ("real-time/Departures", "stream-scoring/Score"),
    ("stream-scoring/Score", "serving/FlightDelays"),
    ("stream-scoring/Score", "stream-scoring/Scores"),
    ("real-time/Delays", "real-time/Postprocess"),
    ("real-time/Postprocess", "data-lake/Raw"),
    ("real-time/Postprocess", "real-time/DelayAlerts"),
    ("real-time/Postprocess", "real-time/Told"),
    ("real-time/Delays", "delay-delivery/Delivery"),
    ("delay-delivery/Delivery", "delay-delivery/Delays"),
    ("delay-delivery/Delivery", "data-lake/Curated"),
}


@pytest.mark.requirement("str-pipeline-realtime")
def test_flights_reach_scores_people_and_the_lake(assembly: Assembly) -> None:
    index = Index(assembly)
    for environment, stacks in assembly.environments.items():
        found = {edge for layer in LAYERS for edge in _edges(index, stacks, stacks[layer])}
        assert found == PIPELINE, environment


@pytest.mark.requirement("str-kda-lambda")
def test_what_it_holds_on_the_way_is_encrypted_with_the_platforms_key(assembly: Assembly) -> None:
    kinds = {
        "AWS::Kinesis::Stream": ("StreamEncryption", "KeyId"),
        "AWS::SNS::Topic": ("KmsMasterKeyId",),
        "AWS::SQS::Queue": ("KmsMasterKeyId",),
        "AWS::DynamoDB::Table": ("SSESpecification", "KMSMasterKeyId"),
    }
    index = Index(assembly)
    for stacks in assembly.environments.values():
        for stack in (stacks[layer] for layer in LAYERS):
            for resource in stack.resources(*kinds).values():
                value = resource["Properties"]
                for name in kinds[resource["Type"]]:
                    value = value[name]
                assert [target.type for target in index.targets(stack, value)] == ["AWS::KMS::Key"]


def test_scoring_waits_for_the_stream_and_not_the_stream_for_scoring(assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        assert stacks["real-time"].name in stacks["stream-scoring"].requires
        assert stacks["serving"].name not in stacks["real-time"].requires


def _edges(index: Index, stacks: dict[str, Stack], stack: Stack) -> Iterator[Edge]:
    """(from, to) of what a stack's resources read and write, each as layer/construct."""

    def nodes(value: Any) -> list[str]:
        wanted = ("Kinesis::Stream", "S3::Bucket", "SNS::Topic", "DynamoDB::Table", "Glue::Table", "Lambda::Function")
        targets = [target for target in index.targets(stack, value) if target.type.endswith(wanted)]
        return [_node(target.stack, target.logical_id) for target in targets]

    endpoints = {
        endpoint["Properties"]["EndpointName"]: _node(stacks["serving"], name)
        for name, endpoint in stacks["serving"].resources("AWS::SageMaker::Endpoint").items()
    }
    for name, resource in stack.resources().items():
        here, properties = _node(stack, name), resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::KinesisAnalyticsV2::Application":
                groups = properties["ApplicationConfiguration"]["EnvironmentProperties"]["PropertyGroups"]
                for group in groups:
                    for stream in nodes(group["PropertyMap"]):
                        yield (stream, here) if group["PropertyGroupId"] == "source" else (here, stream)
            case "AWS::Lambda::EventSourceMapping":
                for stream in nodes(properties["EventSourceArn"]):
                    yield from ((stream, function) for function in nodes(properties["FunctionName"]))
            case "AWS::Lambda::Function":
                given = properties.get("Environment", {}).get("Variables", {})
                yield from ((here, node) for node in nodes(given))
                yield from ((here, endpoints[value]) for value in given.values() if str(value) in endpoints)
            case "AWS::KinesisFirehose::DeliveryStream":
                for part, value in properties.items():
                    reads = part == "KinesisStreamSourceConfiguration"
                    yield from ((node, here) if reads else (here, node) for node in nodes(value))


def _node(stack: Stack, logical_id: str) -> str:
    """streaming/Flights for the construct sandbox/streaming/Flights/Resource."""
    return "/".join(stack.path(logical_id).split("/")[1:3])
