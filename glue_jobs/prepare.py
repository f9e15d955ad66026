"""Glue job: a table becomes the rows of a training, step by step, as a flow of Data Wrangler would do it.

The flow is JSON, a list of steps of one name and its argument each, in the order they are done:

    [{"filter": "arr_delay IS NOT NULL"}, {"map": {"late": "int(arr_delay > 15)"}},
     {"join": {"path": "s3://raw/reference/airports/", "on": {"dest": "faa"}, "columns": {"name": "dest_name"}}},
     {"one_hot": {"origin": ["EWR", "JFK", "LGA"]}}, {"drop_fields": ["arr_delay"]}, {"drop_null_fields": []}]

Expressions are Spark SQL over one row. The result replaces what was there: the same input gives the same table.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from glue_jobs.paths import overlap


class Task(NamedTuple):
    """The job's arguments; paths are folders, `format` is parquet or csv."""

    source: str
    target: str
    format: str
    flow: list[dict[str, Any]]


def drop_fields(table: DataFrame, names: Sequence[str]) -> DataFrame:
    """Leave columns out. Raises ValueError for one that isn't there."""
    _known(table, names)
    return table.drop(*names)


def drop_null_fields(table: DataFrame, keep: Sequence[str]) -> DataFrame:
    """Leave out the columns that have no value in any row, but for those of `keep`."""
    (found,) = table.agg(*(F.count(F.col(f"`{name}`")).alias(name) for name in table.columns)).collect()
    empty = [name for name, count in found.asDict().items() if not count and name not in keep]
    return table.drop(*empty)


def filter_rows(table: DataFrame, condition: str) -> DataFrame:
    """Keep the rows that a SQL condition is true of; null is not true."""
    return table.where(condition)


def map_fields(table: DataFrame, expressions: Mapping[str, str]) -> DataFrame:
    """Add columns, or replace them, by SQL expressions over the columns as they are."""
    return table.withColumns({name: F.expr(expression) for name, expression in expressions.items()})


def join(table: DataFrame, lookup: Mapping[str, Any]) -> DataFrame:
    """Look columns up in the CSV at `path` ("NA" is null): `on` and `columns` are from its name, or to it, to ours.

    Every row is kept, once: what the other table doesn't know is null, and of a key twice there one row is taken.
    """
    other = table.sparkSession.read.csv(lookup["path"], header=True, inferSchema=True, nullValue="NA")
    on, columns = lookup["on"], lookup["columns"]
    _known(table, list(on))
    _known(other, [*on.values(), *columns])
    keys = [F.col(theirs).alias(ours) for ours, theirs in on.items()]
    values = F.max(F.struct(*(F.col(theirs).alias(ours) for theirs, ours in columns.items()))).alias("found")
    rows = other.groupBy(*keys).agg(values).select(*on, "found.*")
    return table.join(F.broadcast(rows), list(on), "left").select(*table.columns, *columns.values())


def one_hot(table: DataFrame, categories: Mapping[str, Sequence[Any]]) -> DataFrame:
    """Replace each column by one column of 0 and 1 for every category: `pclass` 3 is pclass_1, _2, _3 = (0, 0, 1).

    A value that is no category, or null, keeps its row and is 0 in all of them (Data Wrangler's "Keep").
    """
    _known(table, list(categories))
    for column, values in categories.items():
        is_one = {f"{column}_{value}": F.col(column).eqNullSafe(F.lit(value)).cast("int") for value in values}
        table = table.withColumns(is_one).drop(column)
    return table


STEPS: dict[str, Callable[[DataFrame, Any], DataFrame]] = {
    "drop_fields": drop_fields,
    "drop_null_fields": drop_null_fields,
    "filter": filter_rows,
    "join": join,
    "map": map_fields,
    "one_hot": one_hot,
}


def prepare(table: DataFrame, flow: Sequence[Mapping[str, Any]]) -> DataFrame:
    """Do the steps of a flow. Raises ValueError that names the step which is wrong."""
    for number, step in enumerate(flow, 1):
        for name, argument in step.items():
            try:
                table = STEPS[name](table, argument)
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"step {number}, {name}: {error or type(error).__name__}") from error
    return table


def _known(table: DataFrame, names: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in table.columns]:
        raise ValueError(f"there is no column {', '.join(unknown)}; there are {', '.join(table.columns)}")


def run(spark: SparkSession, task: Task) -> None:
    """Prepare the Parquet table at the source, and write it in the place of what the target holds."""
    source = spark.read.option("mergeSchema", True).parquet(task.source)
    written = Observation("written")
    prepared = prepare(source, task.flow).observe(written, F.count(F.lit(1)).alias("rows"))
    write = prepared.write.mode("overwrite")
    (write.csv(task.target, header=True) if task.format == "csv" else write.parquet(task.target))
    print(json.dumps({"columns": prepared.columns, **written.get}), flush=True)


def parse_args(arguments: Sequence[str]) -> Task:
    """Return the job's task; Glue's own arguments are left alone."""
    parser = argparse.ArgumentParser(prog="prepare", allow_abbrev=False)
    parser.add_argument("--source_path", required=True)
    parser.add_argument("--target_path", required=True)
    parser.add_argument("--format", choices=("parquet", "csv"), required=True)
    parser.add_argument("--flow", required=True, type=json.loads, help="a JSON list of steps")
    options, _ = parser.parse_known_args(arguments)
    steps = options.flow if isinstance(options.flow, list) else [None]
    if wrong := [step for step in steps if not isinstance(step, dict) or not step.keys() <= STEPS.keys()]:
        parser.error(f"--flow has {wrong[0]!r}: give a list of {{step: argument}}; steps are {', '.join(STEPS)}")
    if overlap(options.source_path, options.target_path):
        parser.error("--target_path is the source or lies in it, and would replace what is being read")
    return Task(options.source_path, options.target_path, options.format, options.flow)


def main() -> None:
    """Run as Glue runs it."""
    task = parse_args(sys.argv[1:])
    run(SparkSession.builder.appName("prepare").getOrCreate(), task)


if __name__ == "__main__":
    main()
