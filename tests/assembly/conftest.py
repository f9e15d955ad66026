"""One synthesis of every environment for all of these tests; it and the other slow ones run two at a time."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from checks import gates
from checks.assembly import Assembly
from checks.finding import Finding
from components.function import VENDORED
from tests.assembly.lift_out import named_in_docstring
from tests.assembly.synthesis import APPS, ROOT, copy, sources, synthesize

LAYERS = [path.stem for path in sorted((ROOT / "stacks").glob("[a-z]*.py"))]
_AT_ONCE = 2


@pytest.fixture(scope="session")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Path]]]:
    """Every synthesis that a collected test will ask for, started before the first of them asks."""
    folder = tmp_path_factory.mktemp("assembly")
    jobs: dict[str, Callable[[], Path]] = {
        "assembly": partial(synthesize, ROOT, folder / "cdk.out"),
        "clone": partial(_clone, folder / "a" / "deeper" / "place", folder / "clone"),
        "replaced": partial(synthesize, ROOT, folder / "replaced", APPS / "replaced_producer.py", validate=False),
        "variants": partial(synthesize, ROOT, folder / "variants", APPS / "variants.py", validate=False),
        "lifted": partial(_lift_out, folder / "lifted"),
    }
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield {name: pool.submit(job) for name, job in jobs.items() if name in wanted}
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def assembly(running: dict[str, Future[Path]]) -> Assembly:
    """Every environment, synthesized from this folder."""
    return Assembly(running["assembly"].result())


@pytest.fixture(scope="session")
def judged(assembly: Assembly) -> list[Finding]:
    """What the gates find, linters included, whether a construct accepts it or not."""
    return gates.found(assembly)


@pytest.fixture(scope="session")
def clone(running: dict[str, Future[Path]]) -> Path:
    """Every environment, synthesized from what a clone elsewhere would hold."""
    return running["clone"].result()


@pytest.fixture(scope="session")
def replaced(running: dict[str, Future[Path]]) -> Assembly:
    """Stages before and after of apps/replaced_producer.py."""
    return Assembly(running["replaced"].result())


@pytest.fixture(scope="session")
def variants(running: dict[str, Future[Path]]) -> Assembly:
    """Platforms with settings that no environment has, of apps/variants.py."""
    return Assembly(running["variants"].result())


@pytest.fixture(scope="session")
def lifted(running: dict[str, Future[Path]]) -> Path:
    """A folder with a project for each stack, and what became of it: cdk.out or error.txt."""
    return running["lifted"].result()


def _clone(folder: Path, output: Path) -> Path:
    copy([*sources(), VENDORED], folder)  # what `make install` would put there
    packages = [folder / name for name in ("contracts", "flink_jobs/delays", "ml")]
    for deployed in [*folder.glob("lambda/*"), *folder.glob("containers/*/bin"), *packages]:
        for left in (".mypy_cache/3.12/cache.db", "__pycache__/handler.cpython-312.pyc", ".DS_Store"):
            (deployed / left).parent.mkdir(parents=True, exist_ok=True)
            (deployed / left).write_text("left behind")
    return synthesize(folder, output)


def _lift_out(folder: Path) -> Path:
    for layer in LAYERS:
        copy(named_in_docstring(layer), folder / layer)
    copy(["cdk.json"], folder)  # its flags are those that `cdk init` gives a new project
    return synthesize(folder, folder, APPS / "lifted.py", *(str(folder / layer) for layer in LAYERS), validate=False)
