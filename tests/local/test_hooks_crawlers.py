"""Contract tests of local/hooks/glue_crawlers.py, and of the triggers that wait for crawlers and jobs."""

import io
import json
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.local

ROLE = "arn:aws:iam::000000000000:role/glue"
LOG = {"UpdateBehavior": "LOG", "DeleteBehavior": "LOG"}
PLANES = b"tailnum,year,seats\nN10156,2004,55\nN102UW,1998,182\n"


@pytest.fixture(scope="module")
def glue(client: Callable[[str], Any]) -> Any:
    """A Glue client, with a bucket of folders in three formats, a database and two jobs."""
    s3, glue = client("s3"), client("glue")
    s3.create_bucket(Bucket="found")
    file = io.BytesIO()
    pq.write_table(pa.table({"temp": [1.5]}), file)
    bodies = {
        "reference/planes/planes.csv": PLANES,
        "source/flights/2013/01/05/a": b'{"id": 1, "carrier": "UA"}{"id": 2, "carrier": "B6"}',
        "source/flights/2013/01/05/b": b'{"id": 1, "car',
        "source/weather/2013/01/05/a": b'{"id": 1, "temp": 39.5}\n{"id": 2, "temp": null}\n',
        "hours/year=2013/month=01/a.parquet": file.getvalue(),
        "hours/year=2013/month=02/a.parquet": file.getvalue(),
        "hours/year=2013/month=02/_hidden": b"",
        "code/quick.py": b"print('ran')",
        "code/fail.py": b"raise ValueError('no such flight')",
    }
    for key, body in bodies.items():
        s3.put_object(Bucket="found", Key=key, Body=body)
    glue.create_database(DatabaseInput={"Name": "found"})
    for name in ("quick", "fail"):
        command = {"Name": "glueetl", "ScriptLocation": f"s3://found/code/{name}.py"}
        glue.create_job(Name=f"after-{name}", Role=ROLE, GlueVersion="5.1", Timeout=5, Command=command)
    return glue


@pytest.fixture
def crawl(glue: Any) -> Callable[..., str]:
    """Makes a crawler of folders of the bucket when there is none of its name, and crawls: how it ended."""

    def run(name: str, *folders: str, **settings: Any) -> str:
        targets = {"S3Targets": [{"Path": f"s3://found/{folder}/"} for folder in folders]}
        if folders:
            glue.create_crawler(
                Name=name, Role=ROLE, DatabaseName="found", TablePrefix=f"{name}_", Targets=targets,
                SchemaChangePolicy=LOG, **settings,
            )  # fmt: skip
        glue.start_crawler(Name=name)
        deadline = time.monotonic() + 60
        while (found := glue.get_crawler(Name=name)["Crawler"])["State"] != "READY":
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return str(found["LastCrawl"]["Status"])

    return run


def table(glue: Any, name: str) -> tuple[dict[str, str], list[str], list[list[str]]]:
    """A table's columns with their types, its partition keys and its partitions."""
    found = glue.get_table(DatabaseName="found", Name=name)["Table"]
    columns = {column["Name"]: column["Type"] for column in found["StorageDescriptor"]["Columns"]}
    partitions = glue.get_partitions(DatabaseName="found", TableName=name)["Partitions"]
    return columns, [key["Name"] for key in found["PartitionKeys"]], [each["Values"] for each in partitions]


def logged(client: Callable[[str], Any], name: str) -> str:
    """What a crawler has logged."""
    page = client("logs").get_log_events(logGroupName="/aws-glue/crawlers", logStreamName=name)
    return "\n".join(event["message"] for event in page["events"])


@pytest.mark.requirement("cat-crawlers", "cat-glue-catalog")
def test_schemas_are_inferred(client: Callable[[str], Any], glue: Any, crawl: Callable[..., str]) -> None:
    """CSV, JSON and Parquet; folders are partitions, with or without names; what can't be read is logged."""
    assert crawl("all", "reference/planes", "source/flights", "source/weather", "hours", "nothing") == "SUCCEEDED"
    assert table(glue, "all_planes") == ({"tailnum": "string", "year": "bigint", "seats": "bigint"}, [], [])
    days = [["2013", "01", "05"]]
    dated = ["partition_0", "partition_1", "partition_2"]
    assert table(glue, "all_flights") == ({"id": "bigint", "carrier": "string"}, dated, days)
    assert table(glue, "all_weather") == ({"id": "bigint", "temp": "double"}, dated, days)
    assert table(glue, "all_hours") == ({"temp": "double"}, ["year", "month"], [["2013", "01"], ["2013", "02"]])
    assert "source/flights/2013/01/05/b: no classifier fits" in logged(client, "all")


def test_changed_schemas_are_logged_and_not_applied(
    client: Callable[[str], Any], glue: Any, crawl: Callable[..., str]
) -> None:
    crawl("again", "reference/planes")
    before = table(glue, "again_planes")
    client("s3").put_object(Bucket="found", Key="reference/planes/planes.csv", Body=b"tailnum,built\nN10156,2004\n")
    assert crawl("again") == "SUCCEEDED"
    assert table(glue, "again_planes") == before
    assert "again_planes: its schema has changed, which is not applied: tailnum, built" in logged(client, "again")
    client("s3").put_object(Bucket="found", Key="reference/planes/planes.csv", Body=PLANES)


