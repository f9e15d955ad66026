"""References between stacks: each names something that exists, and those to what must never go stale are strong."""

import json

from checks.assembly import Assembly, Reference, Stack, references

# A weak reference keeps its old value when the producer is replaced under the same name and the consumer's template
# stays the same: with these, that would lose data or break a network.
STRONG = {"AWS::KMS::Key", "AWS::S3::Bucket", "AWS::EC2::VPC", "AWS::EC2::Subnet"}


def test_each_reference_names_what_exists_in_a_stack_deployed_before(assembly: Assembly) -> None:
    crossing = _crossing(assembly)
    assert {reference.function for _, reference, _ in crossing} == {"Fn::ImportValue", "Fn::GetStackOutput"}
    wrong = [f"{_say(stack, reference)}: nothing" for stack, reference, producer in crossing if not producer]
    wrong += [
        f"{_say(stack, reference)}: not deployed before it"
        for stack, reference, producer in crossing
        if producer and producer[0].name not in stack.requires
    ]
    assert not wrong, "\n".join(wrong)


def test_keys_networks_and_buckets_are_imported_strongly_and_nothing_else_is(assembly: Assembly) -> None:
    wrong = []
    for stack, reference, producer in _crossing(assembly):
        if producer:
            kind = _type(*producer)
            if (kind in STRONG) != (reference.function == "Fn::ImportValue"):
                wrong.append(f"{_say(stack, reference)}: a {kind}")
    assert not wrong, "\n".join(wrong)


def test_a_new_image_changes_the_template_of_whatever_runs_it(assembly: Assembly) -> None:
    """CloudFormation updates no stack whose template is the same: some of the image's tag must be in it."""
    images = list(assembly.resources("Custom::ImageBuild"))
    assert len(images) == len(assembly.environments)
    for stack, _, image in images:
        layers = assembly.environments[stack.environment]
        for user in ("training", "serving", "monitoring"):
            assert image["Properties"]["ImageTag"] in json.dumps(layers[user].template), (stack.environment, user)


def test_a_replaced_producer_is_followed_by_its_weak_consumer(replaced: Assembly) -> None:
    before, after = (replaced.environments[stage] for stage in ("before", "after"))
    weak_before, weak_after = (_weak(stage["catalog-etl"]) for stage in (before, after))
    assert weak_before
    assert weak_after
    assert weak_before.isdisjoint(weak_after), "the consumer's template did not change: it would keep the old value"
    assert weak_before <= set(before["data-lake"].outputs)
    assert weak_after <= set(after["data-lake"].outputs)
    assert not [_say(stack, reference) for stack, reference, producer in _crossing(replaced) if not producer]


def _crossing(assembly: Assembly) -> list[tuple[Stack, Reference, tuple[Stack, str] | None]]:
    """(consumer, reference, (producer, output)) of all references between stacks; None when there is no such output."""
    found: list[tuple[Stack, Reference, tuple[Stack, str] | None]] = []
    for stages in assembly.environments.values():
        outputs = {(stack.name, name): (stack, name) for stack in stages.values() for name in stack.outputs}
        exports = {
            output["Export"]["Name"]: (stack, name)
            for stack in stages.values()
            for name, output in stack.outputs.items()
            if "Export" in output
        }
        for stack in stages.values():
            for reference in sorted(set(references(stack.template)), key=str):
                if reference.function == "Fn::ImportValue":
                    found.append((stack, reference, exports.get(reference.target)))
                elif reference.function == "Fn::GetStackOutput":
                    found.append((stack, reference, outputs.get((reference.stack_name, reference.target))))
    return found


def _type(producer: Stack, output: str) -> str:
    """The type of the one resource that an output tells of."""
    (target,) = {reference.target for reference in references(producer.outputs[output]["Value"])}
    found: str = producer.template["Resources"][target]["Type"]
    return found


def _weak(stack: Stack) -> set[str]:
    return {each.target for each in references(stack.template) if each.function == "Fn::GetStackOutput"}


def _say(stack: Stack, reference: Reference) -> str:
    return f"{stack.environment}/{stack.layer} {reference.function} {reference.stack_name} {reference.target}"
