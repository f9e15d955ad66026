"""What is found, laid out, versioned and judged, and that a crawler can change no table that a stack declares."""

import json
import re
from typing import Any

import pytest
from moto.events.models import EventPattern

from checks.assembly import Assembly, Stack
from schemas import avro
from schemas.quality import rules
from tests.assembly.test_curation import named, only, statements


def catalogues(assembly: Assembly) -> list[Stack]:
    """The catalogue of each environment."""
    return [stacks["data-catalog"] for stacks in assembly.environments.values()]


def properties(stack: Stack, kind: str) -> dict[str, Any]:
    """The properties of a kind's resources by logical id."""
    return {name: resource["Properties"] for name, resource in stack.resources(kind).items()}


@pytest.mark.requirement("cat-crawlers", "cat-crawler-sources", "cat-crawler-schedule")
def test_crawlers_log_changed_schemas(assembly: Assembly, variants: Assembly) -> None:
    for stack in [*catalogues(assembly), *catalogues(variants)]:
        crawlers = properties(stack, "AWS::Glue::Crawler")
        assert {"Reference", "Source", "Refused", "Partitions"} <= {*crawlers}
        for crawler in crawlers.values():
            assert crawler["SchemaChangePolicy"] == {"UpdateBehavior": "LOG", "DeleteBehavior": "LOG"}
        new_folders = [
            name
            for name, crawler in crawlers.items()
            if crawler["RecrawlPolicy"] == {"RecrawlBehavior": "CRAWL_NEW_FOLDERS_ONLY"}
        ]
        assert sorted(new_folders) == ["Refused", "Source"]
        paths = [path(target) for name in new_folders for target in crawlers[name]["Targets"]["S3Targets"]]
        assert sorted(paths) == ["/flights/", "/source/flights/", "/source/weather/", "/weather/"]
    (asked,) = [stack for stack in catalogues(variants) if "Relational" in properties(stack, "AWS::Glue::Crawler")]
    relational = properties(asked, "AWS::Glue::Crawler")["Relational"]
    assert relational["Targets"] == {"JdbcTargets": [{"ConnectionName": "bookings", "Path": "bookings/public/%"}]}
    assert relational["Schedule"] == {"ScheduleExpression": "cron(0 1 * * ? *)"}


def path(target: dict[str, Any]) -> str:
    """An S3 target's path below its bucket."""
    return str(target["Path"]["Fn::Join"][1][-1])


@pytest.mark.requirement("sec-glue-role")
def test_a_crawler_may_write_no_table_but_its_own(assembly: Assembly) -> None:
    for stack in catalogues(assembly):
        crawlers = properties(stack, "AWS::Glue::Crawler")
        for name, crawler in crawlers.items():
            assert crawler["CrawlerSecurityConfiguration"] == {"Ref": only(stack, "AWS::Glue::SecurityConfiguration")}
            allowed = statements(stack, crawler["Role"])
            for statement in allowed:
                for resource in listed(statement["Resource"]):
                    assert resource != "*"
                writes = {"glue:CreateTable", "glue:UpdateTable"} & {*listed(statement["Action"])}
                if writes:
                    tables = [text for text in map(json.dumps, listed(statement["Resource"])) if ":table/" in text]
                    assert tables and all(text.endswith(f'/{crawler["TablePrefix"]}*"]]}}') for text in tables), (
                        name,
                        tables,
                    )
        partitions = statements(stack, crawlers["Partitions"]["Role"])
        granted = {action for statement in partitions for action in listed(statement["Action"])}
        assert "glue:BatchCreatePartition" in granted
        assert not {"glue:CreateTable", "glue:UpdateTable", "glue:DeleteTable"} & granted
        for job in properties(stack, "AWS::Glue::Job").values():
            assert job["SecurityConfiguration"] == {"Ref": only(stack, "AWS::Glue::SecurityConfiguration")}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.requirement("cat-crawler-schedule", "etl-scheduler", "etl-triggers", "cat-sampleq3")
