"""Adds resource types that MiniStack 1.5.33's CloudFormation lacks, and properties of others that it loses.

Everything goes through the services' own APIs, so these resources run on worker threads: a call to this server
from its event loop would wait for itself.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from local.hooks import client, swap

Properties = dict[str, Any]
Made = tuple[str, dict[str, Any]]  # physical id, attributes for Fn::GetAtt
Restore = Callable[[str, Properties, Properties], dict[str, Any]]  # physical id, new, old -> further attributes
SETTLE_SECONDS = 4.0


def handler(
    create: Callable[[str, Properties], Made],
    delete: Callable[[str], object],
    update: Callable[[str, Properties], object] = lambda made, properties: None,
) -> dict[str, Any]:
    """An entry of MiniStack's handler table. A change of what `update` doesn't set is a replacement: see REPLACING."""
    from ministack.services.cloudformation.provisioners import _physical_name

    def change(made: str, _old: Properties, new: Properties, _stack: str) -> Made:
        update(made, new)
        return made, {}

    return {
        "create": lambda logical_id, new, stack: create(new.get("Name") or _physical_name(stack, logical_id), new),
        "update": change,
        "delete": lambda made, _properties: delete(made),
    }


def flow_log(_name: str, properties: Properties) -> Made:
    """AWS::EC2::FlowLog."""
    fields = {key: value for key, value in properties.items() if key not in ("ResourceId", "Tags")}
    if "MaxAggregationInterval" in fields:
        fields["MaxAggregationInterval"] = int(fields["MaxAggregationInterval"])
    made = client("ec2").create_flow_logs(ResourceIds=[properties["ResourceId"]], **fields)["FlowLogIds"][0]
    return made, {"Id": made}


def named_query(name: str, properties: Properties) -> Made:
    """AWS::Athena::NamedQuery."""
    made = client("athena").create_named_query(**{"Name": name, **properties})["NamedQueryId"]
    return made, {"NamedQueryId": made}


def workflow(name: str, properties: Properties) -> Made:
    """AWS::Glue::Workflow."""
    client("glue").create_workflow(**{**properties, "Name": name})
    return name, {}


def change_workflow(name: str, properties: Properties) -> None:
    """Its description, run properties and concurrency change in place."""
    fields = ("Description", "DefaultRunProperties", "MaxConcurrentRuns")
    client("glue").update_workflow(Name=name, **{key: properties[key] for key in fields if key in properties})


def security_configuration(name: str, properties: Properties) -> Made:
    """AWS::Glue::SecurityConfiguration, whose S3Encryptions the API calls S3Encryption."""
    encryption = {
        key.replace("S3Encryptions", "S3Encryption"): value
        for key, value in properties["EncryptionConfiguration"].items()
    }
    client("glue").create_security_configuration(Name=name, EncryptionConfiguration=encryption)
    return name, {}


def missing() -> dict[str, dict[str, Any]]:
    """The types that MiniStack lacks."""
    athena, ec2, glue = (lambda service=service: client(service) for service in ("athena", "ec2", "glue"))
    return {
        "AWS::EC2::FlowLog": handler(flow_log, lambda made: ec2().delete_flow_logs(FlowLogIds=[made])),
        "AWS::Athena::NamedQuery": handler(named_query, lambda made: athena().delete_named_query(NamedQueryId=made)),
        "AWS::Glue::Workflow": handler(workflow, lambda made: glue().delete_workflow(Name=made), change_workflow),
        "AWS::Glue::SecurityConfiguration": handler(
            security_configuration, lambda made: glue().delete_security_configuration(Name=made)
        ),
    }


# "Update requires: Replacement" in CloudFormation's template reference
REPLACING = {
    "AWS::EC2::FlowLog": (
        "DeliverLogsPermissionArn LogDestination LogDestinationType LogFormat LogGroupName MaxAggregationInterval "
        "ResourceId ResourceType TrafficType"
    ),
    "AWS::Athena::NamedQuery": "Database Description Name QueryString WorkGroup",
    "AWS::Glue::Workflow": "Name",
    "AWS::Glue::SecurityConfiguration": "EncryptionConfiguration Name",
}


def bucket(name: str, new: Properties, old: Properties) -> dict[str, Any]:
    """Encryption, lifecycle, logging, ownership and tags."""
    s3 = client("s3")
    if rules := new.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration"):
        s3.put_bucket_encryption(
            Bucket=name,
            ServerSideEncryptionConfiguration={
                "Rules": [
                    {
                        key.replace("ServerSideEncryptionByDefault", "ApplyServerSideEncryptionByDefault"): value
                        for key, value in rule.items()
                    }
                    for rule in rules
                ]
            },
        )
    if rules := new.get("LifecycleConfiguration", {}).get("Rules"):
        s3.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration={"Rules": [lifecycle_rule(rule) for rule in rules]}
        )
    elif "LifecycleConfiguration" in old:
        s3.delete_bucket_lifecycle(Bucket=name)
    if logging := new.get("LoggingConfiguration"):
        s3.put_bucket_logging(
            Bucket=name,
            BucketLoggingStatus={
                "LoggingEnabled": {
                    "TargetBucket": logging.get("DestinationBucketName", name),
                    "TargetPrefix": logging.get("LogFilePrefix", ""),
                }
            },
        )
    if "OwnershipControls" in new:
        s3.put_bucket_ownership_controls(Bucket=name, OwnershipControls=new["OwnershipControls"])
    if new.get("Tags"):
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": new["Tags"]})
    return {}


def lifecycle_rule(rule: Properties) -> Properties:
    """A template's lifecycle rule in the API's words. Raises ValueError for what isn't translated."""
    known = {
        "Id",
        "Status",
        "Prefix",
        "ExpirationInDays",
        "NoncurrentVersionExpiration",
        "Transitions",
        "AbortIncompleteMultipartUpload",
    }
    if unknown := rule.keys() - known:
        raise ValueError(f"LifecycleConfiguration: the local cloud doesn't know {sorted(unknown)}; see {__file__}.")
    made: Properties = {"Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    if "Id" in rule:
        made["ID"] = rule["Id"]
    if "ExpirationInDays" in rule:
        made["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if "Transitions" in rule:
        made["Transitions"] = [
            {"Days": int(move["TransitionInDays"]), "StorageClass": move["StorageClass"]}
            for move in rule["Transitions"]
        ]
    return made | {
        key: rule[key] for key in ("NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload") if key in rule
    }


def stream(name: str, new: Properties, old: Properties) -> dict[str, Any]:
    """Kinesis encryption."""
    kinesis = client("kinesis")
    if encryption := new.get("StreamEncryption"):
        kinesis.start_stream_encryption(StreamName=name, **encryption)
    elif encryption := old.get("StreamEncryption"):
        kinesis.stop_stream_encryption(StreamName=name, **encryption)
    return {}


def schedule(name: str, new: Properties, _old: Properties) -> dict[str, Any]:
    """Time zone, start and end of an EventBridge schedule."""
    client("scheduler").update_schedule(**{**new, "Name": name})
    return {}


def topic(arn: str, new: Properties, _old: Properties) -> dict[str, Any]:
    """The key that encrypts an SNS topic."""
    key = new.get("KmsMasterKeyId", "")
    client("sns").set_topic_attributes(TopicArn=arn, AttributeName="KmsMasterKeyId", AttributeValue=key)
    return {}


def project(name: str, new: Properties, _old: Properties) -> dict[str, Any]:
    """The log group that a CodeBuild project declares; MiniStack's API has no place for it."""
    from ministack.services import codebuild
    from ministack.services.cloudformation.provisioners import _codebuild_cfn_to_api

    codebuild._projects[name]["logsConfig"] = _codebuild_cfn_to_api(new.get("LogsConfig", {}))
    return {}


LOST: dict[str, Restore] = {
    "AWS::S3::Bucket": bucket,
    "AWS::Kinesis::Stream": stream,
    "AWS::EC2::VPC": lambda _name, new, _old: {"CidrBlock": new["CidrBlock"]},
    "AWS::Scheduler::Schedule": schedule,
    "AWS::CodeBuild::Project": project,
    "AWS::SNS::Topic": topic,
}
GLUE_JOB = {"ExecutionProperty": {"MaxConcurrentRuns": 1}, "ExecutionClass": "STANDARD", "JobRunQueuingEnabled": False}
GLUE_TRIGGER: Properties = {"EventBatchingCondition": {}}


def install() -> None:
    """Register the missing types, and set the lost properties after MiniStack's own create and update."""
    from ministack.services import cloudformation, glue, s3
    from ministack.services.cloudformation import provisioners, stacks

    handlers = provisioners._RESOURCE_HANDLERS
    for resource_type, entry in missing().items():
        if resource_type in handlers:
            raise RuntimeError(f"MiniStack has {resource_type} now: delete the hook's own in {__file__}.")
        handlers[resource_type] = entry
        provisioners._REPLACING_PROPERTIES[resource_type] = tuple(REPLACING[resource_type].split())
    for resource_type, restore in LOST.items():
        swap(handlers, resource_type, partial(restoring, restore))
    on_worker = {*REPLACING, *LOST}
    swap(stacks, "_runs_on_worker_thread", lambda original: lambda kind: kind in on_worker or original(kind))
    swap(provisioners, "_GLUE_JOB_DEFAULTS", lambda known: known | GLUE_JOB)
    swap(provisioners, "_GLUE_TRIGGER_DEFAULTS", lambda known: known | GLUE_TRIGGER)
    for name in ("_create_job", "_update_job"):
        swap(glue, name, lambda original: keeping(original, glue._jobs, GLUE_JOB))
    for name in ("_create_trigger", "_update_trigger"):
        swap(glue, name, lambda original: keeping(original, glue._triggers, GLUE_TRIGGER))
    swap(s3, "_resolve_sse_write_headers", with_default_key)
    swap(glue, "_handle_request_sync", listing_workflows)
    swap(cloudformation, "handle_request", answering_when_settled)


def restoring(restore: Restore, handler: dict[str, Any]) -> dict[str, Any]:
    """A handler that also sets what MiniStack's own loses."""

    def create(logical_id: str, properties: Properties, stack: str) -> Made:
        made, attributes = handler["create"](logical_id, properties, stack)
        return made, attributes | restore(made, properties, {})

    def update(physical_id: str, old: Properties, new: Properties, *rest: str) -> Made:
        made, attributes = handler["update"](physical_id, old, new, *rest)
        return made, attributes | restore(made, new, old)

    return handler | {"create": create, "update": update}


def keeping(original: Callable[[Properties], Any], table: Any, lost: Properties) -> Callable[[Properties], Any]:
    """A Glue create or update that keeps the `lost` properties in its record too."""

    def call(data: Properties) -> Any:
        answer = original(data)
        if answer[0] < 400:
            given = data.get("JobUpdate") or data.get("TriggerUpdate") or data
            record = table[data.get("JobName") or data["Name"]]
            record.update({key: given.get(key, record.get(key, default)) for key, default in lost.items()})
        return answer

    return call


def with_default_key(original: Callable[..., Any]) -> Callable[..., Any]:
    """A write that asks for aws:kms without a key gets the bucket's, else the account's own alias/aws/s3."""
    from ministack.core.responses import get_account_id, get_region
    from ministack.services import s3

    key, kms = "x-amz-server-side-encryption-aws-kms-key-id", {"x-amz-server-side-encryption": "aws:kms"}

    def resolve(headers: dict[str, str], bucket_name: str) -> Any:
        if kms.items() <= headers.items() and not headers.get(key):
            own = f"arn:aws:kms:{get_region()}:{get_account_id()}:alias/aws/s3"
            headers = headers | {key: s3._bucket_default_sse_headers(bucket_name).get(key, own)}
        return original(headers, bucket_name)

    return resolve


def listing_workflows(original: Callable[..., Any]) -> Callable[..., Any]:
    """Glue's ListWorkflows, which tells what a destroy left behind."""
    from ministack.core.responses import json_response
    from ministack.services import glue

    def handle(method: str, path: str, headers: dict[str, str], *rest: Any) -> Any:
        if headers.get("x-amz-target") == "AWSGlue.ListWorkflows":
            return json_response({"Workflows": [*glue._workflows]})
        return original(method, path, headers, *rest)

    return handle


def answering_when_settled(original: Callable[..., Any]) -> Callable[..., Any]:
    """DescribeStacks of a stack in progress answers once it has settled, or as it is after SETTLE_SECONDS.

    The CDK CLI asks every five seconds: stacks that take one second here would take five each.
    """

    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
        asked = parse_qs(body.decode(errors="replace"))
        if asked.get("Action") == ["DescribeStacks"] and "StackName" in asked:
            deadline = time.monotonic() + SETTLE_SECONDS
            while in_progress(asked["StackName"][0]) and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
        return await original(method, path, headers, body, query)

    return handle


def in_progress(name: str) -> bool:
    """Whether a stack, by name or ARN, is being changed."""
    from ministack.services.cloudformation.handlers import _resolve_stack

    status = str((_resolve_stack(name) or {}).get("StackStatus", ""))
    return status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS"
