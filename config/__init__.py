"""Settings of the environments: which there are, and where each is deployed."""

import importlib
from typing import Any

ENVIRONMENTS = ("sandbox", "staging", "production")
REGION = "us-east-1"  # of an environment that names none


def settings_of(environment: str) -> dict[str, Any]:
    """What config/<environment>.py sets, not validated: it needs no CDK. Raises ImportError for an unknown one."""
    found: dict[str, Any] = importlib.import_module(f"config.{environment}").SETTINGS
    return found
