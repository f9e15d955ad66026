"""Runs a CodeBuild project to its end."""

import time
from collections.abc import Mapping
from typing import Any

_POLL_SECONDS = 2


def run(project: str, variables: Mapping[str, str], client: Any) -> None:
    """Build with these environment variables. Raises RuntimeError, with where the log is, when the build fails."""
    overrides = [{"name": name, "value": value} for name, value in variables.items()]
    build = client.start_build(projectName=project, environmentVariablesOverride=overrides)["build"]
    while build["buildStatus"] == "IN_PROGRESS":
        time.sleep(_POLL_SECONDS)
        build = client.batch_get_builds(ids=[build["id"]])["builds"][0]
    if build["buildStatus"] != "SUCCEEDED":
        where = build.get("logs", {}).get("deepLink", build["id"])
        raise RuntimeError(f"the build of {project} ended {build['buildStatus']}: read its log at {where}")