def test_the_nightly_workflow_crawls_before_it_curates(assembly: Assembly) -> None:
    """Answer B: crawler, catalogue, job and schedule, with nothing to keep running."""
    for environment, stacks in assembly.environments.items():
        stack, job = stacks["data-catalog"], only(stacks["catalog-etl"], "AWS::Glue::Job")
        triggers = properties(stack, "AWS::Glue::Trigger")
        workflow = {"Ref": only(stack, "AWS::Glue::Workflow")}
        assert all(each["WorkflowName"] == workflow for each in triggers.values())
        assert not any("EventBatchingCondition" in each for each in triggers.values())
        by_name = {name.removeprefix("Nightly")[:-8]: each for name, each in triggers.items()}
        start = by_name["Start"]
        assert [named(action["CrawlerName"]) for action in start["Actions"]] == [{"Reference"}, {"Source"}, {"Refused"}]
        if environment == "sandbox":  # a crawl costs ten minutes at least
            assert start["Type"] == "ON_DEMAND"
        else:
            assert (start["Type"], start["Schedule"], start["StartOnCreation"]) == (
                "SCHEDULED",
                "cron(0 3 * * ? *)",
                True,
            )
        curate = by_name["Curate"]
        assert curate["Type"] == "CONDITIONAL" and curate["StartOnCreation"]
        (condition,) = curate["Predicate"]["Conditions"]
        assert condition == {
            "CrawlerName": {"Ref": "Reference"},
            "CrawlState": "SUCCEEDED",
            "LogicalOperator": "EQUALS",
        }
        (action,) = curate["Actions"]
        assert job in json.dumps(action["JobName"])
        assert job in json.dumps(by_name["LayOut"]["Predicate"])
        layouts = {only(stack, "AWS::Glue::Job")}
        assert named(by_name["LayOut"]["Actions"]) == named(by_name["Register"]["Predicate"]) == layouts
        assert named(by_name["Register"]["Actions"]) == {"Partitions"}


@pytest.mark.requirement("cat-part-time", "cat-part-device")
def test_both_layouts_are_projected_and_written_where_they_are_read(assembly: Assembly) -> None:
    date = ["year", "month", "day"]
    for stack in catalogues(assembly):
        tables = {
            each["TableInput"]["Name"]: each["TableInput"] for each in properties(stack, "AWS::Glue::Table").values()
        }
        (job,) = properties(stack, "AWS::Glue::Job").values()
        for name, keys in (("weather_by_date", [*date, "station"]), ("weather_by_station", ["station", *date])):
            assert [key["Name"] for key in tables[name]["PartitionKeys"]] == keys
            parameters = tables[name]["Parameters"]
            read = parameters["storage.location.template"]["Fn::Join"][1][-1]
            assert read == f"/{name}/" + "".join(f"${{{key}}}/" for key in keys)
            written = job["DefaultArguments"][f"--{name.removeprefix('weather_')}_path"]["Fn::Join"][1][-1]
            day = {"year": 2013, "month": 1, "day": 5, "station": "EWR"}
            digits = {
                key: str(value).zfill(int(parameters.get(f"projection.{key}.digits", 0))) for key, value in day.items()
            }
            expected = read
            for key, value in digits.items():
                expected = expected.replace(f"${{{key}}}", value)
            assert written.format(**day) == expected
            assert parameters["projection.station.values"] == job["DefaultArguments"]["--stations"]


@pytest.mark.requirement("cat-glue-catalog")
def test_every_version_of_a_schema_is_registered(assembly: Assembly) -> None:
    for stack in catalogues(assembly):
        for event in ("flights", "weather"):
            (schema,) = [each for each in properties(stack, "AWS::Glue::Schema").values() if each["Name"] == event]
            later = [
                each["SchemaDefinition"]
                for each in properties(stack, "AWS::Glue::SchemaVersion").values()
                if each["Schema"]["SchemaName"] == event
            ]
            assert (schema["DataFormat"], schema["Compatibility"]) == ("AVRO", "BACKWARD")
            assert [schema["SchemaDefinition"], *later] == avro.versions(event)


