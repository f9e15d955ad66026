"""Scripts of glue_jobs as Glue runs them: shipped with their modules, started by the API, over S3's objects."""

import io
import json
import time
import zipfile
from collections.abc import Callable
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producers import flights
from schemas.flights import RAW_COLUMNS
from stacks.etl_jobs import AVRO_AND_XML
from tests.assembly.synthesis import ROOT

pytestmark = pytest.mark.local

BUCKET = "s3://etl-jobs"
ARROW = {"int": pa.int32(), "double": pa.float64(), "string": pa.string()}


@pytest.fixture(scope="module")
def run(client: Callable[[str], Any]) -> Callable[..., dict[str, Any]]:
    """Runs glue_jobs/<script>.py with arguments to its end; returns the JSON that it printed last."""
    s3, glue, logs = client("s3"), client("glue"), client("logs")
    s3.create_bucket(Bucket="etl-jobs")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for path in (ROOT / "glue_jobs").glob("*.py"):
            file.write(path, f"glue_jobs/{path.name}")
    s3.put_object(Bucket="etl-jobs", Key="code/imports.zip", Body=archive.getvalue())

    def start(script: str, **arguments: str) -> dict[str, Any]:
        source = (ROOT / "glue_jobs" / f"{script}.py").read_bytes()
        s3.put_object(Bucket="etl-jobs", Key=f"code/{script}.py", Body=source)
        given = {"--extra-py-files": f"{BUCKET}/code/imports.zip"}
        given |= {f"--{name.replace('__', '-')}": value for name, value in arguments.items()}
        glue.create_job(
            Name=script, Role="arn:aws:iam::000000000000:role/glue", GlueVersion="5.1", Timeout=5,
            Command={"Name": "glueetl", "ScriptLocation": f"{BUCKET}/code/{script}.py"}, DefaultArguments=given,
        )  # fmt: skip
        run_id, deadline = glue.start_job_run(JobName=script)["JobRunId"], time.monotonic() + 300
        while (ended := glue.get_job_run(JobName=script, RunId=run_id)["JobRun"])["JobRunState"] != "SUCCEEDED":
            assert ended["JobRunState"] in ("STARTING", "RUNNING"), ended["ErrorMessage"]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        page = logs.get_log_events(logGroupName="/aws-glue/jobs/output", logStreamName=run_id)
        return dict(json.loads(page["events"][-1]["message"]))

    return start


@pytest.fixture(scope="module")
def events(client: Callable[[str], Any], run: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    """The flights of a day, curated, in the bucket that `run` has made."""
    found = list(flights.events(months=[1], days=[1]))
    rows = [{name: event[name] for name, _ in RAW_COLUMNS} for event in found]
    table, file = (
        pa.Table.from_pylist(rows, pa.schema([(name, ARROW[kind]) for name, kind in RAW_COLUMNS])),
        io.BytesIO(),
    )
    pq.write_table(table, file)
    client("s3").put_object(Bucket="etl-jobs", Key="curated/year=2013/month=01/day=01/a.parquet", Body=file.getvalue())
    return found


def test_segments_go_where_the_catalogue_says(
    client: Callable[[str], Any], run: Callable[..., dict[str, Any]], events: list[dict[str, Any]]
) -> None:
    """Spark's machine learning, and the module that finds the table."""
    glue = client("glue")
    glue.create_database(DatabaseInput={"Name": "etl"})
    location = {"Location": f"{BUCKET}/segments/"}
    glue.create_table(DatabaseName="etl", TableInput={"Name": "segments", "StorageDescriptor": location})
    told = run(
        "kmeans_segment", curated_path=f"{BUCKET}/curated/", target="catalog://etl/segments", subject="dest",
        segments="3", least_flights="5", seed="1",
    )  # fmt: skip
    assert told["subject"] == "dest" and 0 < told["silhouettes"]["3"] <= 1
    listed = client("s3").list_objects_v2(Bucket="etl-jobs", Prefix="segments/part-")["Contents"]
    body = client("s3").get_object(Bucket="etl-jobs", Key=listed[0]["Key"])["Body"].read()
    segments = pq.read_table(io.BytesIO(body))
    assert set(segments["segment"].to_pylist()) == {0, 1, 2}
    assert set(segments["subject"].to_pylist()) <= {event["dest"] for event in events}


def test_a_table_is_converted_with_packages_in_sparks_workers(
    client: Callable[[str], Any], run: Callable[..., dict[str, Any]], events: list[dict[str, Any]]
) -> None:
    told = run(
        "convert_format", source_path=f"{BUCKET}/curated/year=2013/month=01/day=01/", source_format="parquet",
        target_path=f"{BUCKET}/converted/", target_format="avro", additional__python__modules=AVRO_AND_XML,
    )  # fmt: skip
    assert told == {"rows": len(events), "columns": len(RAW_COLUMNS), "files": 1}
    listed = client("s3").list_objects_v2(Bucket="etl-jobs", Prefix="converted/")["Contents"]
    bodies = [client("s3").get_object(Bucket="etl-jobs", Key=item["Key"])["Body"].read() for item in listed]
    rows = [row for body in bodies for row in fastavro.reader(io.BytesIO(body))]
    wanted = [{name: event[name] for name, _ in RAW_COLUMNS} for event in events]
    assert sorted(rows, key=lambda row: row["event_id"]) == sorted(wanted, key=lambda row: row["event_id"])
