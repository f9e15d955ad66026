"""Deploys and destroys the stacks in a local cloud with the real CDK CLI, and lists what a destroy left behind."""

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import jmespath

from local import tools
from local.cloud import DEPLOYMENT, Cloud

BOOTSTRAP_STACK = "CDKToolkit"
LINES_IN_ERROR = 40


def cdk(cloud: Cloud, *arguments: str, folder: Path = tools.ROOT) -> Iterator[str]:
    """Run the CDK CLI against the local cloud and pass its output on, line by line.

    Raises ToolError with the last lines when it fails. Closing the iterator ends the CLI.
    """
    command = [str(tools.node()), str(tools.cdk().resolve()), "--no-color", "--no-notices", "--ci", *arguments]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=cloud.environment(),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that it can be ended with the app it runs
    )
    seen: list[str] = []
    try:
        for line in process.stdout or ():
            seen.append(line.rstrip())
            yield seen[-1]
        code = process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, as it should
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if code:
        last = "\n".join(seen[-LINES_IN_ERROR:])
        raise tools.ToolError(f"cdk {arguments[0]} failed:\n{last}\nThe local cloud's log is {cloud.log}.")


def target_of(assembly: Path) -> tuple[str, str]:
    """The account and region of an assembly's stacks. Raises ToolError unless all have the same, stated."""
    artifacts = json.loads((assembly / "manifest.json").read_text())["artifacts"].values()
    targets = {item["environment"] for item in artifacts if item["type"] == "aws:cloudformation:stack"}
    if not (found := re.fullmatch(r"aws://(\d{12})/([a-z0-9-]+)", " ".join(targets))):
        raise tools.ToolError(f"The stacks of {assembly.name} need one account and region: give all the same `env`.")
    return found[1], found[2]


def deploy(cloud: Cloud, stage: str, folder: Path = tools.ROOT, stacks: Sequence[str] = ("*",)) -> Iterator[str]:
    """Synthesize the app in `folder`, bootstrap the local cloud and deploy (or update) a stage's stacks.

    `stacks` names some of them, with all that they need.

    Yields the CLI's lines. The account and region are the stage's own: the local cloud takes any.
    Raises ToolError when a step fails or the stage isn't for one account and region.
    """
    cloud.require()
    assembly = cloud.state / "cdk.out"
    chosen = ("--context", f"environment={stage}", f"{stage}/*")
    yield from cdk(cloud, "synth", "--quiet", "--output", str(assembly), *chosen, folder=folder)
    account, region = target_of(assembly / f"assembly-{stage}")
    (cloud.state / DEPLOYMENT).write_text(json.dumps({"account": account, "region": region, "stage": stage}))
    app = ("--app", str(assembly))
    deployed = cloud.session().client("cloudformation").describe_stacks()["Stacks"]
    if BOOTSTRAP_STACK not in {stack["StackName"] for stack in deployed}:
        yield from cdk(cloud, "bootstrap", *app, f"aws://{account}/{region}")
    how = ("--require-approval", "never", "--method", "direct", "--progress", "events", "--concurrency", "4")
    yield from cdk(cloud, "deploy", *app, *how, *(f"{stage}/{name}" for name in stacks))


def destroy(cloud: Cloud) -> Iterator[str]:
    """Destroy the deployed stage's stacks and then the bootstrap stack with its bucket. Yields the CLI's lines."""
    cloud.require()
    if cloud.deployment:
        app, stage = cloud.state / "cdk.out", cloud.deployment["stage"]
        yield from cdk(cloud, "destroy", "--app", str(app), "--force", f"{stage}/*")
        yield from remove_bootstrap(cloud)


def remove_bootstrap(cloud: Cloud) -> Iterator[str]:
    """Delete the CDKToolkit stack; its bucket, which it retains, is emptied and deleted, as are its images."""
    session = cloud.session()
    formation, s3, ecr = session.client("cloudformation"), session.resource("s3"), session.client("ecr")
    resources = formation.describe_stack_resources(StackName=BOOTSTRAP_STACK)["StackResources"]
    names = {resource["ResourceType"]: resource["PhysicalResourceId"] for resource in resources}
    ecr.delete_repository(repositoryName=names["AWS::ECR::Repository"], force=True)
    formation.delete_stack(StackName=BOOTSTRAP_STACK)
    formation.get_waiter("stack_delete_complete").wait(StackName=BOOTSTRAP_STACK, WaiterConfig={"Delay": 1})
    bucket = s3.Bucket(names["AWS::S3::Bucket"])
    bucket.object_versions.delete()
    bucket.delete()
    yield f"{BOOTSTRAP_STACK}: destroyed, its bucket {bucket.name} too"


