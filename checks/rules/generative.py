"""Rules for Bedrock, OpenSearch Serverless and Kendra."""

from checks.finding import Severity
from checks.rules.resource import Resource, at, false, items, own_key, parsed, target
from checks.rules.rule import rule

_GUARDRAIL = "AWS::Bedrock::Guardrail"
_OWN_KEY = "A key that AWS owns can neither be audited nor withdrawn."


@rule(
    "bedrock-guardrail-content",
    _GUARDRAIL,
    severity=Severity.HIGH,
    why="The guardrail lets hate, insults, violence and prompt attacks through in both directions.",
    fix="Set ContentPolicyConfig.FiltersConfig with strengths other than NONE.",
)
def bedrock_guardrail_content(guardrail: Resource) -> str | None:
    """A guardrail filters harmful content."""
    filters = items(guardrail["ContentPolicyConfig.FiltersConfig"])
    strengths = [each.get(side) for each in filters for side in ("InputStrength", "OutputStrength")]
    return None if any(each in ("LOW", "MEDIUM", "HIGH") for each in strengths) else "no content is filtered"


@rule(
    "bedrock-guardrail-pii",
    _GUARDRAIL,
    why="Names, addresses and card numbers in prompts and answers pass, and end in logs.",
    fix="Set SensitiveInformationPolicyConfig with PiiEntitiesConfig or RegexesConfig that block or anonymize.",
)
def bedrock_guardrail_pii(guardrail: Resource) -> str | None:
    """A guardrail filters personal data."""
    policy = guardrail["SensitiveInformationPolicyConfig"]
    entities = items(at(policy, "PiiEntitiesConfig")) + items(at(policy, "RegexesConfig"))
    acting = [each for each in entities if each.get("Action") in ("BLOCK", "ANONYMIZE")]
    return None if acting else "personal data is not filtered"


@rule(
    "bedrock-guardrail-key",
    _GUARDRAIL,
    why=f"A guardrail's word lists and topics say what its owner fears. {_OWN_KEY}",
    fix="Set KmsKeyArn.",
)
def bedrock_guardrail_key(guardrail: Resource) -> str | None:
    """A guardrail is encrypted with a key of its owner."""
    return None if own_key(guardrail["KmsKeyArn"]) else "the key is AWS's own"


@rule(
    "bedrock-data-source-key",
    "AWS::Bedrock::DataSource",
    why=f"Bedrock keeps copies of the documents while it takes them into a knowledge base. {_OWN_KEY}",
    fix="Set ServerSideEncryptionConfiguration.KmsKeyArn.",
    source="https://docs.aws.amazon.com/bedrock/latest/userguide/encryption-kb.html",
)
def bedrock_data_source_key(source: Resource) -> str | None:
    """A knowledge base's documents are encrypted with a key of its owner while they are taken in."""
    return None if own_key(source["ServerSideEncryptionConfiguration.KmsKeyArn"]) else "the key is AWS's own"


@rule(
    "bedrock-knowledge-base-key",
    "AWS::Bedrock::KnowledgeBase",
    why="A knowledge base has no key itself, its data source has; one that is elsewhere nobody sees.",
    fix="Put the AWS::Bedrock::DataSource with its key beside the knowledge base.",
)
def bedrock_knowledge_base_key(base: Resource) -> str | None:
    """A knowledge base that Bedrock fills from documents has its data source, and so its key, in the same template."""
    if base["KnowledgeBaseConfiguration.Type"] in ("KENDRA", "SQL"):
        return None
    filled = {target(source["KnowledgeBaseId"]) for source in base.others("AWS::Bedrock::DataSource")}
    return None if base.logical_id in filled else "no data source of the template belongs to it"


@rule(
    "bedrock-agent-guardrail",
    "AWS::Bedrock::Agent",
    why="What users type reaches the agent, and what the model says reaches users, unfiltered.",
    fix="Set GuardrailConfiguration with an identifier and a version.",
)
def bedrock_agent_guardrail(agent: Resource) -> str | None:
    """An agent answers through a guardrail."""
    return None if agent["GuardrailConfiguration.GuardrailIdentifier"] else "there is no guardrail"


@rule(
    "bedrock-agent-key",
    "AWS::Bedrock::Agent",
    "AWS::Bedrock::Flow",
    "AWS::Bedrock::Prompt",
    why=f"Instructions, sessions and prompts are stored. {_OWN_KEY}",
    fix="Set CustomerEncryptionKeyArn.",
)
def bedrock_agent_key(agent: Resource) -> str | None:
    """An agent, flow or prompt is encrypted with a key of its owner."""
    return None if own_key(agent["CustomerEncryptionKeyArn"]) else "the key is AWS's own"


@rule(
    "opensearch-serverless-public",
    "AWS::OpenSearchServerless::SecurityPolicy",
    severity=Severity.HIGH,
    why="The collection answers to the whole internet; only its data access policy is left to keep readers out.",
    fix="Set AllowFromPublic to false and name SourceVPCEs or SourceServices.",
    source="https://docs.aws.amazon.com/opensearch-service/latest/developerguide/serverless-network.html",
)
def opensearch_serverless_public(policy: Resource) -> str | None:
    """A network policy lets a collection be reached from endpoints or services, not from the internet."""
    if policy["Type"] == "encryption":
        return None
    parts = items(parsed(policy["Policy"]))
    if not parts:
        return "the network policy can't be read before it is deployed"
    return None if all(false(part.get("AllowFromPublic")) for part in parts) else "collections are public"


@rule(
    "opensearch-serverless-key",
    "AWS::OpenSearchServerless::SecurityPolicy",
    why=f"A vector index holds the documents' text. {_OWN_KEY}",
    fix="Set AWSOwnedKey to false and KmsARN to a key of yours.",
)
def opensearch_serverless_key(policy: Resource) -> str | None:
    """An encryption policy names a key of the collection's owner."""
    if policy["Type"] != "encryption":
        return None
    parts = items(parsed(policy["Policy"]))
    return None if parts and all(own_key(part.get("KmsARN")) for part in parts) else "the key is AWS's own"


@rule(
    "kendra-key",
    "AWS::Kendra::Index",
    why=f"An index holds the text of every document. {_OWN_KEY}",
    fix="Set ServerSideEncryptionConfiguration.KmsKeyId.",
)
def kendra_key(index: Resource) -> str | None:
    """An index is encrypted with a key of its owner."""
    return None if own_key(index["ServerSideEncryptionConfiguration.KmsKeyId"]) else "the key is AWS's own"
