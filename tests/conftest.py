"""Spreads the tests over two workers: each folder shares a synth or a local cloud, so it stays on one."""

from pathlib import Path

import pytest
from hypothesis import settings

# An example takes as long as the machine makes it: no test is one of speed.
settings.register_profile("millrace", deadline=None)
settings.load_profile("millrace")

FOLDER = Path(__file__).parent
LONGEST = "test_platform"


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its group, and begin with the longest."""
    for item in items:
        folder, name = item.path.relative_to(FOLDER).parts[0], item.path.stem
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(name if name == LONGEST else folder))
    items.sort(key=lambda item: item.path.stem != LONGEST)  # stable: the rest keeps its order
