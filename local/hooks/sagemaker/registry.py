"""Models and the model registry: groups, versioned packages, approval, and the event each change emits."""

from local.hooks.sagemaker import api, store
from local.hooks.sagemaker.api import operation
from local.hooks.sagemaker.store import Record, SageMakerError, invalid

COMPLETED = {
    "ModelPackageStatus": "Completed",
    "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
}


@operation("CreateModel")
def create_model(request: Record) -> Record:
    """Store a model of one container; a versioned package that it names must be approved."""
    part = request.get("PrimaryContainer") or (request.get("Containers") or [{}])[0]
    if not part.keys() & {"Image", "ModelPackageName"}:
        raise invalid("CreateModel: the container needs an Image or a ModelPackageName.")
    package = store.find("ModelPackage", part["ModelPackageName"]) if "ModelPackageName" in part else {}
    if package.get("ModelApprovalStatus", "Approved") != "Approved":
        raise invalid(f"CreateModel: {part['ModelPackageName']} is {package['ModelApprovalStatus']}, not Approved.")
    return {"ModelArn": store.create("Model", request["ModelName"], request)["ModelArn"]}


@operation("CreateModelPackageGroup")
def create_group(request: Record) -> Record:
    """Store a group."""
    name, done = request["ModelPackageGroupName"], {"ModelPackageGroupStatus": "Completed", "LastVersion": 0}
    return {"ModelPackageGroupArn": store.create("ModelPackageGroup", name, request, **done)["ModelPackageGroupArn"]}


@operation("DeleteModelPackageGroup")
def delete_group(request: Record) -> Record:
    """Remove a group. Raises ConflictException while it has packages."""
    with store.lock:
        group = store.find("ModelPackageGroup", request["ModelPackageGroupName"])
        if api.selected("ModelPackage", {"ModelPackageGroupName": group["ModelPackageGroupName"]}):
            raise SageMakerError(
                "ConflictException",
                f"{group['ModelPackageGroupArn']} still contains model "
                "packages: delete each with DeleteModelPackage first.",
            )
        store.delete("ModelPackageGroup", group["ModelPackageGroupArn"])
    return {}


@operation("CreateModelPackage")
def create_package(request: Record) -> Record:
    """Register a package: the next version of its group, or one without versions under its own name."""
    if "ModelPackageGroupName" not in request:
        record = store.create("ModelPackage", request["ModelPackageName"], request, **COMPLETED)
    else:
        with store.lock:
            group = store.find("ModelPackageGroup", request["ModelPackageGroupName"])
            version = group["LastVersion"] = group["LastVersion"] + 1
        name, approval = group["ModelPackageGroupName"], request.get("ModelApprovalStatus", "PendingManualApproval")
        record = store.create(
            "ModelPackage",
            f"{name}/{version}",
            request,
            ModelPackageVersion=version,
            ModelPackageGroupName=name,
            ModelApprovalStatus=approval,
            **COMPLETED,
        )
        del record["ModelPackageName"]  # a versioned package has none
    api.announce("ModelPackage", record, store.iso)
    return {"ModelPackageArn": record["ModelPackageArn"]}


@operation("UpdateModelPackage")
def update_package(request: Record) -> Record:
    """Approve or reject a version, or change its metadata."""
    record = store.find("ModelPackage", request["ModelPackageArn"])
    changed = {key: value for key, value in request.items() if key not in ("ModelPackageArn", "ClientToken")}
    removed = changed.pop("CustomerMetadataPropertiesToRemove", [])
    if removed or "CustomerMetadataProperties" in changed:
        merged = record.get("CustomerMetadataProperties", {}) | changed.get("CustomerMetadataProperties", {})
        changed["CustomerMetadataProperties"] = {key: merged[key] for key in merged if key not in removed}
    store.update(record, **changed)
    api.announce("ModelPackage", record, store.iso, UpdatedModelPackageFields=sorted(changed))
    return {"ModelPackageArn": record["ModelPackageArn"]}


@operation("ListModelPackages")
def list_packages(request: Record) -> Record:
    """Packages, newest first; without a group or a type, those without versions, as on AWS."""
    kind = request.get("ModelPackageType", "Versioned" if "ModelPackageGroupName" in request else "Unversioned")
    filters = {key: value for key, value in request.items() if key != "ModelPackageType"}
    found = [
        record
        for record in api.selected("ModelPackage", filters)
        if kind == "Both" or ("ModelPackageVersion" in record) == (kind == "Versioned")
    ]
    return api.page("ListModelPackages", request, found)
