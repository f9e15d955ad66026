"""Glue job: which rows of a table mean the same thing under names that are written differently.

What FindMatches did: AWS recommends Glue 1.0 for that transform, and ours run on 5.1. Names are normalized; only rows
that share the sound of a word (Soundex) are compared, never all with all; pairs that are alike enough are joined to
clusters. A sound that more than MOST_IN_BLOCK rows share ("airport") tells nothing and compares nothing.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from glue_jobs import sinks

MOST_IN_BLOCK = 50
SHORT_FORMS = {
    "intl": "international", "muni": "municipal", "rgnl": "regional", "fld": "field", "apt": "airport",
    "arpt": "airport", "co": "county", "mem": "memorial", "natl": "national", "inc": "", "corp": "", "llc": "",
}  # fmt: skip


class Task(NamedTuple):
    """The job's arguments: a CSV with a header, its id and name columns, and how alike is the same, 0 to 1."""

    source: str
    target: str
    id: str
    name: str
    threshold: float


def normalized(name: Column) -> Column:
    """A name's words as an array: lower case, without accents' and punctuation's marks, short forms written out."""
    plain = F.translate(F.lower(name), "àáâäãåçèéêëìíîïñòóôöõùúûüý", "aaaaaaceeeeiiiinooooouuuuy")
    words = F.split(F.trim(F.regexp_replace(plain, "[^a-z0-9]+", " ")), " +")
    forms = F.create_map(*(F.lit(text) for pair in SHORT_FORMS.items() for text in pair))
    return F.filter(F.transform(words, lambda word: F.coalesce(forms[word], word)), lambda word: word != "")


def candidates(rows: DataFrame) -> DataFrame:
    """Pairs that share the sound of a word that few rows have, once each: id < other, with both rows' texts.

    `text` is the name's words as they stand, `words` the same words sorted.
    """
    words = rows.withColumn("list", normalized(F.col("name")))
    texts = [F.array_join("list", " ").alias("text"), F.array_join(F.array_sort("list"), " ").alias("words")]
    sounds = F.array_distinct(F.transform("list", lambda word: F.soundex(word)))
    blocks = words.select("id", *texts, F.explode(sounds).alias("block"))
    rare = blocks.groupBy("block").count().where(F.col("count").between(2, MOST_IN_BLOCK)).select("block")
    left = blocks.join(F.broadcast(rare), "block")
    right = left.select("block", *(F.col(name).alias(f"other_{name}") for name in ("id", "text", "words")))
    return left.join(right, "block").where("id < other_id").drop("block").distinct()


def similarity(first: str, second: str) -> Column:
    """1 less the edits that make one text the other (Levenshtein), as a share of the longer one."""
    longer = F.greatest(F.length(first), F.length(second))
    return 1 - F.levenshtein(F.col(first), F.col(second)) / longer


def clusters(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return for each id in a pair the smallest id that it is joined to, directly or through others."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := parent.setdefault(name, name)) != name:
            parent[name] = parent[above]
            name = above
        return name

    for first, second in pairs:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return {name: root(name) for name in parent}


def match(rows: DataFrame, threshold: float) -> DataFrame:
    """Return id, name and cluster (its smallest id) of the rows that have a duplicate. rows has id and name."""
    # In either order of words: a slip at the start of one sorts it elsewhere.
    likeness = F.greatest(*(similarity(name, f"other_{name}") for name in ("text", "words")))
    alike = candidates(rows).where(likeness >= threshold).select("id", "other_id")
    found = clusters((pair.id, pair.other_id) for pair in alike.collect())
    named = rows.sparkSession.createDataFrame(sorted(found.items()), "id string, cluster string")
    return rows.join(F.broadcast(named), "id").orderBy("cluster", "id")


def run(spark: SparkSession, task: Task) -> None:
    """Match a table's rows, write the clusters, and print how many as one JSON line."""
    table = spark.read.csv(task.source, header=True, nullValue="NA")
    if missing := [name for name in (task.id, task.name) if name not in table.columns]:
        raise ValueError(f"{task.source} has no column {', '.join(missing)}; it has {', '.join(table.columns)}")
    rows = table.select(F.col(task.id).alias("id"), F.col(task.name).alias("name")).where("name IS NOT NULL")
    matched = match(rows, task.threshold).cache()
    sinks.write(matched.coalesce(1), task.target)
    (counted,) = matched.agg(F.count("id").alias("rows"), F.countDistinct("cluster").alias("clusters")).collect()
    print(json.dumps(counted.asDict()), flush=True)


def parse_args(arguments: Sequence[str]) -> Task:
    """Return the job's task; Glue's own arguments are left alone."""
    parser = argparse.ArgumentParser(prog="match_duplicates", allow_abbrev=False)
    for name in ("source_path", "target", "id", "name"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--threshold", required=True, type=float)
    options, _ = parser.parse_known_args(arguments)
    if not 0 < options.threshold <= 1:
        parser.error(f"--threshold is {options.threshold}: give more than 0 and at most 1")
    try:
        sinks.check(options.target)
    except ValueError as error:
        parser.error(f"--target is {error}")
    return Task(options.source_path, options.target, options.id, options.name, options.threshold)


def main() -> None:
    """Run as Glue runs it."""
    task = parse_args(sys.argv[1:])
    spark = SparkSession.builder.appName("match_duplicates").getOrCreate()
    spark.conf.set("spark.sql.shuffle.partitions", "4")
    run(spark, task)


if __name__ == "__main__":
    main()
