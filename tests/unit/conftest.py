"""Fixtures of the unit tests: Lambda folders as Lambda imports them, one Spark session, fake credentials."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from local.tools import java_home

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sure that no test can reach an account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@pytest.fixture(scope="session")
def import_lambda() -> Callable[[str], dict[str, ModuleType]]:
    """Return a function from a folder of lambda/ to its modules by name.

    A Lambda's modules import each other from the top of their own folder, and every folder has a `handler`:
    each import therefore gets the folder first on the path and leaves no module behind for the next folder.
    """
    imported: dict[str, dict[str, ModuleType]] = {}

    def import_folder(name: str) -> dict[str, ModuleType]:
        if name not in imported:
            folder = ROOT / "lambda" / name
            names = [path.stem for path in folder.glob("*.py")]
            hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
            sys.path.insert(0, str(folder))
            try:
                imported[name] = {module: importlib.import_module(module) for module in names}
            finally:
                sys.path.remove(str(folder))
                for module in names:
                    sys.modules.pop(module, None)
                sys.modules.update(hidden)
        return imported[name]

    return import_folder


@pytest.fixture(scope="session")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders that Spark sees as the buckets s3://raw and s3://curated."""
    root = tmp_path_factory.mktemp("buckets")
    folders = {name: root / name for name in ("raw", "curated")}
    for folder in folders.values():
        folder.mkdir()
    return folders


@pytest.fixture(scope="session")
def spark(buckets: dict[str, Path]) -> Iterator["SparkSession"]:
    """One Spark session for the whole run, tuned for a fast start; s3:// paths are the `buckets` folders."""
    from pyspark.sql import SparkSession

    os.environ["JAVA_HOME"] = str(java_home())
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = (
        SparkSession.builder.master("local[2]")
        .appName("millrace-tests")
        .config("spark.ui.enabled", False)
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.memory", "1g")
        .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        .config("spark.sql.shuffle.partitions", 2)
        .config("spark.hadoop.fs.s3.impl", "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme")
        .config("spark.hadoop.fs.viewfs.overload.scheme.target.s3.impl", "org.apache.hadoop.fs.LocalFileSystem")
    )
    for bucket, folder in buckets.items():
        builder = builder.config(f"spark.hadoop.fs.viewfs.mounttable.{bucket}.linkFallback", folder.as_uri())
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The clients of a deployment with the outputs, buckets and streams that the producer looks for."""
    import boto3

    from tests.unit.deployed import clients

    with clients() as made:
        monkeypatch.setattr(boto3.Session, "client", lambda session, name: made[name])
        yield made