def test_rules_are_evaluated_and_people_are_told(assembly: Assembly) -> None:
    for environment, stacks in assembly.environments.items():
        stack = stacks["data-catalog"]
        rulesets = properties(stack, "AWS::Glue::DataQualityRuleset")
        assert sorted(each["Ruleset"] for each in rulesets.values()) == sorted(map(rules, ("flights", "weather")))
        schedules = properties(stack, "AWS::Scheduler::Schedule")
        assert len(schedules) == (0 if environment == "sandbox" else 2)
        for schedule in schedules.values():
            run = json.dumps(schedule["Target"]["Input"])
            assert any(name in run for name in rulesets)
        told = {
            each["EventPattern"]["detail-type"][0]: each for each in properties(stack, "AWS::Events::Rule").values()
        }
        broken = told["Data Quality Evaluation Results Available"]["EventPattern"]
        assert broken["source"] == ["aws.glue-dataquality"]
        assert named(broken["detail"]["rulesetNames"]) == {*rulesets}
        crawled = told["Glue Crawler State Change"]["EventPattern"]["detail"]
        assert named(crawled["crawlerName"]) == {*properties(stack, "AWS::Glue::Crawler")}
        assert crawled["state"] == ["Failed"]
        topic = only(stacks["catalog-etl"], "AWS::SNS::Topic")
        for rule in told.values():
            (target,) = rule["Targets"]
            assert topic in json.dumps(target["Arn"]) and "RoleArn" not in target


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"state": "SUCCEEDED", "score": 1.0}, False),
        ({"state": "FAILED", "score": 0.9}, True),
        ({"state": "SUCCEEDED", "score": 0.9}, True),
        ({"state": "FAILED"}, True),  # a run that came to no result
    ],
)
def test_people_are_told_of_broken_rules_alone(assembly: Assembly, result: dict[str, Any], told: bool) -> None:
    """https://docs.aws.amazon.com/glue/latest/dg/data-quality-alerts.html has an event."""
    for stack in catalogues(assembly):
        found = properties(stack, "AWS::Events::Rule")
        (broken,) = (rule["EventPattern"] for name, rule in found.items() if name.startswith("RulesBroken"))
        pattern = json.loads(re.sub(r'\{"Ref": ("\w+")\}', r"\1", json.dumps(broken)))
        for name, ours in (*((name, True) for name in pattern["detail"]["rulesetNames"]), ("another", False)):
            event: Any = {
                "source": "aws.glue-dataquality",
                "detail-type": "Data Quality Evaluation Results Available",
                "detail": {"rulesetNames": [name], **result},
            }
            assert EventPattern(None, pattern).matches_event(event) is (told and ours)


def test_an_evaluation_may_read_itself_and_say_how_it_went(assembly: Assembly) -> None:
    for stack in catalogues(assembly):
        roles = [name for name in stack.resources("AWS::IAM::Role") if re.match(r"(Flights|Weather)QualityRole", name)]
        assert len(roles) == 2
        for name in roles:
            allowed = {
                action: json.dumps(each["Resource"])
                for each in statements(stack, {"Fn::GetAtt": [name, "Arn"]})
                for action in listed(each["Action"])
            }
            assert ":dataQualityRuleset/*" in allowed["glue:GetDataQualityRulesetEvaluationRun"]
            assert ":dataQualityRuleset/*" not in allowed["glue:GetDataQualityRuleset"]


@pytest.mark.requirement("etl-databrew")
def test_databrew_cleans_flights_when_asked_for(assembly: Assembly, variants: Assembly) -> None:
    assert not any(properties(stack, "AWS::DataBrew::Job") for stack in catalogues(assembly))
    stack = variants.environments["asked"]["data-catalog"]
    (recipe,) = properties(stack, "AWS::DataBrew::Recipe").values()
    operations = [step["Action"]["Operation"] for step in recipe["Steps"]]
    assert {"REMOVE_INVALID", "FILL_WITH_CUSTOM", "CHANGE_DATA_TYPE"} <= {*operations}
    (job,) = properties(stack, "AWS::DataBrew::Job").values()
    (project,) = properties(stack, "AWS::DataBrew::Project").values()
    assert (job["Type"], job["EncryptionMode"], job["ProjectName"]) == ("RECIPE", "SSE-KMS", project["Name"])
    assert job["EncryptionKeyArn"]


@pytest.mark.requirement("cat-integrations")
def test_redshift_reads_curated_flights_when_asked_for(variants: Assembly) -> None:
    stack = variants.environments["asked"]["data-catalog"]
    role = stack.outputs["SpectrumRoleArn"]["Value"]
    assert "redshift.amazonaws.com" in json.dumps(stack.resources()[role["Fn::GetAtt"][0]])
    actions = {action for each in statements(stack, role) for action in listed(each["Action"])}
    assert {"glue:GetTable", "glue:GetPartitions", "s3:GetObject", "kms:Decrypt"} <= actions
    assert not any(action.startswith(("glue:Create", "glue:Update", "s3:Put", "s3:Delete")) for action in actions)
