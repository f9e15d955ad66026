"""Settings of an environment: typed, validated at synth, with errors that name the setting and what is allowed."""

import importlib
import os
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from components.base import Deployment, Options
from stacks.catalog_etl import CatalogEtlOptions
from stacks.data_lake import DataLakeOptions
from stacks.foundation import FoundationOptions
from stacks.monitoring import MonitoringOptions
from stacks.serving import ServingOptions
from stacks.streaming import StreamingOptions
from stacks.training import TrainingOptions

ENVIRONMENTS = ("sandbox", "staging", "production")
EXAMPLE_ACCOUNT = "123456789012"  # AWS's own placeholder: a review needs an account number, not an account


class SettingsError(ValueError):
    """A setting is wrong; the message names it, what it was and what is allowed."""


class Settings(Options):
    """One environment: where it is deployed and the options of each stack."""

    prefix: str = Field(
        pattern=r"^[a-z][a-z0-9-]{2,24}$",
        description="starts every name: lower case, digits and hyphens, 3 to 25",
    )
    account: str | None = Field(None, pattern=r"^\d{12}$", description="12 digits; none: that of the credentials")
    region: str = Field("us-east-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="an AWS region")
    retain: bool = Field(True, description="keep data when stacks are destroyed")
    foundation: FoundationOptions = FoundationOptions()
    data_lake: DataLakeOptions = DataLakeOptions()
    streaming: StreamingOptions = StreamingOptions()
    catalog_etl: CatalogEtlOptions = CatalogEtlOptions()
    training: TrainingOptions = TrainingOptions()
    serving: ServingOptions = ServingOptions()
    monitoring: MonitoringOptions = MonitoringOptions()

    @property
    def deployment(self) -> Deployment:
        """Where the environment goes. The CDK CLI names the account of the credentials in CDK_DEFAULT_ACCOUNT."""
        account = self.account or os.environ.get("CDK_DEFAULT_ACCOUNT") or EXAMPLE_ACCOUNT
        return Deployment(prefix=self.prefix, account=account, region=self.region, retain=self.retain)


def load(environment: str) -> Settings:
    """The settings in config/<environment>.py. Raises SettingsError for an unknown environment or a wrong setting."""
    if environment not in ENVIRONMENTS:
        raise SettingsError(f"environment is {environment!r}; it must be one of {', '.join(ENVIRONMENTS)}")
    return validate(importlib.import_module(f"config.{environment}").SETTINGS, f"config/{environment}.py")


def validate(values: dict[str, Any], source: str | Path) -> Settings:
    """Settings from plain values. Raises SettingsError that lists every wrong one."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        wrong = [f"  {_path(problem['loc'])}: {_explain(problem)}" for problem in error.errors()]
        raise SettingsError("\n".join([f"{source} has {len(wrong)} wrong setting(s):", *wrong])) from None


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))


def _explain(problem: Any) -> str:
    """What is wrong, what was given, and the setting's own description of what is allowed."""
    if problem["type"] == "extra_forbidden":
        options = _field_owner(problem["loc"])
        return f"there is no such setting; there are {', '.join(options.model_fields)}"
    described = _field_owner(problem["loc"]).model_fields[str(problem["loc"][-1])].description
    allowed = f" ({described})" if described else ""  # options of a stack describe themselves one by one
    given = "" if problem["type"] == "missing" else f", not {problem['input']!r}"
    return f"{problem['msg']}{given}{allowed}"


def _field_owner(location: tuple[int | str, ...]) -> type[Options]:
    owner: type[Options] = Settings
    for name in location[:-1]:
        annotation = owner.model_fields[str(name)].annotation
        owner = annotation  # type: ignore[assignment]  # options nest in options only
    return owner
