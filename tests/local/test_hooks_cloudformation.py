"""Contract tests of local/hooks/cloudformation.py: what a template declares is what the services' APIs answer."""

from typing import Any

import pytest

pytestmark = pytest.mark.local


def resource(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::{kind}", "Properties": properties}


RESOURCES = {
    "Key": resource("KMS::Key", KeyPolicy={"Version": "2012-10-17", "Statement": []}),
    "Vpc": resource("EC2::VPC", CidrBlock="10.7.0.0/16"),
    "Flow": resource(
        "EC2::FlowLog",
        ResourceId={"Ref": "Vpc"},
        ResourceType="VPC",
        TrafficType={"Ref": "Traffic"},
        LogDestinationType="cloud-watch-logs",
        LogGroupName="flows",
        DeliverLogsPermissionArn="arn:aws:iam::000000000000:role/flows",
    ),
    "Bucket": resource(
        "S3::Bucket",
        BucketEncryption={
            "ServerSideEncryptionConfiguration": [
                {
                    "BucketKeyEnabled": True,
                    "ServerSideEncryptionByDefault": {
                        "SSEAlgorithm": "aws:kms",
                        "KMSMasterKeyID": {"Fn::GetAtt": ["Key", "Arn"]},
                    },
                }
            ]
        },
        NotificationConfiguration={"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
    ),
    "Stream": resource(
        "Kinesis::Stream", ShardCount=1, StreamEncryption={"EncryptionType": "KMS", "KeyId": {"Ref": "Key"}}
    ),
    "Topic": resource("SNS::Topic", KmsMasterKeyId={"Ref": "Key"}),
    "WorkGroup": resource("Athena::WorkGroup", Name="contract"),
    "Query": resource(
        "Athena::NamedQuery", Database="d", QueryString="select 1", Name="one", WorkGroup={"Ref": "WorkGroup"}
    ),
    "Security": resource(
        "Glue::SecurityConfiguration",
        Name="contract",
        EncryptionConfiguration={
            "S3Encryptions": [{"S3EncryptionMode": "SSE-KMS", "KmsKeyArn": {"Fn::GetAtt": ["Key", "Arn"]}}]
        },
    ),
    "Job": resource(
        "Glue::Job",
        Role="role",
        Command={"Name": "glueetl"},
        ExecutionProperty={"MaxConcurrentRuns": 1},
        JobRunQueuingEnabled=True,
    ),
    "Workflow": resource("Glue::Workflow", Description={"Ref": "Traffic"}, MaxConcurrentRuns=1),
    "Trigger": resource(
        "Glue::Trigger",
        Type="EVENT",
        WorkflowName={"Ref": "Workflow"},
        Actions=[{"JobName": {"Ref": "Job"}}],
        EventBatchingCondition={"BatchSize": 5, "BatchWindow": 30},
    ),
    "Build": resource(
        "CodeBuild::Project",
        ServiceRole="role",
        Artifacts={"Type": "NO_ARTIFACTS"},
        Source={"Type": "NO_SOURCE"},
        Environment={"Type": "LINUX_CONTAINER", "Image": "i", "ComputeType": "BUILD_GENERAL1_SMALL"},
    ),
}
REFERENCES = {name: {"Ref": name} for name in RESOURCES} | {
    "Cidr": {"Fn::GetAtt": ["Vpc", "CidrBlock"]},
    "KeyArn": {"Fn::GetAtt": ["Key", "Arn"]},
}
TEMPLATE = {
    "Parameters": {"Traffic": {"Type": "String", "Default": "ALL"}},
    "Conditions": {
        "Everything": {"Fn::Equals": [{"Ref": "Traffic"}, "ALL"]},
        "Some": {"Fn::Not": [{"Condition": "Everything"}]},
    },
    "Resources": RESOURCES | {"OnlyRejected": {"Type": "AWS::SNS::Topic", "Condition": "Some"}},
    "Outputs": {f"{name}Out": {"Value": value} for name, value in REFERENCES.items()}
    | {"WhichOut": {"Value": {"Fn::If": ["Everything", "all", {"Ref": "Traffic"}]}}},
}


@pytest.fixture(scope="module")
def outputs(deploy_stack: Any) -> dict[str, str]:
    return {key.removesuffix("Out"): value for key, value in deploy_stack("contract", TEMPLATE).items()}


def test_bucket_properties_survive(client: Any, outputs: dict[str, str]) -> None:
    s3, bucket = client("s3"), outputs["Bucket"]
    rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == outputs["KeyArn"]
    assert "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(Bucket=bucket)
    written = s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert written["SSEKMSKeyId"] == outputs["KeyArn"]
    s3.delete_object(Bucket=bucket, Key="k")


def test_network(client: Any, outputs: dict[str, str]) -> None:
    assert outputs["Cidr"] == "10.7.0.0/16"
    flow = client("ec2").describe_flow_logs(FlowLogIds=[outputs["Flow"]])["FlowLogs"][0]
    assert (flow["ResourceId"], flow["TrafficType"], flow["LogDestination"]) == (outputs["Vpc"], "ALL", "flows")


def test_encryption_of_stream_and_topic(client: Any, outputs: dict[str, str]) -> None:
    stream = client("kinesis").describe_stream_summary(StreamName=outputs["Stream"])["StreamDescriptionSummary"]
    assert (stream["EncryptionType"], stream["KeyId"]) == ("KMS", outputs["Key"])
    topic = client("sns").get_topic_attributes(TopicArn=outputs["Topic"])["Attributes"]
    assert topic["KmsMasterKeyId"] == outputs["Key"]


def test_glue_and_athena(client: Any, outputs: dict[str, str]) -> None:
    glue = client("glue")
    job = glue.get_job(JobName=outputs["Job"])["Job"]
    assert (job["ExecutionProperty"], job["JobRunQueuingEnabled"]) == ({"MaxConcurrentRuns": 1}, True)
    assert glue.get_workflow(Name=outputs["Workflow"])["Workflow"]["MaxConcurrentRuns"] == 1
    trigger = glue.get_trigger(Name=outputs["Trigger"])["Trigger"]
    assert trigger["EventBatchingCondition"] == {"BatchSize": 5, "BatchWindow": 30}
    assert trigger["WorkflowName"] == outputs["Workflow"]
    security = glue.get_security_configuration(Name="contract")["SecurityConfiguration"]["EncryptionConfiguration"]
    assert security["S3Encryption"][0]["KmsKeyArn"] == outputs["KeyArn"]
    query = client("athena").get_named_query(NamedQueryId=outputs["Query"])["NamedQuery"]
    assert (query["QueryString"], query["WorkGroup"]) == ("select 1", "contract")


def test_update_with_the_previous_template(client: Any, outputs: dict[str, str], deploy_stack: Any) -> None:
    """A changed parameter replaces what it must, changes the rest in place, and re-evaluates conditions."""
    updated = {
        key.removesuffix("Out"): value for key, value in deploy_stack("contract", None, Traffic="REJECT").items()
    }
    assert (outputs["Which"], updated["Which"]) == ("all", "REJECT")
    flows = client("ec2").describe_flow_logs()["FlowLogs"]
    assert [(flow["FlowLogId"], flow["TrafficType"]) for flow in flows] == [(updated["Flow"], "REJECT")]
    assert updated["Flow"] != outputs["Flow"]
    assert updated["Workflow"] == outputs["Workflow"]
    assert client("glue").get_workflow(Name=updated["Workflow"])["Workflow"]["Description"] == "REJECT"
    same = {name for name in outputs if outputs[name] == updated[name]}
    assert outputs.keys() - same == {"Flow", "Which"}
    resources = client("cloudformation").describe_stack_resources(StackName="contract")["StackResources"]
    assert "OnlyRejected" in {resource["LogicalResourceId"] for resource in resources}
