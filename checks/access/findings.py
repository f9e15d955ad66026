"""What no policy should say, whoever it is that can read today.

Wildcards in actions: an identity policy lists its actions, so each wildcard is a finding. A resource policy may
shorten what reads nothing (the CDK's own `s3:GetBucket*`); either may write KMS's two families of encryption.
An account that a setting lets in is named in the metadata of a construct: `access:trusted-accounts`, a list.
"""

import re
from collections.abc import Callable, Iterator

from checks.access.arns import FORMS
from checks.access.attachments import Document
from checks.access.conditions import undecided
from checks.access.kinds import KIND_OF, KINDS, Kind
from checks.access.patterns import covers, is_known, is_wild, matches_action, worst
from checks.access.policies import ANYONE, Named, Source, Statement
from checks.access.world import World, worlds
from checks.assembly import Assembly
from checks.finding import Finding, Severity
from checks.rules.policy import CONFINING

_FAMILIES = {"kms:generatedatakey*", "kms:reencrypt*"}
_KEY_ADMINISTRATION = ("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion")
_READING = ("read", "decrypt", "invoke")
_DATA = tuple(kind for kind in KINDS if not kind.name.startswith("catalogue"))  # that describes data and holds none
_REACHING = (*_READING, "grant", "assume", "administer")  # to data, or to whoever has it
_ROLE, _KEY = "AWS::IAM::Role", "AWS::KMS::Key"

# Keys that hold a statement for everybody to some callers. An external id is no secret: whoever knows it is let in.
_RESTRICTING = CONFINING - {"sts:externalid"}
_WIDE_NET = re.compile(r"[\d.]+/[0-7]|[\da-fA-F:]*::?/([12]?\d|3[01])")  # wider than /8, than /32 in IPv6
_HOLDING = {"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress"}

# Keys that tell a service for whom it asks: https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
_ON_BEHALF = {
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:principalorgid",
    "kms:encryptioncontext:aws:logs:arn",
    "kms:viaservice",
    "lambda:eventsourcetoken",
}

Wrong = Iterator[tuple[Source, str]]
Rule = Callable[[World, Document, Statement], Wrong]


def findings(assembly: Assembly) -> list[Finding]:
    """What is wrong in every environment; one finding a rule and policy, with all that it concerns."""
    return [finding for world in worlds(assembly) for finding in of(world)]


def of(world: World) -> list[Finding]:
    """What is wrong in one environment."""
    found: dict[tuple[str, Source], list[str]] = {}
    for document in world.documents:
        for statement in document.statements:
            for name, (rule, _, _) in RULES.items():
                for source, message in rule(world, document, statement):
                    said = found.setdefault((name, source), [])
                    if message not in said:
                        said.append(message)
    return [
        Finding(name, RULES[name][1], source.stack, source.resource, "; ".join(messages), RULES[name][2])
        for (name, source), messages in found.items()
    ]


def _admin(world: World, document: Document, statement: Statement) -> Wrong:
    everything = any(matches_action(worst(each), "any:Action") for each in statement.actions)
    if _gives(document, statement) and everything and any(map(_is_everything, statement.resources)):
        yield statement.source, "an identity policy allows every action on everything"


def _wildcard(world: World, document: Document, statement: Statement) -> Wrong:
    if not statement.allows or (statement.unread and not document.on):
        return
    wild = [each for each in statement.actions if is_wild(each) and each.lower() not in _FAMILIES]
    if document.on:
        to_account = all(each.is_root and each.account in world.accounts for each in statement.principals)
        wild = [] if to_account and statement.principals else [each for each in wild if _reads(each, document.type)]
    if wild:
        yield statement.source, f"allows {', '.join(wild)}"


def _public(world: World, document: Document, statement: Statement) -> Wrong:
    if document.on and document.type not in (_ROLE, _KEY) and _is_public(statement):
        yield statement.source, f"anyone may {_what(statement)}"


def _open_key(world: World, document: Document, statement: Statement) -> Wrong:
    if document.type == _KEY and _is_public(statement):
        yield (
            statement.source,
            f"anyone may {_what(statement)} with the key",
        )


