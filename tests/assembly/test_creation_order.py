"""The first deployment works: whatever a resource needs when it is created exists by then, policies above all.

CloudFormation creates a resource after those it refers to and those in its DependsOn; the CDK CLI deploys a stack after
those its manifest lists. Nothing else orders anything. A policy that comes late fails only in an account, sometimes.
"""

from collections.abc import Collection
from copy import deepcopy
from dataclasses import replace

from checks.assembly import Assembly, Stack, references

Node = tuple[str, str]  # stack name, logical id
# These name roles, in documents that let them do something; they don't work with them.
NAMING_ONLY = ("Policy", "AWS::IAM::Role", "AWS::KMS::Key")


class Order:
    """What is created before what, in the stacks of one environment."""

    def __init__(self, stacks: list[Stack]) -> None:
        self.stacks = {stack.name: stack for stack in stacks}

    def before(self, stack: Stack, logical_id: str) -> set[Node]:
        """All resources that exist before the creation of one starts."""
        earlier = {(name, each) for name in self._earlier(stack) for each in self.stacks[name].resources()}
        return earlier | {(stack.name, each) for each in before_in_stack(stack, logical_id)}

    def _earlier(self, stack: Stack) -> set[str]:
        return set(stack.requires).union(*(self._earlier(self.stacks[name]) for name in stack.requires))


def before_in_stack(stack: Stack, logical_id: str) -> set[str]:
    """Resources of the same stack that exist before the creation of one starts."""
    found: set[str] = set()
    pending = [logical_id]
    while pending:
        new = _needs(stack, pending.pop()) - found
        found |= new
        pending += new
    return found


def test_policies_come_before_whatever_works_with_their_role(assembly: Assembly) -> None:
    late = [problem for stages in assembly.environments.values() for problem in _late_policies(list(stages.values()))]
    assert not late, "\n".join(late)


def test_the_image_is_built_before_models_and_pipelines(assembly: Assembly) -> None:
    late = []
    for stages in assembly.environments.values():
        order = Order(list(stages.values()))
        images = _nodes(stages, "Custom::ImageBuild")
        assert images
        users = [
            (stack, name)
            for stack in stages.values()
            for name in stack.resources("AWS::SageMaker::Model", "AWS::SageMaker::Pipeline")
        ]
        assert {stack.layer for stack, _ in users} == {"training", "serving", "monitoring"}
        late += [stack.where(name) for stack, name in users if not images <= order.before(stack, name)]
    assert not late, "\n".join(late)


def test_the_image_build_has_its_project_repository_and_permissions(assembly: Assembly) -> None:
    for stack, image, _ in assembly.resources("Custom::ImageBuild"):
        before = before_in_stack(stack, image)
        needed = set(stack.resources("AWS::CodeBuild::Project", "AWS::ECR::Repository"))
        assert len(needed) == 2
        assert needed <= before
        assert {policy for name in needed for policy in _policies_of_user(stack, name)} <= before


def test_the_endpoint_comes_after_the_policies_of_its_containers(assembly: Assembly) -> None:
    for stack, endpoint, _ in assembly.resources("AWS::SageMaker::Endpoint"):
        models = stack.resources("AWS::SageMaker::Model")
        policies = {policy for model in models for policy in _policies_of_user(stack, model)}
        assert policies
        assert policies <= before_in_stack(stack, endpoint)


def test_a_delivery_stream_comes_after_its_source_its_table_and_its_transform(assembly: Assembly) -> None:
    kinds = ("AWS::Glue::Table", "AWS::Kinesis::Stream", "AWS::Lambda::Function")
    for stack, delivery, _ in assembly.resources("AWS::KinesisFirehose::DeliveryStream"):
        before = before_in_stack(stack, delivery)
        counts = [len(before & own.keys()) for kind in kinds if (own := stack.resources(kind))]
        assert counts and set(counts) == {1}


def test_the_flink_application_comes_after_the_build_of_its_package(assembly: Assembly) -> None:
    applications = assembly.resources("AWS::KinesisAnalyticsV2::Application")
    assert len(applications) == len(assembly.environments)
    for stack, application, _ in applications:
        before = before_in_stack(stack, application)
        (build,), (project,) = (stack.resources(kind) for kind in ("Custom::PackageBuild", "AWS::CodeBuild::Project"))
        assert {build, project, *_policies_of_user(stack, project), *_policies_of_user(stack, application)} <= before