# Glue and SageMaker make these for all jobs and crawlers of an account: no stack owns them, here or in AWS.
JOB_LOGS = "starts_with(@, '/aws-glue/') || starts_with(@, '/aws/sagemaker/') && ends_with(@, 'Jobs')"
# Service, operation, JMESPath to the names, of the services that the stacks and CDK's bootstrap use. AWS's own and
# MiniStack's default resources don't count.
LISTS = (
    ("s3", "list_buckets", "Buckets[].Name"),
    ("kms", "list_aliases", "Aliases[?!starts_with(AliasName, 'alias/aws/')].AliasName"),
    ("lambda", "list_functions", "Functions[].FunctionName"),
    ("logs", "describe_log_groups", f"logGroups[].logGroupName | [?!({JOB_LOGS})]"),
    ("iam", "list_roles", "Roles[?!starts_with(Path, '/aws-service-role/')].RoleName"),
    ("iam", "list_policies", "Policies[?!starts_with(Arn, 'arn:aws:iam::aws:')].PolicyName"),
    ("ssm", "describe_parameters", "Parameters[?!starts_with(Name, '/aws/')].Name"),
    ("ec2", "describe_vpcs", "Vpcs[?!IsDefault].VpcId"),
    ("ec2", "describe_vpc_endpoints", "VpcEndpoints[].VpcEndpointId"),
    ("ec2", "describe_flow_logs", "FlowLogs[].FlowLogId"),
    ("ecr", "describe_repositories", "repositories[].repositoryName"),
    ("codebuild", "list_projects", "projects"),
    ("kinesis", "list_streams", "StreamNames"),
    ("dynamodb", "list_tables", "TableNames"),
    ("lambda", "list_event_source_mappings", "EventSourceMappings[].UUID"),
    ("firehose", "list_delivery_streams", "DeliveryStreamNames"),
    ("glue", "get_databases", "DatabaseList[?Name != 'default'].Name"),
    ("glue", "get_jobs", "Jobs[].Name"),
    ("glue", "get_crawlers", "Crawlers[].Name"),
    ("glue", "get_triggers", "Triggers[].Name"),
    ("glue", "get_security_configurations", "SecurityConfigurations[].Name"),
    ("athena", "list_work_groups", "WorkGroups[?Name != 'primary'].Name"),
    ("athena", "list_named_queries", "NamedQueryIds"),
    ("events", "list_rules", "Rules[].Name"),
    ("scheduler", "list_schedules", "Schedules[].Name"),
    ("sns", "list_topics", "Topics[].TopicArn"),
    ("sns", "list_subscriptions", "Subscriptions[].SubscriptionArn"),
    ("sqs", "list_queues", "QueueUrls"),
    ("cloudwatch", "describe_alarms", "MetricAlarms[].AlarmName"),
    ("sagemaker", "list_endpoints", "Endpoints[].EndpointName"),
    ("sagemaker", "list_endpoint_configs", "EndpointConfigs[].EndpointConfigName"),
    ("sagemaker", "list_models", "Models[].ModelName"),
    ("sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList[].ModelPackageGroupName"),
    ("sagemaker", "list_pipelines", "PipelineSummaries[].PipelineName"),
    ("cloudformation", "describe_stacks", "Stacks[].StackName"),
)


def leftovers(cloud: Cloud) -> list[str]:
    """What exists in the cloud, as "service kind: name"; KMS keys whose deletion is scheduled count as gone."""
    session = cloud.session()
    found = []
    for service, operation, path in LISTS:
        client = session.client(service)
        if client.can_paginate(operation):
            names = client.get_paginator(operation).paginate().search(path)
        else:
            names = jmespath.search(path, getattr(client, operation)()) or []
        found += [f"{service} {operation.partition('_')[2]}: {name}" for name in names if name]
    kms = session.client("kms")
    for key in kms.get_paginator("list_keys").paginate().search("Keys[].KeyId"):
        facts = kms.describe_key(KeyId=key)["KeyMetadata"]
        if facts["KeyState"] != "PendingDeletion" and facts["KeyManager"] == "CUSTOMER":
            found.append(f"kms keys: {key}")
    return found