def _key_administration(world: World, document: Document, statement: Statement) -> Wrong:
    wide = [
        each
        for each in statement.actions
        if is_wild(each) and any(matches_action(worst(each), action) for action in _KEY_ADMINISTRATION)
    ]
    if not statement.allows or not wide or statement.unread:
        return
    if document.type == _KEY:
        others = [each.value for each in statement.principals if not (each.is_root and each.account in world.accounts)]
        if others:
            yield statement.source, f"{', '.join(others)} may {', '.join(wide)} on the key"
    elif not document.on and any(_may_be_key(each) for each in statement.resources):
        yield statement.source, f"may {', '.join(wide)} on {', '.join(statement.resources)}"


def _open_trust(world: World, document: Document, statement: Statement) -> Wrong:
    if document.type != _ROLE or not statement.allows:
        return
    open_ = undecided(statement, {}) == frozenset()
    for each in statement.principals:
        if each.value == ANYONE and not _held(statement, _RESTRICTING):
            yield statement.source, "anyone may assume the role"
        elif _elsewhere(each, world):
            yield statement.source, f"{each.value}, of an account that no setting lets in, may assume the role"
        elif each.is_root and open_:
            yield statement.source, f"all of account {each.account} may assume the role, without a condition"
        elif each.kind == "Federated" and open_:
            yield statement.source, f"whoever {each.value} knows may assume the role, without a condition"


def _cross_account(world: World, document: Document, statement: Statement) -> Wrong:
    if not document.on or document.type == _ROLE or not statement.allows:
        return
    for each in statement.principals:
        if _elsewhere(each, world):
            yield statement.source, f"{each.value}, of an account that no setting lets in, may {_what(statement)}"


def _pass_role(world: World, document: Document, statement: Statement) -> Wrong:
    passes = any(matches_action(worst(each), "iam:PassRole") for each in statement.actions)
    roles = [f"arn:aws:iam::{account}:role/any-role-of-the-account" for account in world.accounts]
    wide = [each for each in statement.resources if any(covers(worst(each), role) for role in roles)]
    if _gives(document, statement) and passes and wide:
        yield statement.source, f"may pass any role of the account ({', '.join(wide)})"


def _any_resource(world: World, document: Document, statement: Statement) -> Wrong:
    everything = any(matches_action(worst(each), "any:Action") for each in statement.actions)
    if not _gives(document, statement) or everything or undecided(statement, {}) != frozenset():
        return
    for kind in _DATA:
        reaching = [action for verb in _REACHING for action in kind.verbs.get(verb, ())]
        given = [each for each in reaching if any(matches_action(worst(one), each) for one in statement.actions)]
        wide = [each for each in statement.resources if _is_any(each, kind, given, world)]
        if given and wide:
            yield statement.source, f"may {', '.join(given)} on any {kind.name} there is ({', '.join(wide)})"


def _not_element(world: World, document: Document, statement: Statement) -> Wrong:
    named = {
        "NotAction": statement.not_actions,
        "NotResource": statement.not_resources,
        "NotPrincipal": statement.not_principals,
    }
    used = [name for name, values in named.items() if values]
    if statement.allows and used:
        yield statement.source, f"allows whatever is not listed: {', '.join(used)}"


def _confused_deputy(world: World, document: Document, statement: Statement) -> Wrong:
    services = [each.value for each in statement.principals if each.kind == "Service"]
    if document.on and document.type != _ROLE and statement.allows and services and not _held(statement, _ON_BEHALF):
        yield statement.source, f"{', '.join(services)} may {_what(statement)} for any account that asks it to"


def _unknown(world: World, document: Document, statement: Statement) -> Wrong:
    if document.missing:
        yield (
            document.source,
            f"{document.missing} is a policy of neither a template nor AWS: nobody can say what it allows",
        )
    elif statement.unread and statement.unread != ("Fn::If",):
        yield document.source, f"{', '.join(statement.unread)} can't be read from the template"


