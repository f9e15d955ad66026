"""Contract tests of local/hooks/athena.py: Trino's SQL over the catalogue's tables answers and fails as Athena does."""

import csv
import datetime
import io
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.local

COLUMNS = [("id", "int"), ("delay", "double"), ("carrier", "string"), ("at", "timestamp"), ("added_later", "bigint")]
PROJECTION = {
    "projection.enabled": "true",
    "projection.year.type": "integer", "projection.year.range": "2013,2014", "projection.year.digits": "4",
    "projection.month.type": "integer", "projection.month.range": "1,12", "projection.month.digits": "2",
    "storage.location.template": "s3://athena-data/flights/year=${year}/month=${month}/",
}  # fmt: skip
BY_STATION = {
    **{name: value for name, value in PROJECTION.items() if name.startswith("projection")},
    "projection.station.type": "enum", "projection.station.values": "EWR,JFK",
    "storage.location.template": "s3://athena-data/hours/${station}/${year}/${month}/",
}  # fmt: skip
Ask = Callable[..., Any]


def parquet(**columns: list[Any]) -> bytes:
    """A Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def month(*ids: int) -> bytes:
    """A month of flights, the first of an unknown carrier."""
    return parquet(
        id=pa.array(ids, pa.int32()), delay=[i / 2 for i in ids], carrier=[None, *["a,\"b\""] * (len(ids) - 1)],
        at=[datetime.datetime(2013, 1, 1, 5, i) for i in ids],
    )  # fmt: skip


@pytest.fixture(scope="module")
def sizes(client: Callable[[str], Any]) -> dict[str, int]:
    """The catalogue and its objects: bytes by key."""
    s3, glue = client("s3"), client("glue")
    for bucket in ("athena-data", "athena-results"):
        s3.create_bucket(Bucket=bucket)
    bodies = {
        "flights/year=2013/month=01/a.parquet": month(1, 2, 3),
        "flights/year=2013/month=02/a.parquet": month(4, 5),
        "flights/year=2013/month=02/b.parquet": month(6),
        "flights/year=2013/month=3/not-two-digits.parquet": month(7),
        "flights/year=2015/month=01/out-of-range.parquet": month(8),
        "flights/year=2013/month=01/_hidden.parquet": month(9),
        "hours/EWR/2013/01/a.parquet": parquet(temp=[1.5, 2.5]),
        "hours/JFK/2013/01/a.parquet": parquet(temp=[3.5]),
        "hours/JFK/2013/02/a.parquet": parquet(temp=[4.5]),
        "hours/LGA/2013/01/not-listed.parquet": parquet(temp=[5.5]),
        "days/a.parquet": parquet(n=[2]),
        "wide/a.parquet": parquet(**{f"c{i}": [j * i for j in range(30_000)] for i in range(30)}),
    }
    for key, body in bodies.items():
        s3.put_object(Bucket="athena-data", Key=key, Body=body)
    glue.create_database(DatabaseInput={"Name": "lake"})

    def table(name: str, columns: list[tuple[str, str]], *keys: str, kind: str = "parquet", **parameters: str) -> None:
        described, partitions = ([{"Name": c, "Type": t} for c, t in pairs]
                                 for pairs in (columns, [tuple(key.split()) for key in keys]))  # fmt: skip
        storage = {"Columns": described, "Location": f"s3://athena-data/{name}/"}
        glue.create_table(DatabaseName="lake", TableInput={
            "Name": name, "StorageDescriptor": storage, "PartitionKeys": partitions,
            "Parameters": {"classification": kind, **parameters}})  # fmt: skip

    table("flights", COLUMNS, "year int", "month int", **PROJECTION)
    table("hours", [("temp", "double")], "station string", "year int", "month int", **BY_STATION)
    table("days", [("n", "bigint")])
    table("csv", COLUMNS, kind="csv")
    table("registered", COLUMNS, "year int")
    table("dated", COLUMNS, "year string", **PROJECTION | {"projection.year.type": "date"})
    table("other", COLUMNS, "year int", **PROJECTION)
    table("wide", [(f"c{i}", "bigint") for i in range(30)])
    client("athena").create_work_group(Name="enforced", Configuration={
        "EnforceWorkGroupConfiguration": True,
        "ResultConfiguration": {"OutputLocation": "s3://athena-results/enforced"}})  # fmt: skip
    return {key: len(body) for key, body in bodies.items()}


@pytest.fixture(scope="module")
def ask(client: Callable[[str], Any], sizes: dict[str, int]) -> Ask:
    """Runs a query to its end: the QueryExecution."""
    athena = client("athena")

    def run(query: str, **where: Any) -> dict[str, Any]:
        place = {"ResultConfiguration": {"OutputLocation": "s3://athena-results/own"}} | where
        query_id = athena.start_query_execution(QueryString=query, QueryExecutionContext={"Database": "lake"}, **place)[
            "QueryExecutionId"
        ]
        deadline = time.monotonic() + 60
        while True:
            execution = athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
            if execution["Status"]["State"] not in ("QUEUED", "RUNNING"):
                return execution
            assert time.monotonic() < deadline, query
            time.sleep(0.02)

    return run


@pytest.fixture(scope="module")
def rows(client: Callable[[str], Any], ask: Ask) -> Callable[[str], list[list[str | None]]]:
    """Runs a query: its rows, without the one of column names."""

    def run(query: str) -> list[list[str | None]]:
        execution = ask(query)
        assert execution["Status"]["State"] == "SUCCEEDED", execution["Status"]
        page = client("athena").get_query_results(QueryExecutionId=execution["QueryExecutionId"])
        return [[datum.get("VarCharValue") for datum in row["Data"]] for row in page["ResultSet"]["Rows"]][1:]

    return run


def test_projected_partitions(rows: Callable[[str], Any], ask: Ask, sizes: dict[str, int]) -> None:
    """Only projected partitions exist, and their keys have the declared types."""
    count = "SELECT year, month, count(*) FROM flights GROUP BY 1, 2 ORDER BY 1, 2"
    assert rows(count) == [["2013", "1", "3"], ["2013", "2", "3"]]
    for where in ("month = 2", "f.month > 1 AND delay > 0", "month IN (2, 5) AND year BETWEEN 2012 AND 2013"):
        assert rows(f"WITH t AS (SELECT * FROM lake.flights f WHERE {where}) SELECT sum(id) FROM t") == [["15"]]  # noqa: S608
    seen = [f"flights/year=2013/month={name}.parquet" for name in ("01/a", "02/a", "02/b")]
    assert ask(count)["Statistics"]["DataScannedInBytes"] == sum(sizes[key] for key in seen)


@pytest.mark.requirement("cat-part-device")
def test_layouts_without_names_of_keys(rows: Callable[[str], Any]) -> None:
    """Folders are the values of the template's keys, texts of those listed and numbers within their range."""
    query = "SELECT station, month, sum(temp) FROM hours GROUP BY 1, 2 ORDER BY 1, 2"
    assert rows(query) == [["EWR", "1", "4.0"], ["JFK", "1", "3.5"], ["JFK", "2", "4.5"]]


