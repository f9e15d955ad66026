"""The process of a Glue Spark run: runs the job's script as Glue does. `glue_spark` starts it, nothing imports it.

Standard input is a socket to the local cloud. A byte sent asks it to take over what Spark has written to s3://,
a byte back says done; when the cloud ends it closes, and this process ends too.
"""

import os
import runpy
import socket
import sys
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

WRITERS = ("save", "saveAsTable", "insertInto", "csv", "json", "orc", "parquet", "text")


def connect() -> Callable[[], None]:
    """Take standard input over; returns the call that waits until the objects written are in S3."""
    cloud, done = socket.socket(fileno=os.dup(0)), threading.Semaphore(0)
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)

    def follow() -> None:
        while cloud.recv(1):
            done.release()
        os._exit(1)

    def publish() -> None:
        cloud.sendall(b"w")
        done.acquire()

    threading.Thread(target=follow, daemon=True).start()
    return publish


def publishing(write: Callable[..., Any], publish: Callable[[], None]) -> Callable[..., Any]:
    """A DataFrameWriter method after which the objects are in S3, as a committed write's are on AWS."""

    @wraps(write)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = write(*args, **kwargs)
        publish()
        return result

    return call


def main(script: str, message: Path) -> None:
    """Run the script as __main__; when it fails, `message` gets what Glue would show as ErrorMessage."""
    publish = connect()
    from pyspark.sql.readwriter import DataFrameWriter

    for name in WRITERS:
        setattr(DataFrameWriter, name, publishing(getattr(DataFrameWriter, name), publish))
    sys.argv, sys.path[0] = [script, *sys.argv[3:]], str(Path(script).parent)
    try:
        runpy.run_path(script, run_name="__main__")
    except BaseException as error:
        message.write_text(f"{type(error).__name__}: {error}")
        if not isinstance(error, SystemExit) or error.code:
            raise
    publish()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
