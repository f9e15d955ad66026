"""Glue's crawlers: MiniStack 1.5.33 reports SUCCEEDED after a second and looks at nothing.

A crawl makes one table a folder, with the columns that DuckDB finds in its CSV, JSON or Parquet objects, and registers
the folders below as partitions. A table that is there keeps its schema; a change is logged, as is an object that can't
be read. Refused: databases, schemas that are updated in place. Not here: classifiers, exclusions, grouping, events.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
from ministack.core.concurrency import spawn_background
from ministack.core.responses import error_response_json, json_response
from ministack.services import glue

from local.hooks import Answer, Handler, glue_triggers, wrap
from local.hooks.athena import visible
from local.hooks.glue import write_log

READERS = {b"PAR1": "parquet", b"{": "json", b"[": "json"}  # by a file's first bytes; else csv
TYPES = {"BIGINT": "bigint", "INTEGER": "int", "DOUBLE": "double", "BOOLEAN": "boolean", "TIMESTAMP": "timestamp"}
Objects = list[tuple[Path, list[str]]]  # files, and their folders below a table's location


def start_crawler(original: Handler, data: dict[str, Any]) -> Answer:
    """StartCrawler: refuse by name what a crawl here would not do."""
    crawler = glue._crawlers.get(data["Name"])
    if not crawler or crawler["State"] == "RUNNING":
        return original(data)
    targets = {kind for kind, listed in crawler["Targets"].items() if listed}
    if targets - {"S3Targets", "CatalogTargets"} or crawler["SchemaChangePolicy"].get("UpdateBehavior") != "LOG":
        told = f"{data['Name']}: the local cloud crawls S3 alone, and only with UpdateBehavior LOG"
        return error_response_json("InvalidInputException", told, 400)
    crawler["State"] = "RUNNING"
    spawn_background(run, crawler, thread_name=f"crawl-{data['Name']}")
    return json_response({})


def run(crawler: dict[str, Any]) -> None:
    """Crawl every target, log what was found, and tell the workflow."""
    name, state, started, log = crawler["Name"], "FAILED", time.time(), [f"crawl of {crawler['Name']}"]
    try:
        for target in crawler["Targets"].get("S3Targets", []):
            log += crawl(crawler, target["Path"].rstrip("/") + "/")
        for target in crawler["Targets"].get("CatalogTargets", []):
            for table in [glue._tables[f"{target['DatabaseName']}/{each}"] for each in target["Tables"]]:
                log += register(table, objects(table["StorageDescriptor"]["Location"].rstrip("/") + "/"))
        state = "SUCCEEDED"
    finally:
        write_log("/aws-glue/crawlers", name, "\n".join(log))
        place = {"LogGroup": "/aws-glue/crawlers", "LogStream": name}
        crawler.update(State="READY", LastCrawl={"Status": state, "StartTime": started} | place)
        glue_triggers.ended(name, name, state)


def crawl(crawler: dict[str, Any], location: str) -> Iterator[str]:
    """Make the table of a folder, or compare it, and register its partitions."""
    there = objects(location)
    fits = {file: columns(file) for file, _ in there}
    yield from (f"{file}: no classifier fits" for file in fits if not fits[file])
    found = [(file, folders) for file, folders in there if fits[file]]
    seen = {column["Name"]: column for each in fits.values() for column in each}
    database, name = crawler["DatabaseName"], crawler["TablePrefix"] + Path(location).name
    again = crawler["LastCrawl"] and crawler["RecrawlPolicy"].get("RecrawlBehavior") == "CRAWL_NEW_FOLDERS_ONLY"
    if f"{database}/{name}" not in glue._tables:
        if again or not found:
            return
        keys = [key if named else f"partition_{i}" for i, (key, named, _) in enumerate(map(split, found[0][1]))]
        storage = {"Location": location, "Columns": list(seen.values())}
        made = {"Name": name, "StorageDescriptor": storage, "Parameters": {"classification": kind(found[0][0])}}
        made["PartitionKeys"] = [{"Name": key, "Type": "string"} for key in keys]
        glue._create_table({"DatabaseName": database, "TableInput": made})
        yield f"{name}: made with {len(seen)} columns"
    table = glue._tables[f"{database}/{name}"]
    if found and table["StorageDescriptor"]["Columns"] != list(seen.values()):
        yield f"{name}: its schema has changed, which is not applied: {', '.join(seen)}"
    yield from register(table, found)


def register(table: dict[str, Any], found: Objects) -> Iterator[str]:
    """Add the partitions that a table has no record of."""
    place = {"DatabaseName": table["DatabaseName"], "TableName": table["Name"]}
    values = {tuple(split(each)[2] for each in folders) for _, folders in found if folders}
    known = {tuple(each["Values"]) for each in glue._partitions.get("{DatabaseName}/{TableName}".format(**place), [])}
    if new := [{"Values": list(each)} for each in sorted(values - known) if len(each) == len(table["PartitionKeys"])]:
        glue._batch_create_partition(place | {"PartitionInputList": new})
        yield f"{table['Name']}: {len(new)} partitions"


def split(folder: str) -> tuple[str, str, str]:
    """A folder's key, "=" and value; a folder without a key is its value."""
    return folder.partition("=") if "=" in folder else ("", "", folder)


def objects(location: str) -> Objects:
    """The files below a location, with their folders."""
    return [(file, path.split("/")[:-1]) for path, file, _ in visible(location)]


def kind(file: Path) -> str:
    """A file's format, by its first bytes."""
    with file.open("rb") as opened:
        start = opened.read(4)
    return next((name for magic, name in READERS.items() if start.startswith(magic)), "csv")


def columns(file: Path) -> list[dict[str, str]]:
    """The columns of a file; none when it can't be read."""
    try:
        relation = getattr(duckdb, f"read_{kind(file)}")(str(file))
    except duckdb.Error:
        return []
    typed = zip(relation.columns, map(str, relation.types), strict=True)
    return [{"Name": name.lower(), "Type": TYPES.get(each.split()[0], "string")} for name, each in typed]


def install() -> None:
    """Let StartCrawler crawl."""
    wrap(glue, "_start_crawler", start_crawler)
