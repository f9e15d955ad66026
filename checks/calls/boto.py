"""What botocore and boto3 know of AWS's services, read from their data files: methods, waiters, resources. Offline."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from botocore import xform_name
from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.loaders import Loader
from botocore.session import get_session

Model = dict[str, Any]

# Methods that boto3 adds to clients and resources. Source: boto3/s3/inject.py, boto3/dynamodb/table.py of boto3.
_ADDED = {
    "s3": {
        "upload_file": "upload_file",
        "upload_fileobj": "upload_file",
        "download_file": "download_file",
        "download_fileobj": "download_file",
        "copy": "copy",
    },
    "dynamodb": {"batch_writer": "BatchWriteItem"},
}


@dataclass(frozen=True)
class Member:
    """What a resource's method or attribute does: the operations it calls, and the resource type it gives, if any."""

    operations: tuple[str, ...] = ()
    gives: str | None = None
    collection: bool = False


@cache
def operations(service: str) -> dict[str, str]:
    """Method -> operation of a client; nothing for a service that botocore does not know."""
    try:
        names = get_session().get_service_model(service).operation_names
    except (UnknownServiceError, DataNotFoundError):
        return {}
    return {xform_name(name): name for name in names} | _ADDED.get(service, {})


@cache
def signing_name(service: str) -> str:
    """The name that requests to a service are signed for: for most services also the prefix of its IAM actions."""
    return str(get_session().get_service_model(service).signing_name)


@cache
def waiter(service: str, name: str) -> str | None:
    """The operation that a client's waiter polls, or None when there is no such waiter."""
    try:
        model = get_session().get_waiter_model(service)
    except (UnknownServiceError, DataNotFoundError):
        return None
    found = {xform_name(each): each for each in model.waiter_names}.get(name)
    return str(model.get_waiter(found).operation) if found else None


@cache
def any_operation(method: str) -> bool:
    """Whether a client of any service has this method. The first call reads every service's model."""
    return method in _every_method()


@cache
def member(service: str, kind: str, name: str) -> Member | None:
    """A member of a boto3 resource: `kind` is a type such as Bucket, or "" for the service resource itself.

    None when the resource has none of that name.
    """
    model = _resources(service)
    described = model.get("resources", {}).get(kind, {}) if kind else model.get("service", {})
    if name in _ADDED.get(service, {}):
        return Member((_ADDED[service][name],))
    if not kind and name in model.get("resources", {}):  # whatever it has can be made by its identifiers
        return Member(gives=name)
    for section in ("actions", "has"):
        for each, definition in described.get(section, {}).items():
            if name in (each, xform_name(each)):
                return _member(definition)
    for each, definition in described.get("hasMany", {}).items():
        if name == xform_name(each):
            return _member(definition, collection=True)
    for each, definition in described.get("waiters", {}).items():
        if name == f"wait_until_{xform_name(each)}":
            return Member((str(waiter(service, xform_name(definition["waiterName"]))),))
    return _attribute(described, name)


@cache
def batch(service: str, kind: str, name: str) -> str | None:
    """The operation of an action on a whole collection of resources of type `kind`, such as objects.delete()."""
    actions = _resources(service).get("resources", {}).get(kind, {}).get("batchActions", {})
    found = next((each for action, each in actions.items() if xform_name(action) == name), None)
    return str(found["request"]["operation"]) if found else None


def _member(definition: Model, *, collection: bool = False) -> Member:
    request = definition.get("request", {}).get("operation")
    gives = definition.get("resource", {}).get("type")
    return Member((request,) if request else (), gives, collection)


def _attribute(described: Model, name: str) -> Member | None:
    """An identifier, which is free, or an attribute of the loaded resource, which calls its load operation."""
    if not described:
        return None
    if name in {xform_name(each["name"]) for each in described.get("identifiers", [])}:
        return Member()
    load = described.get("load", {}).get("request", {}).get("operation")
    return Member((load,)) if load else None


@cache
def _resources(service: str) -> Model:
    try:
        found: Model = boto3.Session()._loader.load_service_model(service, "resources-1")
    except (UnknownServiceError, DataNotFoundError):
        return {}
    return found


@cache
def _every_method() -> frozenset[str]:
    loader: Loader = get_session().get_component("data_loader")
    services = loader.list_available_services("service-2")
    return frozenset(
        xform_name(name) for each in services for name in loader.load_service_model(each, "service-2")["operations"]
    )
