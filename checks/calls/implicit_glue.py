"""The part of the table in implicit.py for crawlers, data quality and DataBrew."""

from collections.abc import Callable

from checks.calls.implicit import Implied
from checks.calls.workloads import EVALUATION, Use

_AWS = "https://docs.aws.amazon.com/"
_LOG_STREAM = "logs:CreateLogStream logs:PutLogEvents"

_CRAWLER, _CRAWLER_ROLE = "AWS::Glue::Crawler", f"{_AWS}glue/latest/dg/crawler-prereqs.html"
_CRAWLER_NETWORK = (
    "ec2:CreateNetworkInterface ec2:CreateTags ec2:DeleteNetworkInterface ec2:DeleteTags "
    "ec2:DescribeNetworkInterfaces ec2:DescribeRouteTables ec2:DescribeSecurityGroups ec2:DescribeSubnets "
    "ec2:DescribeVpcAttribute ec2:DescribeVpcEndpoints"
)


def _crawls(kind: str) -> Callable[[Use], bool]:
    return lambda use: bool(use.at("Targets", f"{kind}Targets"))


GLUE: tuple[Implied, ...] = (
    Implied(
        _CRAWLER,
        "glue:BatchCreatePartition glue:BatchGetPartition glue:GetDatabase glue:GetPartitions glue:GetTable "
        f"logs:CreateLogGroup {_LOG_STREAM}",
        "the catalogue and its log",
        _CRAWLER_ROLE,
    ),
    Implied(
        _CRAWLER,
        "glue:CreateTable glue:GetTables glue:UpdateTable",
        "tables of what it finds",
        _CRAWLER_ROLE,
        lambda use: not _crawls("Catalog")(use),
    ),
    Implied(
        _CRAWLER, "s3:GetObject s3:ListBucket", "what it crawls", _CRAWLER_ROLE, lambda use: not _crawls("Jdbc")(use)
    ),
    Implied(
        _CRAWLER,
        f"glue:GetConnection {_CRAWLER_NETWORK}",
        "its connection to a database",
        f"{_AWS}glue/latest/dg/getting-started-access.html",
        _crawls("Jdbc"),
    ),
    Implied(
        _CRAWLER,
        "secretsmanager:GetSecretValue",
        "the password of its connection, if that is a secret",
        f"{_AWS}glue/latest/dg/connection-properties-secrets-manager.html",
        _crawls("Jdbc"),
        needed=False,
    ),
    Implied(
        _CRAWLER,
        "kms:Decrypt kms:Encrypt logs:AssociateKmsKey",
        "what it reads and logs, encrypted by its security configuration",
        f"{_AWS}glue/latest/dg/set-up-encryption.html",
        lambda use: bool(use.at("CrawlerSecurityConfiguration")),
    ),
    Implied(
        "AWS::DataBrew::Job AWS::DataBrew::Project",
        "glue:BatchGetPartition glue:GetDatabase glue:GetPartitions glue:GetTable logs:CreateLogGroup "
        f"{_LOG_STREAM} s3:AbortMultipartUpload s3:DeleteObject s3:GetBucketLocation s3:GetObject s3:ListBucket "
        "s3:PutObject kms:Decrypt kms:GenerateDataKey",
        "its dataset, its output and its log",
        f"{_AWS}databrew/latest/dg/setting-up-iam-policy-for-data-resources-role.html",
    ),
    Implied(
        "EvaluationRun",
        "glue:GetDataQualityRuleset glue:GetDataQualityRulesetEvaluationRun glue:PublishDataQuality glue:GetDatabase "
        "glue:GetTable glue:GetPartitions s3:GetObject s3:ListBucket",
        "its ruleset, its table and Glue's own libraries",
        f"{_AWS}glue/latest/dg/data-quality-authorization.html",
    ),
    Implied(
        "EvaluationRun",
        f"glue:BatchGetPartition cloudwatch:PutMetricData kms:Decrypt logs:CreateLogGroup {_LOG_STREAM}",
        "its metrics, its log and what is encrypted",
        f"{_AWS}glue/latest/dg/data-quality-authorization.html",
        needed=False,
    ),
    Implied(
        "AWS::Scheduler::Schedule",
        "glue:StartDataQualityRulesetEvaluationRun iam:PassRole",
        "its target",
        f"{_AWS}scheduler/latest/UserGuide/managing-targets-universal.html",
        lambda use: EVALUATION in use.text,
    ),
)
