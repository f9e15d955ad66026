"""Adds resource types that MiniStack 1.5.33's CloudFormation lacks, and properties of others that it loses.

Everything goes through the services' own APIs, so these resources run on worker threads: a call to this server
from its event loop would wait for itself. What has no effect in a local cloud stays lost: a bucket's lifecycle,
logging, ownership and tags.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from ministack.services import cloudformation, codebuild, glue
from ministack.services.cloudformation import provisioners, stacks
from ministack.services.cloudformation.handlers import _resolve_stack

from local.hooks import Answer, Handler, client, swap, wrap

Properties = dict[str, Any]
Lost = dict[str, Callable[[str, Any], object]]
Made = tuple[str, dict[str, Any]]  # physical id, attributes for Fn::GetAtt
SETTLE_SECONDS = 4.0


class Missing(NamedTuple):
    """A type that MiniStack lacks: `create` takes a name and properties and answers the physical id."""

    create: Callable[[str, Properties], str]
    delete: Callable[[str], object]
    replacing: str  # "Update requires: Replacement" in CloudFormation's template reference
    change: Callable[[str, Properties], object] = lambda made, properties: None


def flow_log(_name: str, properties: Properties) -> str:
    """AWS::EC2::FlowLog."""
    fields = {key: value for key, value in properties.items() if key not in ("ResourceId", "Tags")}
    return client("ec2").create_flow_logs(ResourceIds=[properties["ResourceId"]], **fields)["FlowLogIds"][0]


def named_query(name: str, properties: Properties) -> str:
    """AWS::Athena::NamedQuery."""
    return client("athena").create_named_query(**{"Name": name, **properties})["NamedQueryId"]


def workflow(name: str, properties: Properties) -> str:
    """AWS::Glue::Workflow."""
    client("glue").create_workflow(**{**properties, "Name": name})
    return name


def change_workflow(name: str, properties: Properties) -> None:
    """Its description changes in place."""
    client("glue").update_workflow(Name=name, Description=properties.get("Description", ""))


def security_configuration(name: str, properties: Properties) -> str:
    """AWS::Glue::SecurityConfiguration, whose S3Encryptions the API calls S3Encryption."""
    encryption = dict(properties["EncryptionConfiguration"])
    encryption["S3Encryption"] = encryption.pop("S3Encryptions")
    client("glue").create_security_configuration(Name=name, EncryptionConfiguration=encryption)
    return name


# Kept by CloudFormation alone: the local cloud has neither a schema registry nor data quality.
NAMED = {
    "AWS::Glue::Registry": "Name",
    "AWS::Glue::Schema": "DataFormat Name Registry SchemaDefinition",
    "AWS::Glue::SchemaVersion": "Schema SchemaDefinition",
    "AWS::Glue::DataQualityRuleset": "Name",
}
MISSING = {
    "AWS::EC2::FlowLog": Missing(
        flow_log,
        lambda made: client("ec2").delete_flow_logs(FlowLogIds=[made]),
        "DeliverLogsPermissionArn LogDestination LogDestinationType LogFormat LogGroupName MaxAggregationInterval "
        "ResourceId ResourceType TrafficType",
    ),
    "AWS::Athena::NamedQuery": Missing(
        named_query,
        lambda made: client("athena").delete_named_query(NamedQueryId=made),
        "Database Description Name QueryString WorkGroup",
    ),
    "AWS::Glue::Workflow": Missing(
        workflow, lambda made: client("glue").delete_workflow(Name=made), "Name", change_workflow
    ),
    "AWS::Glue::SecurityConfiguration": Missing(
        security_configuration,
        lambda made: client("glue").delete_security_configuration(Name=made),
        "EncryptionConfiguration Name",
    ),
    **{kind: Missing(lambda name, _: name, lambda made: None, replacing) for kind, replacing in NAMED.items()},
}


def bucket_encryption(name: str, encryption: Properties) -> None:
    """By a key of ours. CDK's staging bucket names none, and MiniStack refuses such writes."""
    defaults = [rule["ServerSideEncryptionByDefault"] for rule in encryption["ServerSideEncryptionConfiguration"]]
    if rules := [{"ApplyServerSideEncryptionByDefault": each} for each in defaults if "KMSMasterKeyID" in each]:
        client("s3").put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})


def topic_key(arn: str, key: str) -> None:
    """By which its messages are encrypted."""
    client("sns").set_topic_attributes(TopicArn=arn, AttributeName="KmsMasterKeyId", AttributeValue=key)


def build_logs(name: str, logs: Properties) -> None:
    """Into the project's record: MiniStack's API has no place for it."""
    codebuild._projects[name]["logsConfig"] = provisioners._codebuild_cfn_to_api(logs)


