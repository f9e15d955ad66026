"""Every Glue job is bounded, encrypted and shipped with what it imports; the tables are what the jobs write."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from checks.assembly import Assembly, Stack
from config.settings import load
from schemas import flights
from stacks.etl_jobs import AVRO_AND_XML
from tests.assembly.synthesis import ROOT

STREAMING = "StreamingWindow"


def jobs(assembly: Assembly) -> Iterator[tuple[Stack, str, dict[str, Any]]]:
    """Every Glue job of every environment."""
    for stack, name, resource in assembly.resources("AWS::Glue::Job"):
        yield stack, name, resource["Properties"]


@pytest.mark.requirement("etl-glue-etl", "etl-serverless-spark")
def test_every_job_is_bounded_and_encrypted(assembly: Assembly) -> None:
    found = list(jobs(assembly))
    assert len(found) == 3 * (1 + 1 + 7)  # curation's, the catalogue's, and those of etl-jobs
    for stack, name, job in found:
        assert float(job["GlueVersion"]) >= 5.0
        assert (job["WorkerType"], job["ExecutionProperty"]) == ("G.1X", {"MaxConcurrentRuns": 1}), name
        assert job["NumberOfWorkers"] >= 2
        assert 0 < job["Timeout"] < 7 * 24 * 60
        security = job["SecurityConfiguration"]["Ref"]
        encrypted = stack.resources()[security]["Properties"]["EncryptionConfiguration"]
        assert encrypted["CloudWatchEncryption"]["CloudWatchEncryptionMode"] == "SSE-KMS"
        assert encrypted["S3Encryptions"][0]["S3EncryptionMode"] == "SSE-KMS"


def test_every_job_has_a_role_of_its_own(assembly: Assembly) -> None:
    for stacks in assembly.environments.values():
        roles = [
            job["Properties"]["Role"]["Fn::GetAtt"][0]
            for job in stacks["etl-jobs"].resources("AWS::Glue::Job").values()
        ]
        assert len(set(roles)) == len(roles) == 7


@pytest.mark.requirement("str-spark-kinesis")
def test_the_streaming_job_reads_the_stream_and_nothing_starts_it(assembly: Assembly) -> None:
    """A job that runs until it is stopped costs by the hour: it is for whoever wants it to start it."""
    for stacks in assembly.environments.values():
        stack = stacks["etl-jobs"]
        found = stack.resources("AWS::Glue::Job")
        kinds = {name: job["Properties"]["Command"]["Name"] for name, job in found.items()}
        (streaming,) = (name for name, kind in kinds.items() if kind == "gluestreaming")
        assert streaming.startswith(STREAMING)
        assert "Flights" in json.dumps(found[streaming]["Properties"]["DefaultArguments"]["--stream_arn"])
        starters = stack.resources("AWS::Scheduler::Schedule", "AWS::Glue::Trigger", "AWS::Events::Rule")
        assert streaming not in json.dumps(starters)


def test_a_job_is_shipped_with_the_modules_that_it_imports(assembly: Assembly) -> None:
    """And with no more: the folder of --extra-py-files holds what the script, and what that imports, names.

    Without a database in the settings, the module that calls Glue and Secrets Manager for one stays away.
    """
    for _, name, job in jobs(assembly):
        (asset,) = re.findall(r"[0-9a-f]{64}", json.dumps(job["DefaultArguments"]["--extra-py-files"]))
        shipped = {path.stem for path in (assembly.folder / f"asset.{asset}" / "glue_jobs").iterdir()}
        (script,) = re.findall(r"[0-9a-f]{64}", json.dumps(job["Command"]["ScriptLocation"]))
        needed, unread = {"__init__"}, [(assembly.folder / f"asset.{script}.py").read_text()]
        while unread:
            new = imported(unread.pop()) - needed - {"jdbc"}
            needed |= new
            unread += [(ROOT / "glue_jobs" / f"{module}.py").read_text() for module in new]
        assert shipped == needed, name


def imported(source: str) -> set[str]:
    """The modules of glue_jobs that a script imports."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    whole = {alias.name for node in found if node.module == "glue_jobs" for alias in node.names}
    parts = {str(node.module).split(".")[1] for node in found if str(node.module).startswith("glue_jobs.")}
    return whole | parts


def test_packages_are_the_versions_that_the_tests_run_on(assembly: Assembly) -> None:
    tested = (ROOT / "requirements-dev.in").read_text().splitlines()
    assert {*AVRO_AND_XML.split(",")} <= {*tested}
    for _, name, job in jobs(assembly):
        modules = job["DefaultArguments"].get("--additional-python-modules")
        assert modules == (AVRO_AND_XML if name.startswith("ConvertFormat") else None)


def test_s3a_asks_the_region_it_runs_in(assembly: Assembly) -> None:
    """Glue 5.1 would have it ask us-east-2."""
    for _, name, job in jobs(assembly):
        asked = {"Fn::Join": ["", ["spark.hadoop.fs.s3a.endpoint.region=", {"Ref": "AWS::Region"}]]}
        assert job["DefaultArguments"]["--conf"] == asked, name


def test_schedules_are_what_the_settings_say(assembly: Assembly) -> None:
    for environment, stacks in assembly.environments.items():
        options = load(environment).etl_jobs
        wanted = [f"rate({hours} hours)" for hours in (options.features_hours, options.compact_hours) if hours]
        schedules = stacks["etl-jobs"].resources("AWS::Scheduler::Schedule").values()
        assert [each["Properties"]["ScheduleExpression"] for each in schedules] == wanted


def test_the_tables_declare_what_the_jobs_write(assembly: Assembly) -> None:
    declared = {
        "flight_features": flights.FEATURE_COLUMNS,
        "flights_by_hour": flights.HOURLY_COLUMNS,
        "flight_segments": flights.SEGMENT_COLUMNS,
        "airport_duplicates": flights.MATCH_COLUMNS,
    }
    for stacks in assembly.environments.values():
        tables = [
            table["Properties"]["TableInput"] for table in stacks["etl-jobs"].resources("AWS::Glue::Table").values()
        ]
        columns = {
            table["Name"]: [(column["Name"], column["Type"]) for column in table["StorageDescriptor"]["Columns"]]
            for table in tables
        }
        assert columns == declared
