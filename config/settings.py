"""Settings of an environment: typed, validated at synth, with errors that name the setting and what is allowed."""

import os
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from components.alerts import Email
from components.base import Deployment, Options
from config import ENVIRONMENTS, REGION, settings_of
from stacks.account_settings import AccountSettingsOptions
from stacks.audit import AuditOptions
from stacks.catalog_etl import CatalogEtlOptions
from stacks.data_catalog import DataCatalogOptions
from stacks.data_lake import DataLakeOptions
from stacks.delay_delivery import DelayDeliveryOptions
from stacks.etl_jobs import EtlJobsOptions
from stacks.flight_state import FlightStateOptions
from stacks.foundation import FoundationOptions
from stacks.images import ImagesOptions
from stacks.monitoring import MonitoringOptions
from stacks.people import PeopleOptions
from stacks.real_time import RealTimeOptions
from stacks.serving import ServingOptions
from stacks.stream_scoring import StreamScoringOptions
from stacks.streaming import StreamingOptions
from stacks.training import TrainingOptions

EXAMPLE_ACCOUNT = "123456789012"  # AWS's own placeholder: a review needs an account number, not an account


class SettingsError(ValueError):
    """A setting is wrong; the message names it, what it was and what is allowed."""


class Settings(Options):
    """One environment: where it is deployed and the options of each stack."""

    prefix: str = Field(
        pattern=r"^[a-z][a-z0-9-]{1,23}[a-z0-9]$",
        description="starts every name: lower case, digits and hyphens, 3 to 25, no hyphen at the end",
    )
    account: str | None = Field(None, pattern=r"^\d{12}$", description="12 digits; none: that of the credentials")
    region: str = Field(REGION, pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="an AWS region")
    availability_zones: tuple[str, ...] = Field(
        (), description="names of the zones to use, such as us-east-1a; none: the region's first three"
    )
    retain: bool = Field(True, description="keep data when stacks are destroyed")
    alert_email: Email | None = Field(None, description="who is told of alarms, where a stack's options name nobody")
    foundation: FoundationOptions = FoundationOptions()
    data_lake: DataLakeOptions = DataLakeOptions()
    streaming: StreamingOptions = StreamingOptions()
    flight_state: FlightStateOptions = FlightStateOptions()
    real_time: RealTimeOptions = RealTimeOptions()
    delay_delivery: DelayDeliveryOptions = DelayDeliveryOptions()
    catalog_etl: CatalogEtlOptions = CatalogEtlOptions()
    etl_jobs: EtlJobsOptions = EtlJobsOptions()
    data_catalog: DataCatalogOptions = DataCatalogOptions()
    training: TrainingOptions = TrainingOptions()
    serving: ServingOptions = ServingOptions()
    stream_scoring: StreamScoringOptions = StreamScoringOptions()
    monitoring: MonitoringOptions = MonitoringOptions()
    images: ImagesOptions = ImagesOptions()
    audit: AuditOptions | None = Field(AuditOptions(), description="options of the audit trail; None: no trail")
    people: PeopleOptions | None = Field(None, description="options of people's roles; None: no roles")
    account_settings: AccountSettingsOptions = AccountSettingsOptions()

    @model_validator(mode="after")
    def _zones_are_of_the_region_and_enough(self) -> "Settings":
        elsewhere = [zone for zone in self.availability_zones if not zone.startswith(self.region)]
        if elsewhere:
            raise ValueError(f"availability_zones has {', '.join(elsewhere)}: not in region {self.region}")
        if self.availability_zones and len(self.availability_zones) < self.foundation.zones:
            raise ValueError(f"availability_zones must name at least foundation.zones of them: {self.foundation.zones}")
        return self

    @model_validator(mode="after")
    def _records_are_given_up_while_the_stream_has_them(self) -> "Settings":
        age, kept = self.flight_state.max_age_hours, self.streaming.flights.retention_hours
        if age >= kept:
            raise ValueError(
                f"flight_state.max_age_hours is {age}: it must be less than streaming.flights.retention_hours, {kept}"
            )
        return self

    @property
    def deployment(self) -> Deployment:
        """Where the environment goes. The CDK CLI names the account of the credentials in CDK_DEFAULT_ACCOUNT."""
        account = self.account or os.environ.get("CDK_DEFAULT_ACCOUNT") or EXAMPLE_ACCOUNT
        return Deployment(
            prefix=self.prefix,
            account=account,
            region=self.region,
            retain=self.retain,
            availability_zones=self.availability_zones,
        )


def load(environment: str) -> Settings:
    """The settings in config/<environment>.py. Raises SettingsError for an unknown environment or a wrong setting."""
    if environment not in ENVIRONMENTS:
        raise SettingsError(f"environment is {environment!r}; it must be one of {', '.join(ENVIRONMENTS)}")
    return validate(settings_of(environment), f"config/{environment}.py")


def validate(values: dict[str, Any], source: str | Path) -> Settings:
    """Settings from plain values. Raises SettingsError that lists every wrong one."""
    if not isinstance(values, dict):
        raise SettingsError(f"{source} gives {values!r:.60}; settings are a dictionary of names and values")
    try:
        return _with_addresses(Settings.model_validate(values))
    except ValidationError as error:
        wrong = [
            "  " + ": ".join(filter(None, (_path(problem["loc"]), _explain(problem)))) for problem in error.errors()
        ]
        raise SettingsError("\n".join([f"{source} has {len(wrong)} wrong setting(s):", *wrong])) from None


def _with_addresses(settings: Settings) -> Settings:
    """The same, with the environment's `alert_email` in the options of each stack that has alarms and names nobody."""
    named = {"alert_email": settings.alert_email}
    silent = {name: options for name, options in settings if getattr(options, "alert_email", "") is None}
    return settings.model_copy(update={name: options.model_copy(update=named) for name, options in silent.items()})


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))


def _explain(problem: Any) -> str:
    """What is wrong, what was given, and the setting's own description of what is allowed."""
    options, field = _place(problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"there is no such setting; there are {', '.join(options.model_fields)}"
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):
        return str(problem["ctx"]["error"])  # of several settings together, which the error names
    allowed = f" ({field.description})" if field and field.description else ""
    given = "" if problem["type"] == "missing" else f", not {problem['input']!r}"
    return f"{problem['msg'].removeprefix('Value error, ')}{given}{allowed}"


def _place(location: tuple[int | str, ...]) -> tuple[type[Options], FieldInfo | None]:
    """The innermost options and the innermost setting that a location leads through; it may go on into a list."""
    options: type[Options] = Settings
    field = None
    for name in location:
        if name in options.model_fields:
            field = options.model_fields[str(name)]
            kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
            options = next((kind for kind in kinds if issubclass(kind, Options)), options)
    return options, field