def test_the_consumer_that_the_flink_application_reads_by_outlives_it(assembly: Assembly) -> None:
    """Its connector takes a shard whose consumer is gone for one that has ended, and reads it no more."""
    for stack, application, _ in assembly.resources("AWS::KinesisAnalyticsV2::Application"):
        assert stack.resources("AWS::Kinesis::StreamConsumer").keys() <= before_in_stack(stack, application)


def test_a_log_group_comes_before_its_function(assembly: Assembly) -> None:
    """Lambda would otherwise create a group of its own, which keeps everything and outlives the stack."""
    without = [
        stack.where(name)
        for stack, name, function in assembly.resources("AWS::Lambda::Function")
        if not _refers(function["Properties"].get("LoggingConfig"), stack.resources("AWS::Logs::LogGroup"))
    ]
    assert not without, "\n".join(without)


def test_a_bucket_is_emptied_before_its_policy_is_gone(assembly: Assembly) -> None:
    """Deletion runs backwards: what is created after the bucket's policy is deleted before it."""
    for stack, name, resource in assembly.resources("Custom::S3AutoDeleteObjects"):
        bucket = resource["Properties"]["BucketName"]
        policies = {
            policy
            for policy, each in stack.resources("AWS::S3::BucketPolicy").items()
            if each["Properties"]["Bucket"] == bucket
        }
        assert policies
        assert policies <= before_in_stack(stack, name)


def test_the_checks_see_a_missing_dependency(assembly: Assembly) -> None:
    """Without DependsOn, functions, jobs, streams, models and pipelines all start before their policies."""
    stages = [_without_depends_on(stack) for stack in assembly.environments["sandbox"].values()]
    late = "\n".join(_late_policies(stages))
    for kind in (
        "AWS::CodeBuild::Project",
        "AWS::Glue::Job",
        "AWS::KinesisFirehose::DeliveryStream",
        "AWS::Lambda::Function",
        "AWS::SageMaker::Model",
        "AWS::SageMaker::Pipeline",
        "AWS::Scheduler::Schedule",
    ):
        assert kind in late


def _late_policies(stacks: list[Stack]) -> list[str]:
    """Each resource that may be created before a policy of a role it works with."""
    order = Order(stacks)
    return [
        f"{stack.where(name)} may be created before {policy}"
        for stack in stacks
        for name, resource in stack.resources().items()
        if not resource["Type"].endswith(NAMING_ONLY)
        for policy in sorted(_policies_of_user(stack, name))
        if (stack.name, policy) not in order.before(stack, name)
    ]


def _needs(stack: Stack, name: str) -> set[str]:
    """Resources of the same stack that CloudFormation creates first because this one names them."""
    resource = stack.template["Resources"][name]
    listed = resource.get("DependsOn", [])
    named = {reference.target for reference in references(resource.get("Properties", {}))}
    return (named | set([listed] if isinstance(listed, str) else listed)) & set(stack.resources())


def _roles(stack: Stack, name: str) -> set[str]:
    """Roles that a resource's properties name."""
    properties = stack.template["Resources"][name].get("Properties", {})
    return {reference.target for reference in references(properties)} & set(stack.resources("AWS::IAM::Role"))


def _policies(stack: Stack, role: str) -> set[str]:
    """Policies attached to a role."""
    return {
        name
        for name, policy in stack.resources("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy").items()
        if {"Ref": role} in policy["Properties"].get("Roles", [])
    }


def _policies_of_user(stack: Stack, name: str) -> set[str]:
    return {policy for role in _roles(stack, name) for policy in _policies(stack, role)}


def _nodes(stages: dict[str, Stack], kind: str) -> set[Node]:
    return {(stack.name, name) for stack in stages.values() for name in stack.resources(kind)}


def _refers(value: object, resources: Collection[str]) -> bool:
    return any(reference.target in resources for reference in references(value))


def _without_depends_on(stack: Stack) -> Stack:
    template = deepcopy(stack.template)
    for resource in template["Resources"].values():
        resource.pop("DependsOn", None)
    return replace(stack, template=template)