RULES: dict[str, tuple[Rule, Severity, str]] = {
    "access-admin-policy": (_admin, Severity.HIGH, "list the actions and the resources that the role needs"),
    "access-public-resource": (
        _public,
        Severity.HIGH,
        "name the principals, or the account or organization they are of",
    ),
    "access-public-key": (
        _open_key,
        Severity.HIGH,
        "name the principals, or let kms:CallerAccount hold it to an account",
    ),
    "access-key-administration": (
        _key_administration,
        Severity.HIGH,
        "list the key actions that the role needs; leave kms:* to the account's root, in the key's policy",
    ),
    "access-open-trust": (
        _open_trust,
        Severity.HIGH,
        "trust a service or named roles, add a condition (MFA, a tag), or name the account in a setting",
    ),
    "access-cross-account": (_cross_account, Severity.HIGH, "remove it, or name the account in a setting"),
    "access-pass-role": (_pass_role, Severity.HIGH, "name the roles that may be passed, and iam:PassedToService"),
    "access-any-resource": (
        _any_resource,
        Severity.HIGH,
        "name the resources, or add a condition on their tags",
    ),
    "access-wildcard-action": (_wildcard, Severity.MEDIUM, "list the actions one by one"),
    "access-not-element": (_not_element, Severity.MEDIUM, "list what is allowed"),
    "access-confused-deputy": (
        _confused_deputy,
        Severity.MEDIUM,
        "add the condition aws:SourceArn or aws:SourceAccount (SourceArn of a Lambda permission)",
    ),
    "access-unknown-policy": (_unknown, Severity.MEDIUM, "put the policy in a template of the app"),
}


def _gives(document: Document, statement: Statement) -> bool:
    """Whether it is an Allow of an identity policy that can be read."""
    return statement.allows and not document.on and not document.missing


def _is_everything(resource: str) -> bool:
    return not resource.replace("*", "").replace(":", "").removeprefix("arn").removeprefix("aws")


def _is_any(resource: str, kind: Kind, actions: list[str], world: World) -> bool:
    """Whether a pattern takes in every resource of a kind, of its partition, region and account if it has these."""
    parts = resource.split(":")
    region = parts[3] if len(parts) > 5 else "*"
    names = dict.fromkeys(("name", "database", "function"), "*")
    for account in world.accounts:
        arn = FORMS[kind.types[0]].format(partition="aws", region=region, account=account, path="/", **names)
        if any(covers(worst(resource), each) for action in actions for each in kind.targets(arn, action)):
            return True
    return False


def _is_public(statement: Statement) -> bool:
    everybody = Named("AWS", ANYONE) in statement.principals or bool(statement.not_principals)
    return statement.allows and everybody and not _held(statement, _RESTRICTING)


def _elsewhere(named: Named, world: World) -> bool:
    """Whether it is, or in the worst case may be, of an account that no setting lets in."""
    if named.kind != "AWS" or named.value == ANYONE:
        return False
    return named.account not in world.accounts | world.trusted if named.account else not is_known(named.value)


def _what(statement: Statement) -> str:
    return ", ".join(statement.actions) or "do what it does not list"


def _held(statement: Statement, keys: set[str]) -> bool:
    """Whether a condition on one of `keys` holds the statement to callers that it names."""
    return any(
        condition.key.lower() in keys
        and condition.operator.lower() in _HOLDING
        and condition.values
        and not any(map(_is_wide, condition.values))
        for condition in statement.conditions
    )


def _is_wide(value: str) -> bool:
    """Whether a value of such a condition lets in whoever there is."""
    parts = value.split(":")
    any_account = len(parts) > 5 and (parts[4] == "*" or (parts[4] == "" and parts[5] == "*"))
    whole_net = _WIDE_NET.fullmatch(value)
    return any_account or bool(whole_net) or not value.strip("*?:") or value in ("o-*", "arn:*", "arn:aws:*")


def _reads(action: str, type_: str) -> bool:
    """Whether an action with a wildcard takes in one that reads such a resource."""
    kind = KIND_OF.get(type_)
    if kind is None:
        return True
    return any(matches_action(worst(action), each) for verb in _READING for each in kind.verbs.get(verb, ()))


def _may_be_key(resource: str) -> bool:
    parts = worst(resource).split(":")
    return len(parts) < 3 or parts[2] in ("kms", "*")
