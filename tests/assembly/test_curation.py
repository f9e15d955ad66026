"""Curation goes on without anyone looking: a schedule sweeps for what no event told of, and failures are told."""

import json
from typing import Any

from checks.assembly import Assembly, Stack, references
from config.settings import load


def test_a_schedule_starts_the_job_in_every_environment(assembly: Assembly) -> None:
    for environment, stacks in assembly.environments.items():
        stack = stacks["catalog-etl"]
        job = only(stack, "AWS::Glue::Job")
        schedule = only(stack, "AWS::Scheduler::Schedule", part="Sweep")
        properties = stack.resources()[schedule]["Properties"]
        hours = load(environment).catalog_etl.sweep_hours
        assert properties["ScheduleExpression"] == f"rate({hours} hours)"
        assert json.dumps(properties["Target"]["Arn"]).endswith(':scheduler:::aws-sdk:glue:startJobRun"]]}')
        assert job in named(properties["Target"]["Input"])
        (allowed,) = statements(stack, properties["Target"]["RoleArn"])
        assert allowed["Action"] == "glue:StartJobRun"
        assert job in named(allowed["Resource"])


def test_new_flights_and_new_weather_start_the_workflow_and_nothing_else_does(assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        stack = stacks["catalog-etl"]
        rule = stack.resources()[only(stack, "AWS::Events::Rule", part="RawObjectCreated")]["Properties"]
        assert rule["EventPattern"]["detail"]["object"]["key"] == [{"prefix": "flights/"}, {"prefix": "weather/"}]
        job = stack.resources("AWS::Glue::Job").popitem()[1]["Properties"]
        assert json.dumps(job["DefaultArguments"]["--weather_path"]).endswith('"/weather/"]]}')


def test_a_run_has_as_much_time_for_its_last_pass_as_for_all_before(assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        job = stacks["catalog-etl"].resources("AWS::Glue::Job").popitem()[1]["Properties"]
        assert int(job["DefaultArguments"]["--max_seconds"]) * 2 <= job["Timeout"] * 60


def test_people_are_told_of_runs_that_did_not_succeed(assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        stack = stacks["catalog-etl"]
        topic = only(stack, "AWS::SNS::Topic")
        rule = stack.resources()[only(stack, "AWS::Events::Rule", part="JobFailed")]["Properties"]
        assert rule["EventPattern"]["source"] == ["aws.glue"]
        assert rule["EventPattern"]["detail"]["state"] == ["FAILED", "TIMEOUT", "STOPPED"]
        assert only(stack, "AWS::Glue::Job") in named(rule["EventPattern"]["detail"]["jobName"])
        (target,) = rule["Targets"]
        assert target["Arn"] == {"Ref": topic}
        assert "RoleArn" not in target  # with one, delivery to an encrypted topic may fail
        (policy,) = stack.resources("AWS::SNS::TopicPolicy").values()
        allowed = [each for each in policy["Properties"]["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
        assert {"Service": "events.amazonaws.com"} in [each["Principal"] for each in allowed]


def only(stack: Stack, kind: str, part: str = "") -> str:
    """The one resource of a kind whose logical id begins with `part`."""
    (name,) = (name for name in stack.resources(kind) if name.startswith(part))
    return name


def named(value: Any) -> set[str]:
    """What a piece of a template refers to."""
    return {each.target for each in references(value)}


def statements(stack: Stack, role_arn: Any) -> list[dict[str, Any]]:
    """What the policies of a role of the stack say."""
    role = {"Ref": role_arn["Fn::GetAtt"][0]}
    policies = [policy["Properties"] for policy in stack.resources("AWS::IAM::Policy").values()]
    return [each for policy in policies if role in policy["Roles"] for each in policy["PolicyDocument"]["Statement"]]
