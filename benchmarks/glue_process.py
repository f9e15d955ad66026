"""The process that `benchmarks.etl` starts for the Glue job: its script as Glue runs it, on folders for buckets.

Prints one line of JSON: seconds until the Spark session was there, seconds of the whole, peak memory of the JVM.
"""

import json
import re
import sys
import time
from pathlib import Path
from unittest.mock import patch

# Half of a G.1X worker's processors and an eighth of its memory: what this fits into, one worker does too.
# https://docs.aws.amazon.com/glue/latest/dg/worker-types.html
MASTER, MEMORY = "local[2]", "2g"


def main(root: Path, arguments: list[str]) -> None:
    """Run the job's own main() on the buckets that are folders of `root`."""
    started = time.monotonic()
    from pyspark.sql import SparkSession

    from benchmarks.folder_s3 import FolderS3
    from glue_jobs import curate_flights

    builder = (
        SparkSession.builder.master(MASTER)
        .config("spark.driver.memory", MEMORY)
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", False)
        .config("spark.hadoop.fs.file.impl", "org.apache.hadoop.fs.RawLocalFileSystem")
        .config("spark.hadoop.fs.s3.impl", "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme")
        .config("spark.hadoop.fs.viewfs.overload.scheme.target.s3.impl", "org.apache.hadoop.fs.RawLocalFileSystem")
    )
    for bucket in root.iterdir():
        builder = builder.config(f"spark.hadoop.fs.viewfs.mounttable.{bucket.name}.linkFallback", bucket.as_uri())
    spark = builder.getOrCreate()
    start_up = time.monotonic() - started
    s3 = FolderS3({bucket.name: bucket for bucket in root.iterdir()})
    with patch("boto3.client", lambda _service: s3), patch("sys.argv", ["curate_flights", *arguments]):
        curate_flights.main()
    seconds = time.monotonic() - started
    jvm = spark.sparkContext._gateway.proc.pid  # type: ignore[union-attr]
    spark.stop()
    print(json.dumps({"start_up": start_up, "seconds": seconds, "peak_mib": _peak_mib(jvm)}))


def _peak_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    if not found:
        raise RuntimeError("this system does not say how much memory a process took: run the benchmark on Linux")
    return int(found[1]) / 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
