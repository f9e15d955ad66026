"""A function whose packages are missing, or are not those that are pinned, fails at synth and says what to run."""

from pathlib import Path

import pytest
from aws_cdk import App
from aws_cdk import aws_kms as kms

from components import function
from components.base import Deployment, Layer


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one function and the package that it pins."""
    monkeypatch.setattr(function, "ROOT", tmp_path)
    for path, text in {
        "lambda/resize/handler.py": "import package",
        "lambda/resize/requirements.txt": "package==2",
        "build/vendored/resize/.requirements.txt": "package==2",
        "build/vendored/resize/package.py": "VERSION = 2",
        "common/__init__.py": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_code_and_packages_are_one_asset(project: Path) -> None:
    own = {"handler.py", "requirements.txt", "package.py"}
    assert _files(project, [], ["common"]) == [own, own | {"common/__init__.py"}]


@pytest.mark.parametrize("change", ["missing", "another version"])
def test_packages_that_are_not_those_pinned_are_refused(project: Path, change: str) -> None:
    if change == "missing":
        (project / "build/vendored/resize/.requirements.txt").unlink()
    else:
        (project / "lambda/resize/requirements.txt").write_text("package==3")
    with pytest.raises(function.VendoredPackagesError, match=r"build/vendored/resize .* `make install`"):
        _files(project, [])


def _files(project: Path, *shared: list[str]) -> list[set[str]]:
    """What the asset of a function holds, for each list of the packages it shares."""
    app = App(outdir=str(project / "cdk.out"))
    stack = Layer(app, "stack", Deployment("theirs", "123456789012", "eu-west-1", retain=False), "A function")
    key = kms.Key(stack, "Key")
    for number, packages in enumerate(shared):
        function.Function(
            stack,
            f"Resize{number}",
            stack.deployment,
            folder="resize",
            shared=packages,
            key=key,
            failures_reach="nobody",
            description="",
        )
    assets = [
        {str(path.relative_to(asset)) for path in asset.rglob("*") if path.is_file()}
        for asset in (project / "cdk.out").glob("asset.*")
    ]
    return sorted(assets, key=len)
