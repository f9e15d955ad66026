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
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_code_and_packages_are_one_asset(project: Path) -> None:
    assert _files(project) == {"handler.py", "requirements.txt", "package.py"}


@pytest.mark.parametrize("change", ["missing", "another version"])
def test_packages_that_are_not_those_pinned_are_refused(project: Path, change: str) -> None:
    if change == "missing":
        (project / "build/vendored/resize/.requirements.txt").unlink()
    else:
        (project / "lambda/resize/requirements.txt").write_text("package==3")
    with pytest.raises(function.VendoredPackagesError, match=r"build/vendored/resize .* `make install`"):
        _files(project)


def _files(project: Path) -> set[str]:
    """What the function's asset holds."""
    app = App(outdir=str(project / "cdk.out"))
    stack = Layer(app, "stack", Deployment("theirs", "123456789012", "eu-west-1", retain=False), "A function")
    key = kms.Key(stack, "Key")
    function.Function(
        stack, "Resize", stack.deployment, folder="resize", key=key, failures_reach="nobody", description=""
    )
    (asset,) = (project / "cdk.out").glob("asset.*")
    return {path.name for path in asset.rglob("*")}
