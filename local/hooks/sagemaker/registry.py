"""Models and the model registry: groups, versioned packages, approval, and the event each change emits."""

import time

from local.hooks.sagemaker import api, store
from local.hooks.sagemaker.api import operation
from local.hooks.sagemaker.store import Record, SageMakerError, invalid


@operation("CreateModel", "ModelName PrimaryContainer ExecutionRoleArn EnableNetworkIsolation VpcConfig Tags")
def create_model(request: Record) -> Record:
    """Store a model; the package that it names must be approved."""
    part = request.get("PrimaryContainer", {})
    if not part.keys() & {"Image", "ModelPackageName"}:
        raise invalid("CreateModel: the PrimaryContainer needs an Image or a ModelPackageName.")
    if package := part.get("ModelPackageName"):
        approval = store.find("ModelPackage", package)["ModelApprovalStatus"]
        if approval != "Approved":
            raise invalid(f"CreateModel: {package} is {approval}, not Approved.")
    return store.create("Model", request["ModelName"], request)


@operation("CreateModelPackageGroup", "ModelPackageGroupName ModelPackageGroupDescription Tags")
def create_group(request: Record) -> Record:
    """Store a group."""
    done = {"ModelPackageGroupStatus": "Completed", "LastVersion": 0}
    return store.create("ModelPackageGroup", request["ModelPackageGroupName"], request, **done)


@operation("DeleteModelPackageGroup", "ModelPackageGroupName")
def delete_group(request: Record) -> Record:
    """Remove a group. Raises ConflictException while it has packages."""
    with store.lock:
        if api.selected("ModelPackage", request):
            message = f"{request['ModelPackageGroupName']} still contains model packages: delete each of them first."
            raise SageMakerError("ConflictException", message)
        return store.delete("ModelPackageGroup", request["ModelPackageGroupName"])


@operation(
    "CreateModelPackage",
    "ModelPackageGroupName ModelPackageDescription ModelApprovalStatus InferenceSpecification ModelMetrics "
    "DriftCheckBaselines MetadataProperties CustomerMetadataProperties ClientToken Tags",
)
def create_package(request: Record) -> Record:
    """Register a package: the next version of its group."""
    with store.lock:
        group = store.find("ModelPackageGroup", request.get("ModelPackageGroupName", ""))
        version = group["LastVersion"] = group["LastVersion"] + 1
    name = group["ModelPackageGroupName"]
    record = store.create(
        "ModelPackage",
        f"{name}/{version}",
        {"ModelApprovalStatus": "PendingManualApproval", **request},
        ModelPackageGroupName=name,
        ModelPackageVersion=version,
        ModelPackageStatus="Completed",
        ModelPackageStatusDetails={"ValidationStatuses": [], "ImageScanStatuses": []},
    )
    del record["ModelPackageName"]  # a versioned package has none
    api.announce("ModelPackage", record, store.iso)
    return record


@operation("UpdateModelPackage", "ModelPackageArn ModelApprovalStatus ApprovalDescription")
def update_package(request: Record) -> Record:
    """Approve or reject a package."""
    record = store.find("ModelPackage", request["ModelPackageArn"])
    changed = sorted(request.keys() - {"ModelPackageArn"})
    record.update(request, LastModifiedTime=time.time())
    api.announce("ModelPackage", record, store.iso, UpdatedModelPackageFields=changed)
    return record
