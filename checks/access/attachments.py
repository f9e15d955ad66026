"""Finds every policy of an environment's templates, and what each is attached to."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from checks.access import managed
from checks.access.evaluate import Policy, Who
from checks.access.policies import Source, Statement, statements, unreadable
from checks.access.resolve import Resolver, options
from checks.assembly import Stack

Holder = tuple[str, str, str]  # account, role or user or group, name


@dataclass(frozen=True)
class Document:
    """A policy where a template has it; `on` is the ARN of what it protects, empty for an identity policy."""

    source: Source
    statements: tuple[Statement, ...]
    on: str = ""
    type: str = ""  # of the resource it protects
    missing: str = ""  # the ARN of a managed policy that neither a template nor AWS has


@dataclass
class Attachments:
    """Who holds which statements, and what is protected by which."""

    documents: list[Document] = field(default_factory=list)
    boundaries: dict[Holder, Policy] = field(default_factory=dict)
    held: dict[Holder, list[Statement]] = field(default_factory=dict)
    protecting: dict[str, list[Statement]] = field(default_factory=dict)
    groups: dict[Holder, list[Holder]] = field(default_factory=dict)  # of a user

    def identity(self, account: str, who: str, name: str) -> Policy:
        """All identity policies of a role or user, those of its groups too."""
        holder = (account, str(who), name)
        holders = [holder, *self.groups.get(holder, [])]
        return Policy(tuple(each for one in holders for each in self.held.get(one, [])))

    def of_resource(self, arn: str) -> Policy:
        """The resource policy."""
        return Policy(tuple(self.protecting.get(arn, [])))

    def unmet(self, resolver: Resolver) -> Iterator[Holder]:
        """Roles and users that policies are attached to and no template makes."""
        made = {
            (resolver.place(stack).account, resolver.name(stack, identifier))
            for stack in resolver.stacks
            for identifier in stack.resources("AWS::IAM::Role", "AWS::IAM::User", "AWS::IAM::Group")
        }
        yield from (each for each in self.held if (each[0], each[2]) not in made and each[1] != "group")

    def hold(self, holder: Holder, document: Document) -> None:
        """Attach an identity policy."""
        self.held.setdefault(holder, []).extend(document.statements)

    def protect(self, source: Source, arn: str, type_: str, found: tuple[Statement, ...]) -> None:
        """Attach a resource policy."""
        self.documents.append(Document(source, found, arn, type_))
        self.protecting.setdefault(arn, []).extend(found)


def gather(resolver: Resolver) -> Attachments:
    """Every policy of the templates."""
    return _Gatherer(resolver).run()


# Types whose documents protect something: property of the document, property that says what, and its type.
_RESOURCE_POLICIES = {
    "AWS::S3::BucketPolicy": ("PolicyDocument", "Bucket", "AWS::S3::Bucket"),
    "AWS::SQS::QueuePolicy": ("PolicyDocument", "Queues", "AWS::SQS::Queue"),
    "AWS::SQS::QueueInlinePolicy": ("PolicyDocument", "Queue", "AWS::SQS::Queue"),
    "AWS::SNS::TopicPolicy": ("PolicyDocument", "Topics", "AWS::SNS::Topic"),
    "AWS::SNS::TopicInlinePolicy": ("PolicyDocument", "TopicArn", "AWS::SNS::Topic"),
    "AWS::SecretsManager::ResourcePolicy": ("ResourcePolicy", "SecretId", "AWS::SecretsManager::Secret"),
    "AWS::Kinesis::ResourcePolicy": ("ResourcePolicy", "ResourceArn", "AWS::Kinesis::Stream"),
}
_OWN_POLICIES = {
    "AWS::IAM::Role": "AssumeRolePolicyDocument",
    "AWS::KMS::Key": "KeyPolicy",
    "AWS::DynamoDB::Table": "ResourcePolicy.PolicyDocument",
    "AWS::ECR::Repository": "RepositoryPolicyText",
}
_IDENTITY_POLICIES = {
    "AWS::IAM::GroupPolicy",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::RolePolicy",
    "AWS::IAM::UserPolicy",
}
_HOLDERS = {"Roles": "role", "Users": "user", "Groups": "group"}
_ATTACHED_TO_ONE = {"RoleName": "role", "UserName": "user", "GroupName": "group"}


class _Gatherer:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.found = Attachments()
        self.managed: dict[str, Document] = {}
        self.arns: dict[str, str] = {}  # what templates call a resource -> its ARN
        for stack in resolver.stacks:
            for identifier in stack.resources("AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::Lambda::Function"):
                self.arns[resolver.text(stack, {"Ref": identifier})] = resolver.arn(stack, identifier)

    def run(self) -> Attachments:
        everything = [(stack, *each) for stack in self.resolver.stacks for each in stack.resources().items()]
        everything.sort(key=lambda each: each[2]["Type"] != "AWS::IAM::ManagedPolicy")  # roles refer to them
        for stack, identifier, resource in everything:
            self._read(stack, identifier, resource["Type"])
        return self.found

    def _read(self, stack: Stack, identifier: str, type_: str) -> None:
        source = Source(stack.label, identifier)
        account = self.resolver.place(stack).account
        properties = self.resolver.properties(stack, identifier)
        if type_ in ("AWS::IAM::Role", "AWS::IAM::User", "AWS::IAM::Group"):
            self._holder(
                (account, type_.rsplit("::", 1)[-1].lower(), self.resolver.name(stack, identifier)), properties, source
            )
        elif type_ == "AWS::SSO::PermissionSet":
            self._permission_set(account, properties, source)
        elif type_ in _IDENTITY_POLICIES:
            document = self._document(source, properties.get("PolicyDocument"))
            self._attach(account, properties, document)
            if type_ == "AWS::IAM::ManagedPolicy":
                self.managed[self.resolver.arn(stack, identifier)] = document
        elif type_ == "AWS::IAM::UserToGroupAddition":
            for user, _ in options(properties.get("Users")):
                self._join(account, user, [properties.get("GroupName")])
        elif type_ in _RESOURCE_POLICIES:
            text, what, protected = _RESOURCE_POLICIES[type_]
            for name, _ in options(properties.get(what)):
                read = tuple(statements(properties.get(text), source))
                self.found.protect(source, self._arn(stack, str(name), protected), protected, read)
        elif type_ == "AWS::Lambda::Permission":
            self._permission(properties, stack, source)
        if type_ in _OWN_POLICIES:
            self._own(properties, stack, type_, source)

    def _own(self, value: Any, stack: Stack, type_: str, source: Source) -> None:
        for step in _OWN_POLICIES[type_].split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if value is None and type_ == "AWS::KMS::Key":
            value = {"Statement": _default_key_policy(self.resolver.place(stack).account)}
        if value is not None:
            read = tuple(statements(value, source))
            self.found.protect(source, self.resolver.arn(stack, source.resource), type_, read)

    def _holder(self, holder: Holder, properties: dict[str, Any], source: Source) -> None:
        self.found.held.setdefault(holder, [])
        for policy, _ in options(properties.get("Policies", [])):
            document = policy.get("PolicyDocument") if isinstance(policy, dict) else policy
            self.found.hold(holder, self._document(source, document))
        for arn, _ in options(properties.get("ManagedPolicyArns", [])):
            self.found.hold(holder, self._managed(str(arn), source))
        if boundary := properties.get("PermissionsBoundary"):
            document = self._managed(str(boundary), source)
            if not document.missing:  # one that can't be read does not limit
                self.found.boundaries[holder] = Policy(document.statements)
        if groups := properties.get("Groups"):
            self._join(holder[0], holder[2], groups)

    def _permission_set(self, account: str, properties: dict[str, Any], source: Source) -> None:
        """A permission set as the role that IAM Identity Center makes of it in an account.

        https://docs.aws.amazon.com/singlesignon/latest/userguide/permissionsetsconcept.html
        """
        own = [each for each, _ in options(properties.get("CustomerManagedPolicyReferences")) if isinstance(each, dict)]
        arns = [f"arn:aws:iam::{account}:policy{each.get('Path', '/')}{each.get('Name')}" for each in own]
        arns += [each for each, _ in options(properties.get("ManagedPolicies"))]
        inline = properties.get("InlinePolicy")
        policies = [{"PolicyDocument": inline}] if inline else []
        name = f"AWSReservedSSO_{properties.get('Name')}"
        self._holder((account, "role", name), {"ManagedPolicyArns": arns, "Policies": policies}, source)

    def _managed(self, arn: str, source: Source) -> Document:
        if arn in self.managed:
            return self.managed[arn]
        if document := managed.document(arn):
            return self._document(source, document)
        missing = Document(source, (unreadable(source, arn),), missing=arn)
        self.found.documents.append(missing)
        return missing

    def _document(self, source: Source, value: Any) -> Document:
        document = Document(source, tuple(statements(value, source)))
        self.found.documents.append(document)
        return document

    def _attach(self, account: str, properties: dict[str, Any], document: Document) -> None:
        for name, kind in (_HOLDERS | _ATTACHED_TO_ONE).items():
            for holder, _ in options(properties.get(name, [])):
                self.found.hold((account, kind, str(holder)), document)

    def _join(self, account: str, user: Any, groups: Any) -> None:
        held = self.found.groups.setdefault((account, str(Who.USER), str(user)), [])
        held += [(account, "group", str(group)) for group, _ in options(groups)]

    def _arn(self, stack: Stack, name: str, type_: str) -> str:
        """The ARN of what a template names by ARN, name or URL."""
        if name.startswith("arn:"):
            return name
        known = self.arns.get(name)
        return known or f"arn:{self.resolver.place(stack).partition}:{type_.split('::')[1].lower()}:::{name}"

    def _permission(self, properties: dict[str, Any], stack: Stack, source: Source) -> None:
        """A Lambda permission as the statement that Lambda makes of it."""
        name = str(properties.get("FunctionName", ""))
        arn = ":".join(self._arn(stack, name, "AWS::Lambda::Function").split(":")[:7])  # without an alias
        principal = str(properties.get("Principal", ""))
        kind = "Service" if principal.endswith((".amazonaws.com", ".amazonaws.com.cn", ".amazon.com")) else "AWS"
        conditions = {
            "ArnLike": {"aws:SourceArn": properties.get("SourceArn")},
            "StringEquals": {
                "aws:SourceAccount": properties.get("SourceAccount"),
                "aws:PrincipalOrgID": properties.get("PrincipalOrgID"),
                "lambda:EventSourceToken": properties.get("EventSourceToken"),
            },
        }
        item = {
            "Effect": "Allow",
            "Principal": {kind: principal},
            "Action": properties.get("Action"),
            "Resource": arn,
            "Condition": {
                operator: {key: value for key, value in tests.items() if value}
                for operator, tests in conditions.items()
            },
        }
        self.found.protect(source, arn, "AWS::Lambda::Function", tuple(statements({"Statement": item}, source)))


def _default_key_policy(account: str) -> list[dict[str, Any]]:
    """https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html"""
    root = {"AWS": f"arn:aws:iam::{account}:root"}
    return [{"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}]
