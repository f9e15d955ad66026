"""docs/security.md from an assembly: `python -m checks.page cdk.out > docs/security.md`."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from checks.access.matrix import markdown, matrices
from checks.accepted import Accepted
from checks.assembly import Assembly, Stack
from checks.finding import Finding

Rows = dict[tuple[str, ...], list[str]]  # the cells of a row -> the environments that have it
# type -> where its template names the key
ENCRYPTED = {
    "AWS::Athena::WorkGroup": ("WorkGroupConfiguration", "ResultConfiguration", "EncryptionConfiguration", "KmsKey"),
    "AWS::CloudTrail::Trail": ("KMSKeyId",),
    "AWS::CodeBuild::Project": ("EncryptionKey",),
    "AWS::DynamoDB::GlobalTable": ("SSESpecification", "SSEEnabled"),
    "AWS::DynamoDB::Table": ("SSESpecification", "KMSMasterKeyId"),
    "AWS::ECR::Repository": ("EncryptionConfiguration", "KmsKey"),
    "AWS::Glue::SecurityConfiguration": ("EncryptionConfiguration", "CloudWatchEncryption", "KmsKeyArn"),
    "AWS::Kinesis::Stream": ("StreamEncryption", "KeyId"),
    "AWS::Lambda::Function": ("KmsKeyArn",),
    "AWS::Logs::LogGroup": ("KmsKeyId",),
    "AWS::S3::Bucket": (
        "BucketEncryption",
        "ServerSideEncryptionConfiguration",
        0,
        "ServerSideEncryptionByDefault",
        "KMSMasterKeyID",
    ),
    "AWS::SNS::Topic": ("KmsMasterKeyId",),
    "AWS::SQS::Queue": ("KmsMasterKeyId",),
    "AWS::SageMaker::EndpointConfig": ("KmsKeyId",),
}
NOT_COVERED = (
    "What a running account adds: service control policies, session policies, roles and grants made by hand, other "
    "stacks. The matrix is of this assembly alone.",
    "Conditions that only a request decides (its tags, its network, its time): the matrix takes the worst case and "
    "says `if`.",
    "The code of the CDK's own functions (emptying buckets) and of AWS's images.",
    "Service-linked roles, and what an AWS service does with data that it holds.",
    "The CDK's bootstrap stack: its roles may deploy anything. Give it a permissions boundary or a narrower execution "
    "policy in an account that you share.",
)


def page(assembly: Assembly, linted: Iterable[Finding]) -> str:
    """The page, with what linters found and constructs accept."""
    environments = list(assembly.environments)
    parts = [
        "# Security",
        "Generated from the synthesized templates: `make security`. A test fails when it is out of date.",
        "## Encryption at rest",
        _table(("resource", "type", "key"), _encryption(assembly), environments),
        "## Encryption in transit",
        "A request without TLS is denied by the resource's own policy:",
        _table(("resource", "type"), _tls_only(assembly), environments),
        "## Network",
        _table(("resource", "type", "what"), _network(assembly), environments),
        "## Who can read what",
        *(f"### {each.environment}\n\n{markdown(each)}" for each in matrices(assembly)),
        "## Acknowledged findings",
        "Each is accepted on the one construct that has it, with the reason given where that is made.",
        _table(("rule", "construct", "reason"), _acknowledged(assembly, linted), environments),
        "## Not covered",
        "\n".join(f"- {each}" for each in NOT_COVERED),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _encryption(assembly: Assembly) -> Rows:
    rows: Rows = {}
    for stack, logical_id, resource in assembly.resources(*ENCRYPTED):
        key = _at(resource.get("Properties", {}), ENCRYPTED[resource["Type"]])
        kind = resource["Type"].removeprefix("AWS::")
        said = "the platform's key" if key and "aws:" not in str(key) and "alias/aws" not in str(key) else "AWS's own"
        _add(rows, (f"`{_name(stack, logical_id)}`", kind, said), stack)
    return rows


def _tls_only(assembly: Assembly) -> Rows:
    rows: Rows = {}
    policies = ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")
    for stack, logical_id, resource in assembly.resources(*policies):
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
            secure = statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
            if statement["Effect"] == "Deny" and str(secure).lower() == "false":
                kind = resource["Type"].split("::")[1]
                _add(rows, (f"`{_name(stack, logical_id).removesuffix('/Policy')}`", kind), stack)
    return rows


def _network(assembly: Assembly) -> Rows:
    rows: Rows = {}
    for stack, logical_id, resource in assembly.resources("AWS::EC2::VPCEndpoint", "AWS::EC2::SecurityGroup"):
        properties = resource["Properties"]
        if resource["Type"].endswith("VPCEndpoint"):
            policy = "with a policy" if "PolicyDocument" in properties else "without a policy"
            what = f"{properties.get('VpcEndpointType', 'Gateway')}, {policy}"
        else:
            rules = [_rule("in", each) for each in properties.get("SecurityGroupIngress", [])]
            rules += [_rule("out", each) for each in properties.get("SecurityGroupEgress", [])]
            what = "; ".join(rules) or "none"
        kind = resource["Type"].rpartition("::")[2]
        _add(rows, (f"`{_name(stack, logical_id)}`", kind, what), stack)
    return rows


def _rule(direction: str, rule: dict[str, Any]) -> str:
    ports = f"{rule.get('FromPort', 'any')}" if rule.get("IpProtocol") != "-1" else "any"
    where = rule.get("CidrIp", "")
    return f"{direction} {ports} {where if isinstance(where, str) else 'the VPC'} ({rule.get('Description', '')})"


def _acknowledged(assembly: Assembly, linted: Iterable[Finding]) -> Rows:
    rows: Rows = {}
    stacks = {stack.label: stack for stack in assembly.stacks}
    for each in assembly.acknowledged:
        environment, _, path = each.path.partition("/")
        cells = (f"`{_short(each.rule)}`", f"`{path.removesuffix('/Resource')}`", each.reason)
        rows.setdefault(cells, []).append(environment)
    accepted = Accepted(assembly)
    for finding in linted:
        if reason := accepted.reason(finding):
            stack = stacks[finding.stack]
            _add(rows, (f"`{finding.rule}`", f"`{_name(stack, finding.resource)}`", reason), stack)
    return rows


def _short(rule: str) -> str:
    """A rule with the resource it names cut to what a table can hold."""
    return rule if len(rule) <= 90 else f"{rule[:87]}..."


def _name(stack: Stack, logical_id: str) -> str:
    """The construct path from the layer on."""
    return stack.path(logical_id).removeprefix(f"{stack.environment}/").removesuffix("/Resource")


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    """What a nested structure has at a path, or None."""
    for step in path:
        if isinstance(value, dict) and step in value or isinstance(value, list) and isinstance(step, int) and value:
            value = value[step]
        else:
            return None
    return value


def _add(rows: Rows, cells: tuple[str, ...], stack: Stack) -> None:
    rows.setdefault(cells, []).append(stack.environment)


def _table(heads: tuple[str, ...], rows: Rows, environments: list[str]) -> str:
    """A Markdown table, with a column that says which environments have a row when not all do."""
    lines = [f"| {' | '.join((*heads, 'where'))} |", f"|{'---|' * (len(heads) + 1)}"]
    for cells, found in sorted(rows.items()):
        where = "all" if set(found) >= set(environments) else ", ".join(sorted(set(found), key=environments.index))
        lines.append(f"| {' | '.join(_cell(each) for each in (*cells, where))} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    from checks import linters

    found = Assembly(Path(sys.argv[1]))
    print(page(found, linters.findings(found)), end="")
