"""Names of real airports, some entered twice in another spelling: which are found, and how many are compared."""

import csv
import random
from typing import TYPE_CHECKING

import pytest

from glue_jobs import match_duplicates as job
from producers import flights
from schemas.flights import MATCH_COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.xdist_group("spark")

THRESHOLD = 0.85  # the stack's


def airports() -> list[tuple[str, str]]:
    with flights.reference_files()["airports"].open(newline="") as file:
        return [(row["faa"], row["name"]) for row in csv.DictReader(file)]


def misspelled(name: str, chance: random.Random) -> str:
    """A name as somebody else would write it: short forms, other order, case or marks, or two letters swapped."""
    words = name.split()
    match chance.randrange(4):
        case 0:
            forms = {"International": "Intl", "Regional": "Rgnl.", "Municipal": "Muni", "Field": "Fld", "County": "Co."}
            return " ".join(forms.get(word, word) for word in words).upper()
        case 1:
            return ", ".join(reversed(words))
        case 2:
            at = chance.randrange(1, len(name) - 1)
            return name[:at] + name[at + 1] + name[at] + name[at + 2 :]
        case _:
            return name.replace(" ", "-").lower() + "."


@pytest.mark.requirement("etl-findmatches")
def test_most_names_entered_twice_are_found_and_few_others(spark: "SparkSession") -> None:
    known, chance = airports(), random.Random(20)  # noqa: S311 - the same every time
    twice = [(faa, misspelled(name, chance)) for faa, name in chance.sample(known, 300) if len(name) > 5]
    rows = spark.createDataFrame([*known, *((f"{faa}-again", name) for faa, name in twice)], "id string, name string")
    compared, everything = job.candidates(rows).count(), rows.count() * (rows.count() - 1) // 2
    assert compared < everything / 20
    matched = job.match(rows, THRESHOLD)
    assert matched.dtypes == MATCH_COLUMNS
    found = {row.id: row.cluster for row in matched.collect()}
    right = [faa for faa, _ in twice if faa in found and found[faa] == found.get(f"{faa}-again")]
    recall = len(right) / len(twice)
    names: dict[str, set[str]] = {cluster: set() for cluster in found.values()}
    for faa, name in known:  # some are in the list twice under one name: those are found rightly
        if faa in found:
            names[found[faa]].add(name)
    precision = sum(len(held) <= 1 for held in names.values()) / len(names)
    print(f"recall {recall:.3f}, precision {precision:.3f}, {compared:,} of {everything:,} pairs compared")
    assert recall > 0.9
    assert precision > 0.95


def test_clusters_join_through_others_whatever_the_order() -> None:
    pairs = [("c", "d"), ("a", "b"), ("e", "f"), ("b", "c")]
    wanted = {"a": "a", "b": "a", "c": "a", "d": "a", "e": "e", "f": "e"}
    assert job.clusters(pairs) == job.clusters(reversed([(b, a) for a, b in pairs])) == wanted
    assert job.clusters([]) == {}


def test_a_word_that_too_many_share_compares_nothing(spark: "SparkSession") -> None:
    rows = spark.createDataFrame([(str(number), f"Airport {number}") for number in range(60)], "id string, name string")
    assert job.candidates(rows).count() == 0
    assert job.candidates(rows.limit(50)).count() == 50 * 49 // 2


@pytest.mark.parametrize(
    ("threshold", "target", "message"),
    [("0", "s3://a/b/", "--threshold is 0.0: give more"), ("0.9", "a", "--target is 'a': give s3://")],
)
def test_arguments(threshold: str, target: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"--source_path": "s3://a/", "--id": "i", "--name": "n", "--threshold": threshold, "--target": target}
    with pytest.raises(SystemExit):
        job.parse_args([word for pair in given.items() for word in pair])
    assert message in capsys.readouterr().err