@pytest.mark.parametrize(
    ("where", "read"),
    [
        ("station = 'JFK'", ["JFK/2013/01", "JFK/2013/02"]),
        ("h.station = 'JFK' AND month > 1 AND temp > 0", ["JFK/2013/02"]),
        ("station IN ('EWR') AND year = 2013", ["EWR/2013/01"]),
        ("station = 'LGA'", []),
        ("station = 'EWR' OR temp > 4", ["EWR/2013/01", "JFK/2013/01", "JFK/2013/02"]),
    ],
)
def test_pruned_partitions_are_not_read(ask: Ask, sizes: dict[str, int], where: str, read: list[str]) -> None:
    """What WHERE says of partition keys alone leaves the objects that are scanned."""
    execution = ask(f"SELECT count(*) FROM hours h WHERE {where}")  # noqa: S608
    assert execution["Status"]["State"] == "SUCCEEDED", execution["Status"]
    expected = sum(sizes[f"hours/{place}/a.parquet"] for place in read)
    assert execution["Statistics"]["DataScannedInBytes"] == expected


def test_trino_sql(rows: Callable[[str], Any]) -> None:
    """Trino's functions, integer division, names and formats."""
    query = """
        SELECT lake.flights.id, "awsdatacatalog"."lake"."flights".carrier, at, 7 / id AS whole, delay > 1 AS late,
               rank() OVER (PARTITION BY year ORDER BY delay DESC) AS place, added_later,
               date_diff('day', date_parse('2013-01-01', '%Y-%m-%d'), timestamp '2013-01-03 00:00:00') AS days,
               date_trunc('hour', from_iso8601_timestamp('2013-01-01T05:30:00-05:00')) AS hour,
               json_extract_scalar('{"a": {"b": 5}}', '$.a.b') AS b
        FROM flights JOIN days ON n = id WHERE month = 1"""
    assert rows(query) == [
        ["2", 'a,"b"', "2013-01-01 05:02:00.000", "3", "false", "1", None, "2", "2013-01-01 10:00:00.000 UTC", "5"]
    ]