def test_new_folders_only_adds_partitions_and_no_tables(
    client: Callable[[str], Any], glue: Any, crawl: Callable[..., str]
) -> None:
    crawl("new", "hours", "later", RecrawlPolicy={"RecrawlBehavior": "CRAWL_NEW_FOLDERS_ONLY"})
    for key in ("hours/year=2013/month=03/a.csv", "later/a.csv"):
        client("s3").put_object(Bucket="found", Key=key, Body=b"temp\n2.5\n")
    crawl("new")
    assert table(glue, "new_hours")[2][-1] == ["2013", "03"]
    with pytest.raises(ClientError, match="new_later not found"):
        table(glue, "new_later")


def test_partitions_of_declared_tables(glue: Any, crawl: Callable[..., str]) -> None:
    """A catalogue target gets partitions and keeps its columns."""
    keys = [{"Name": "year", "Type": "int"}, {"Name": "month", "Type": "int"}]
    storage = {"Location": "s3://found/hours", "Columns": [{"Name": "declared", "Type": "string"}]}
    glue.create_table(
        DatabaseName="found", TableInput={"Name": "declared", "StorageDescriptor": storage, "PartitionKeys": keys}
    )
    target = {"CatalogTargets": [{"DatabaseName": "found", "Tables": ["declared"]}]}
    glue.create_crawler(Name="partitions", Role=ROLE, DatabaseName="found", Targets=target, SchemaChangePolicy=LOG)
    assert crawl("partitions") == "SUCCEEDED"
    columns, _, partitions = table(glue, "declared")
    assert columns == {"declared": "string"}
    assert partitions[:2] == [["2013", "01"], ["2013", "02"]]


@pytest.mark.parametrize(
    "change",
    [
        {"Targets": {"JdbcTargets": [{"ConnectionName": "c", "Path": "d/%"}]}},
        {"SchemaChangePolicy": {"UpdateBehavior": "UPDATE_IN_DATABASE", "DeleteBehavior": "LOG"}},
    ],
)
def test_refuses_crawls_that_would_do_nothing(glue: Any, change: dict[str, Any]) -> None:
    given = {"Targets": {"S3Targets": [{"Path": "s3://found/hours/"}]}, "SchemaChangePolicy": LOG} | change
    name = next(iter(change))
    glue.create_crawler(Name=name, Role=ROLE, DatabaseName="found", **given)
    with pytest.raises(ClientError, match=f"{name}: the local cloud crawls S3 alone, and only with UpdateBehavior LOG"):
        glue.start_crawler(Name=name)


@pytest.mark.requirement("etl-triggers")
def test_conditional_triggers_follow_what_has_ended(
    client: Callable[[str], Any], glue: Any, crawl: Callable[..., str]
) -> None:
    """Crawlers, then a job, then what its end starts, but not what its success would; each trigger once a run."""
    crawl("first", "reference/planes"), crawl("second", "hours")
    glue.create_workflow(Name="night")
    crawled = [{"CrawlerName": name, "CrawlState": "SUCCEEDED"} for name in ("first", "second")]
    done = {  # the job that a trigger starts, and its conditions
        "both": ("after-fail", crawled),
        "either": ("after-quick", [{"JobName": "after-fail", "State": state} for state in ("FAILED", "SUCCEEDED")]),
        "unmet": ("after-quick", [{"JobName": "after-fail", "State": "SUCCEEDED"}]),
    }
    glue.create_trigger(
        Name="at-three", WorkflowName="night", Type="SCHEDULED", Schedule="cron(0 3 * * ? *)", StartOnCreation=True,
        Actions=[{"CrawlerName": "first"}, {"CrawlerName": "second"}],
    )  # fmt: skip
    for name, (job, conditions) in done.items():
        logical = "ANY" if name == "either" else "AND"
        predicate = {"Logical": logical, "Conditions": [each | {"LogicalOperator": "EQUALS"} for each in conditions]}
        glue.create_trigger(
            Name=name, WorkflowName="night", Type="CONDITIONAL", StartOnCreation=True,
            Predicate=predicate, Actions=[{"JobName": job}],
        )  # fmt: skip
    glue.start_workflow_run(Name="night")
    deadline = time.monotonic() + 60
    while (last := glue.get_workflow(Name="night")["Workflow"]["LastRun"])["Status"] != "COMPLETED":
        assert time.monotonic() < deadline, json.dumps(last, default=str)
        time.sleep(0.1)
    counted = {name: last["Statistics"][name] for name in ("TotalActions", "SucceededActions", "FailedActions")}
    assert counted == {"TotalActions": 4, "SucceededActions": 3, "FailedActions": 1}
    assert [run["TriggerName"] for run in glue.get_job_runs(JobName="after-quick")["JobRuns"]] == ["either"]
