"""Settings: what is wrong is refused at synth, by a message that names it and says what is allowed."""

from typing import Any

import pytest
from pydantic import ValidationError

from config.settings import ENVIRONMENTS, EXAMPLE_ACCOUNT, Settings, SettingsError, load, validate

GOOD: dict[str, Any] = {"prefix": "millrace-test"}
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
VPC = {"vpc_id": "vpc-1", "subnet_ids": ["subnet-1", "subnet-2"], "availability_zones": ["us-east-1a", "us-east-1b"]}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_is_valid(environment: str) -> None:
    assert load(environment).prefix == f"millrace-{environment}"


def test_environments_share_no_prefix_and_only_sandbox_is_deleted() -> None:
    settings = {environment: load(environment) for environment in ENVIRONMENTS}
    assert len({each.prefix for each in settings.values()}) == len(ENVIRONMENTS)
    assert [environment for environment, each in settings.items() if not each.retain] == ["sandbox"]


def test_an_unknown_environment_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match="'prod'; it must be one of sandbox, staging, production"):
        load("prod")


def test_options_have_defaults_but_the_prefix_has_none() -> None:
    assert validate(GOOD, "test") == Settings(prefix="millrace-test")
    assert "prefix: Field required (starts every name" in _message({})


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [
        ("prefix", "Millrace", "lower case, digits and hyphens, 3 to 25"),
        ("prefix", "millrace-", "no hyphen at the end"),
        ("prefix", "m" * 26, "3 to 25"),
        ("account", "1234", "12 digits"),
        ("region", "Ireland", "an AWS region"),
        ("alert_email", "nobody", "who is told of alarms"),
        ("retain", "perhaps", "keep data when stacks are destroyed"),
        ("catalog_etl.max_seconds", 1000, "at most 900, half of timeout_minutes"),
        ("catalog_etl.alert_email", "nobody", "who is told of a run that failed"),
        ("serving.kind", "server", "'serverless' or 'realtime'"),
        ("serving.memory_mb", 2000, "1024, 2048, 3072, 4096, 5120 or 6144"),
        ("serving.instance_type", "c7i.large", "ml"),
        ("streaming.flights.shards", 0, "greater than or equal to 1"),
        ("streaming.flights.retention_hours", 23, "greater than or equal to 24"),
        ("streaming.weather.retention_hours", 8761, "less than or equal to 8760"),
        ("streaming.buffer_mib", 32, "greater than or equal to 64"),
        ("flight_state.window_seconds", 0, "greater than or equal to 1"),
        ("stream_scoring.window_seconds", 0, "greater than or equal to 1"),
        ("stream_scoring.max_age_minutes", 1440, "the stream has them for 1,440 minutes"),
        ("training.minimum_auc", 1.5, "less than or equal to 1"),
        ("monitoring.schedule", "daily", "when the drift job runs"),
        ("monitoring.silent_hours", 169, "less than or equal to 168"),
        ("monitoring.alert_email", "nobody", "who is told of an alarm"),
        ("data_lake.captured_days", 0, "days that captured requests and answers are kept"),
        ("images.longest_side", 10, "pixels of a thumbnail's longer side"),
        ("foundation.zones", 9, "less than or equal to 3"),
        ("foundation.zones", "two", "availability zones of the network"),
        ("foundation.existing_key_arn", "alias/theirs", "a KMS key to use instead of a new one"),
        ("foundation.key_administrators", "role/us", "who alone may administer the key"),
        ("audit.object_events", "reads", "'none', 'writes' or 'all'"),
        ("people.session_hours", 13, "less than or equal to 12"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(setting: str, value: object, allowed: str) -> None:
    message = _message(_with(setting, value))
    assert f"  {setting}: " in message
    assert repr(value) in message
    assert allowed in message


def test_one_address_hears_of_every_alarm_unless_a_stack_names_another() -> None:
    told = validate(GOOD | {"alert_email": "all@example.com", "monitoring": {"alert_email": "ml@example.com"}}, "test")
    addresses = {name: options.alert_email for name, options in told if hasattr(options, "alert_email")}
    assert addresses.keys() >= {"streaming", "flight_state", "real_time", "catalog_etl", "stream_scoring", "monitoring"}
    assert {name for name, address in addresses.items() if address != "all@example.com"} == {"monitoring"}
    assert told.monitoring.alert_email == "ml@example.com"


@pytest.mark.parametrize(
    ("setting", "there_are"), [("serving.instance_typ", "instance_type"), ("monitor", "monitoring, ")]
)
def test_an_unknown_setting_is_refused_with_those_there_are(setting: str, there_are: str) -> None:
    message = _message(_with(setting, 1) | {"retain": True})
    assert f"  {setting}: there is no such setting; there are " in message
    assert there_are.strip(", ") in message


@pytest.mark.parametrize("name", ["role/*", "*", "arn:aws:iam::123456789012:root", "group/us", "jane"])
def test_a_principal_that_is_anybody_or_nobody_is_refused(name: str) -> None:
    message = _message(GOOD | {"people": {"auditors": ["user/jane", name]}})
    assert "  people.auditors.1: " in message
    assert repr(name) in message
    assert "who may be auditor" in message


@pytest.mark.parametrize(
    ("stack", "options", "said"),
    [
        ("people", {}, "  people: name somebody in data_engineers, data_scientists or auditors"),
        ("foundation", {"existing_vpc": VPC, "interface_endpoints": True}, "existing_vpc brings its own"),
        ("foundation", {"existing_key_arn": KEY, "key_administrators": ["role/us"]}, "existing_key_arn stays"),
        ("foundation", {"existing_vpc": VPC | {"subnet_ids": ["subnet-1"] * 3}}, "must be as many as each other"),
        ("foundation", {"existing_vpc": VPC | {"vpc_id": "theirs"}}, "foundation.existing_vpc.vpc_id: "),
    ],
)
def test_options_that_do_not_go_together_are_refused(stack: str, options: dict[str, Any], said: str) -> None:
    assert said in _message(GOOD | {stack: options})


def test_records_are_given_up_while_the_stream_still_has_them() -> None:
    said = "flight_state.max_age_hours is 48: it must be less than streaming.flights.retention_hours, 48"
    streaming = {"flights": {"retention_hours": 48}}
    assert said in _message(GOOD | {"flight_state": {"max_age_hours": 48}, "streaming": streaming})


@pytest.mark.parametrize(
    ("zones", "said"),
    [
        (["us-east-1a", "eu-west-1b"], "  availability_zones has eu-west-1b: not in region us-east-1"),
        (["us-east-1a"], "  availability_zones must name at least foundation.zones of them: 2"),
    ],
)
def test_zones_are_those_of_the_region_and_enough(zones: list[str], said: str) -> None:
    assert said in _message(GOOD | {"availability_zones": zones})


LOAD = {"records_per_second": 3_500, "record_bytes": 1_429, "read_mb_per_second": 12}  # 5 MB/s in


def test_a_provisioned_stream_has_the_shards_that_its_load_needs() -> None:
    message = _message(GOOD | {"streaming": {"weather": LOAD | {"shards": 5}}})
    assert "  streaming.weather.shards: Input should be" in message
    assert "at least 6: 3500 records/s of 1429 bytes and 12 MB/s read need as many, not 5" in message
    assert "streaming.flights.shards: " in _message(GOOD | {"streaming": {"flights": LOAD}})
    for enough in ({"shards": 6}, {"mode": "on-demand"}):
        validate(GOOD | {"streaming": {"flights": LOAD | enough}}, "test")


def test_options_given_as_something_else_are_named() -> None:
    message = _message(GOOD | {"serving": "serverless"})
    assert "  serving: " in message
    assert "'serverless'" in message
    assert "None" not in message


@pytest.mark.parametrize("values", [None, [], "millrace-test", [("prefix", "millrace-test")]])
def test_settings_that_are_no_dictionary_are_refused(values: Any) -> None:
    assert _message(values) == f"config/test.py gives {values!r}; settings are a dictionary of names and values"


def test_the_shortest_and_the_longest_prefix_are_good() -> None:
    assert [len(validate({"prefix": prefix}, "test").prefix) for prefix in ("m-1", "m" * 25)] == [3, 25]


def test_everything_wrong_is_told_at_once() -> None:
    message = _message(GOOD | {"retain": "perhaps", "streaming": {"buffer_mib": 0, "buffer": 2}})
    assert message.startswith("config/test.py has 3 wrong setting(s):\n")
    assert all(f"  {name}: " in message for name in ("retain", "streaming.buffer_mib", "streaming.buffer"))


def test_options_cannot_be_changed_afterwards() -> None:
    settings = load("sandbox")
    with pytest.raises(ValidationError, match="frozen"):
        settings.serving.kind = "realtime"  # type: ignore[misc]


def test_the_account_is_the_settings_own_or_that_of_the_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDK_DEFAULT_ACCOUNT", raising=False)
    assert validate(GOOD, "test").deployment.account == EXAMPLE_ACCOUNT
    monkeypatch.setenv("CDK_DEFAULT_ACCOUNT", "111111111111")
    assert validate(GOOD, "test").deployment.account == "111111111111"
    assert validate(GOOD | {"account": "222222222222"}, "test").deployment.account == "222222222222"


def _with(setting: str, value: object) -> dict[str, Any]:
    """Good values with one setting, named with dots, changed."""
    *outer, inner = setting.split(".")
    changed: dict[str, Any] = {inner: value}
    for name in reversed(outer):
        changed = {name: changed}
    return GOOD | changed


def _message(values: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as refused:
        validate(values, "config/test.py")
    return str(refused.value)
