"""Flows of preparation steps, on the Titanic's columns as Data Wrangler's tutorial has them, and on real flights."""

import csv
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from glue_jobs import prepare as job
from producers import flights
from schemas.flights import CURATED_COLUMNS
from stacks.etl_jobs import training_flow

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.xdist_group("spark")

TITANIC = {
    "PassengerId": "bigint", "Survived": "bigint", "Pclass": "bigint", "Name": "string", "Sex": "string",
    "Age": "bigint", "SibSp": "bigint", "Parch": "bigint", "Ticket": "string", "Fare": "float", "Cabin": "string",
    "Embarked": "string",
}  # fmt: skip
PASSENGERS = [
    (1, 0, 3, "Braund, Mr. Owen Harris", "male", 22, 1, 0, "A/5 21171", 7.25, None, "S"),
    (2, 1, 1, "Cumings, Mrs. John Bradley", "female", 38, 1, 0, "PC 17599", 71.25, None, "C"),
    (3, 1, None, "Heikkinen, Miss. Laina", "female", 26, 0, 0, "STON/O2", 7.5, None, "S"),
    (4, 0, 7, "Nobody", None, None, 0, 0, "0", 0.0, None, None),
]
PATH = {"--source_path": "s3://curated/flights/", "--target_path": "s3://curated/training/", "--format": "csv"}


@pytest.fixture(scope="module")
def titanic(spark: "SparkSession") -> "DataFrame":
    return spark.createDataFrame(PASSENGERS, ", ".join(f"{name} {kind}" for name, kind in TITANIC.items()))


@pytest.mark.requirement("etl-dropfields", "etl-filter", "etl-map", "etl-datawrangler", "etl-dw-types", "etl-dw-onehot")
def test_a_flow_on_the_titanic(titanic: "DataFrame") -> None:
    assert dict(titanic.dtypes) == TITANIC
    flow = [
        {"drop_fields": ["Name", "Ticket"]},
        {"drop_null_fields": ["Survived"]},
        {"filter": "Sex IS NOT NULL OR Pclass = 7"},
        {"map": {"Family": "SibSp + Parch + 1", "Fare": "round(Fare)"}},
        {"one_hot": {"Pclass": [1, 2, 3], "Sex": ["female", "male"]}},
    ]
    rows = [row.asDict() for row in job.prepare(titanic, flow).orderBy("PassengerId").collect()]
    assert list(rows[0]) == [
        "PassengerId", "Survived", "Age", "SibSp", "Parch", "Fare", "Embarked", "Family",
        "Pclass_1", "Pclass_2", "Pclass_3", "Sex_female", "Sex_male",
    ]  # fmt: skip
    classes = [(row["Pclass_1"], row["Pclass_2"], row["Pclass_3"]) for row in rows]
    assert classes == [(0, 0, 1), (1, 0, 0), (0, 0, 0), (0, 0, 0)], "an unknown class, or none, keeps its row"
    assert [(row["Sex_female"], row["Sex_male"]) for row in rows] == [(0, 1), (1, 0), (1, 0), (0, 0)]
    assert (rows[0]["Family"], rows[0]["Fare"]) == (2, 7.0)


@pytest.mark.requirement("etl-join", "etl-spark-preprocess")
def test_the_stacks_own_flow_makes_training_rows_of_real_flights(
    spark: "SparkSession", buckets: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    names = [name for name, _ in CURATED_COLUMNS]
    events = list(flights.events(months=[1], days=[1], limit=300))
    sent = spark.createDataFrame(
        [tuple(event.get(name) for name in names) for event in events],
        ", ".join(f"{name} {kind}" for name, kind in CURATED_COLUMNS),
    )
    sent.coalesce(1).write.mode("overwrite").parquet("s3://curated/flights/")
    airports = buckets["raw"] / "reference" / "airports"
    airports.mkdir(parents=True, exist_ok=True)
    shutil.copy(flights.reference_files()["airports"], airports / "airports.csv")
    flow = json.dumps(training_flow("s3://raw/reference/airports/"))
    task = job.parse_args([word for pair in (PATH | {"--flow": flow}).items() for word in pair])
    for _ in range(2):  # a second run replaces what the first wrote
        job.run(spark, task)
        (path,) = (buckets["curated"] / "training").glob("*.csv")
        rows = {row["event_id"]: row for row in csv.DictReader(path.read_text().splitlines())}
        arrived = [event for event in events if event["arr_delay"] is not None]
        assert rows.keys() == {event["event_id"] for event in arrived}
    with flights.reference_files()["airports"].open(newline="") as file:
        known = {row["faa"]: row["name"] for row in csv.DictReader(file)}
    for event in arrived:
        row = rows[event["event_id"]]
        assert row["late"] == str(int(event["arr_delay"] > 15))
        assert row["dest_name"] == known.get(event["dest"], "")
        hot = [row[f"origin_{origin}"] for origin in ("EWR", "JFK", "LGA")]
        assert hot == [str(int(event["origin"] == origin)) for origin in ("EWR", "JFK", "LGA")]
        assert not {"dep_delay", "arr_delay", "dep_time", "seats", "origin"} & row.keys()
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"] == len(arrived)


def test_a_wrong_step_is_named(titanic: "DataFrame") -> None:
    with pytest.raises(ValueError, match="step 2, drop_fields: there is no column Nose; there are PassengerId, "):
        job.prepare(titanic, [{"filter": "Age > 1"}, {"drop_fields": ["Nose"]}])
    with pytest.raises(ValueError, match="step 1, join: 'path'"):
        job.prepare(titanic, [{"join": {}}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--flow": "[1]"}, "--flow has 1: give a list of"),
        ({"--flow": '[{"fly": 1}]'}, "steps are drop_fields, drop_null_fields, filter, join, map, one_hot"),
        ({"--flow": "{"}, "invalid loads value: '{'"),
        ({"--target_path": "s3://curated/"}, "--target_path is the source or lies in it"),
    ],
)
def test_arguments(change: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        job.parse_args([word for pair in (PATH | {"--flow": "[]"} | change).items() for word in pair])
    assert message in capsys.readouterr().err