def test_result_types_places_and_csv(client: Callable[[str], Any], ask: Ask) -> None:
    """Column types are Athena's; the CSV is where the API says, NULL in it differs from text; workgroups enforce."""
    execution = ask(
        "SELECT id, at, delay, carrier, count(*) FROM flights WHERE month = 1 AND id < 3 GROUP BY 1,2,3,4 ORDER BY 1",
        WorkGroup="enforced", ResultConfiguration={"OutputLocation": "s3://athena-data/elsewhere/"},
    )  # fmt: skip
    assert execution["Status"]["State"] == "SUCCEEDED", execution["Status"]
    query_id = execution["QueryExecutionId"]
    assert execution["ResultConfiguration"]["OutputLocation"] == f"s3://athena-results/enforced/{query_id}.csv"
    columns = client("athena").get_query_results(QueryExecutionId=query_id)["ResultSet"]["ResultSetMetadata"]
    assert [(c["Name"], c["Type"]) for c in columns["ColumnInfo"]] == [
        ("id", "integer"), ("at", "timestamp"), ("delay", "double"), ("carrier", "varchar"), ("_col4", "bigint")
    ]  # fmt: skip
    body = client("s3").get_object(Bucket="athena-results", Key=f"enforced/{query_id}.csv")["Body"].read().decode()
    assert body.splitlines() == [
        '"id","at","delay","carrier","_col4"',
        '"1","2013-01-01 05:01:00.000","0.5",,"1"',
        '"2","2013-01-01 05:02:00.000","1.0","a,""b""","1"',
    ]
    with pytest.raises(ClientError, match="nowhere is not found"):
        ask("SELECT 1", WorkGroup="nowhere")


def test_thirty_thousand_rows(client: Callable[[str], Any], ask: Ask) -> None:
    """A result of 30,000 rows by 30 columns comes in pages and as one CSV."""
    execution = ask("SELECT * FROM wide ORDER BY c1")
    assert execution["Statistics"]["EngineExecutionTimeInMillis"] < 10_000
    asked = {"QueryExecutionId": execution["QueryExecutionId"], "MaxResults": 1000}
    first = client("athena").get_query_results(**asked)
    second = client("athena").get_query_results(**asked, NextToken=first["NextToken"])
    assert second["ResultSet"]["Rows"][0]["Data"][29]["VarCharValue"] == "29000"
    key = execution["ResultConfiguration"]["OutputLocation"].removeprefix("s3://athena-results/")
    body = client("s3").get_object(Bucket="athena-results", Key=key)["Body"].read().decode()
    lines = list(csv.reader(io.StringIO(body)))
    assert (len(lines), lines[-1][29]) == (30_001, str(29_999 * 29))


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT nope FROM flights", "COLUMN_NOT_FOUND: Column 'nope' cannot be resolved"),
        ("SELECT 1 FROM nothere", "TABLE_NOT_FOUND: Table 'nothere' does not exist"),
        ("SELECT 1 FROM nolake.nothere", "TABLE_NOT_FOUND: Table 'nolake.nothere' does not exist"),
        ("SELECT cast('x' AS integer)", "INVALID_CAST_ARGUMENT"),
        ("SELECT unheard_of(1)", "FUNCTION_NOT_FOUND: Function 'unheard_of' not registered"),
        ("SELECT (1", "SYNTAX_ERROR"),
        ("SELECT * FROM csv", "NOT_SUPPORTED: csv: a format but Parquet is not in the local cloud"),
        ("SELECT * FROM registered", "NOT_SUPPORTED: registered: a partition key but projected integers"),
        ("SELECT * FROM dated", "NOT_SUPPORTED: dated: a partition key but projected integers"),
        ("SELECT * FROM other", "NOT_SUPPORTED: other: a layout but one folder a key"),
        ("SHOW PARTITIONS flights", "NOT_SUPPORTED: SHOW PARTITIONS is not in the local cloud"),
        ("DROP TABLE flights", "NOT_SUPPORTED: DROP TABLE is not in the local cloud"),
        ("UNLOAD (SELECT 1) TO 's3://a/' WITH (format = 'PARQUET')", "NOT_SUPPORTED: UNLOAD is not in the local cloud"),
        ("INSERT INTO flights SELECT 1", "NOT_SUPPORTED: INSERT INTO is not in the local cloud"),
    ],
)
def test_failures_say_why(ask: Ask, query: str, reason: str) -> None:
    """A query that fails is FAILED with Athena's reason; what isn't there says so by name."""
    status = ask(query)["Status"]
    assert status["State"] == "FAILED"
    assert status["StateChangeReason"].startswith(reason)
