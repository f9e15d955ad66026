"""docs/security.md from an assembly: `python -m checks.page cdk.out > docs/security.md`."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from checks.accepted import Accepted
from checks.access.matrix import markdown, matrices
from checks.assembly import Assembly, Stack
from checks.finding import Finding
from checks.gates import found

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


def page(assembly: Assembly, judged: Iterable[Finding]) -> str:
    """The page, with what of the gates' findings constructs accept."""
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
        "Each is accepted on a construct that has it, with the reason given where that construct is made.",
        _table(("rule", "constructs", "reason"), _acknowledged(assembly, judged), environments),
        "## Not covered",
        "\n".join(f"- {each}" for each in NOT_COVERED),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _encryption(assembly: Assembly) -> Rows:
    rows: Rows = {}
    for stack, logical_id, resource in assembly.resources(*ENCRYPTED):
        key = _at(resource.get("Properties", {}), ENCRYPTED[resource["Type"]])
        kind = resource["Type"].removeprefix("AWS::")
        said = "the platform's key" if key and "aws:" not in str(key) and "alias/aws" not in str(key) else "AWS's"
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


def _acknowledged(assembly: Assembly, judged: Iterable[Finding]) -> Rows:
    """A row for each rule and reason, with the packs that have the rule and the constructs that have the finding."""
    by_reason: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for each in assembly.acknowledged:
        environment, _, path = each.path.partition("/")
        pack, _, rule = each.rule.partition("[")[0].partition("-")
        by_reason.setdefault((rule, each.reason), []).append((pack, path.removesuffix("/Resource"), environment))
    accepted, stacks = Accepted(assembly), {stack.label: stack for stack in assembly.stacks}
    for finding in judged:
        if reason := accepted.reason(finding):
            stack = stacks[finding.stack]
            place = ("", _name(stack, finding.resource), stack.environment)
            by_reason.setdefault((finding.rule, reason), []).append(place)
    rows: Rows = {}
    for (rule, reason), places in by_reason.items():
        packs, constructs, environments = ({place[part] for place in places} - {""} for part in range(3))
        where = "<br>".join(f"`{construct}`" for construct in sorted(constructs))
        named = f"`{rule}`" + (f"<br>{', '.join(sorted(packs))}" if packs else "")
        rows[(named, where, reason)] = sorted(environments)
    return rows


def _name(stack: Stack, logical_id: str) -> str:
    """The construct path from the layer on."""
    return stack.path(logical_id).removeprefix(f"{stack.environment}/").removesuffix("/Resource")


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    """What a nested structure has at a path, or None."""
    for step in path:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return None
    return value


def _add(rows: Rows, cells: tuple[str, ...], stack: Stack) -> None:
    rows.setdefault(cells, []).append(stack.environment)


def _table(heads: tuple[str, ...], rows: Rows, environments: list[str]) -> str:
    """A Markdown table, with a column that says which environments have a row when not all do."""
    lines = [f"| {' | '.join((*heads, 'where'))} |", f"|{'---|' * (len(heads) + 1)}"]
    for cells, environments_of in sorted(rows.items()):
        where = (
            "all"
            if set(environments_of) >= set(environments)
            else ", ".join(sorted(set(environments_of), key=environments.index))
        )
        lines.append(f"| {' | '.join(_cell(each) for each in (*cells, where))} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    assembly = Assembly(Path(sys.argv[1]))
    print(page(assembly, found(assembly)), end="")