# By type, the properties it loses and what sets each, given the physical id and the value; Fn::GetAtt knows it too.
LOST: dict[str, Lost] = {
    "AWS::S3::Bucket": {
        "BucketEncryption": bucket_encryption,
        # CDK's function that empties buckets touches only those with its tag.
        "Tags": lambda name, tags: client("s3").put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags}),
    },
    "AWS::Kinesis::Stream": {
        "StreamEncryption": lambda name, how: client("kinesis").start_stream_encryption(StreamName=name, **how),
    },
    "AWS::SNS::Topic": {"KmsMasterKeyId": topic_key},
    "AWS::CodeBuild::Project": {"LogsConfig": build_logs},
    "AWS::EC2::VPC": {"CidrBlock": lambda name, value: None},
}
on_worker = {*LOST}  # the types whose work waits for this server, and those added to them
GLUE_JOB: Properties = {"ExecutionProperty": {"MaxConcurrentRuns": 1}, "JobRunQueuingEnabled": False}
GLUE_TRIGGER: Properties = {"EventBatchingCondition": {}}


def install() -> None:
    """Register the missing types, and set the lost properties after MiniStack's own create and update."""
    for kind, entry in MISSING.items():
        add_type(kind, handler(entry), entry.replacing.split())
    for kind, lost in LOST.items():
        own = provisioners._RESOURCE_HANDLERS[kind]
        wrap(own, "create", partial(restore, lost, 1))
        wrap(own, "update", partial(restore, lost, 2))
    swap(stacks, "_runs_on_worker_thread", lambda original: lambda kind: kind in on_worker or original(kind))
    swap(provisioners, "_GLUE_JOB_DEFAULTS", lambda known: known | GLUE_JOB)
    swap(provisioners, "_GLUE_TRIGGER_DEFAULTS", lambda known: known | GLUE_TRIGGER)
    for name in ("_create_job", "_update_job"):
        wrap(glue, name, partial(keep, glue._jobs, GLUE_JOB))
    for name in ("_create_trigger", "_update_trigger"):
        wrap(glue, name, partial(keep, glue._triggers, GLUE_TRIGGER))
    wrap(cloudformation, "handle_request", answer_when_settled)


def add_type(kind: str, handlers: dict[str, Any], replacing: Iterable[str]) -> None:
    """Register a type, which runs on worker threads. Raises RuntimeError when MiniStack has it."""
    if kind in provisioners._RESOURCE_HANDLERS:
        raise RuntimeError(f"MiniStack has {kind} now: delete the hook's own that registers it.")
    provisioners._RESOURCE_HANDLERS[kind] = handlers
    provisioners._REPLACING_PROPERTIES[kind] = tuple(replacing)
    on_worker.add(kind)


def handler(entry: Missing) -> dict[str, Any]:
    """An entry of MiniStack's handler table."""

    def create(logical_id: str, properties: Properties, stack: str) -> Made:
        return entry.create(properties.get("Name") or provisioners._physical_name(stack, logical_id), properties), {}

    def update(made: str, _old: Properties, new: Properties, _stack: str) -> Made:
        entry.change(made, new)
        return made, {}

    return {"create": create, "update": update, "delete": lambda made, _properties: entry.delete(made)}


def restore(lost: Lost, place: int, original: Callable[..., Made], *given: Any) -> Made:
    """A create or update, whose properties are at `place`, that also sets those that MiniStack's own loses."""
    made, attributes = original(*given)
    kept = {name: given[place][name] for name in lost if name in given[place]}
    for name, value in kept.items():
        lost[name](made, value)
    return made, attributes | kept


def keep(table: Any, lost: Properties, original: Handler, data: Properties) -> Answer:
    """A Glue create or update that keeps the `lost` properties in its record too."""
    answer = original(data)
    if answer[0] < 400:
        given = data.get("JobUpdate") or data.get("TriggerUpdate") or data
        record = table[data.get("JobName") or data["Name"]]
        record.update({key: given.get(key, record.get(key, default)) for key, default in lost.items()})
    return answer


async def answer_when_settled(original: Any, method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
    """DescribeStacks of a stack in progress answers once it has settled, or as it is after SETTLE_SECONDS.

    The CDK CLI asks every five seconds: stacks that take one second here would take five each.
    """
    asked = parse_qs(body.decode(errors="replace"))
    if asked.get("Action") == ["DescribeStacks"] and "StackName" in asked:
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            status = (_resolve_stack(asked["StackName"][0]) or {}).get("StackStatus", "")
            if status == "REVIEW_IN_PROGRESS" or not status.endswith("_IN_PROGRESS"):
                break
            await asyncio.sleep(0.05)
    return await original(method, path, headers, body, query)
