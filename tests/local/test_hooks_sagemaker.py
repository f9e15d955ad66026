"""The SageMaker hook's API against boto3: requests, registry, jobs and endpoints."""

import io
import json
import os
import tarfile
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local import tools
from local.cloud import Cloud
from tests.local.sagemaker_fake import (
    ACCOUNT,
    IMAGE,
    ROLE,
    Client,
    Events,
    in_service,
    package,
    prepared,
    processed,
    processing,
    serving,
    trained,
    training,
    within,
)


def test_what_it_does_not_do_is_refused_by_name(sagemaker: Any) -> None:
    with pytest.raises(ClientError, match=r"UnknownOperationException.*ListDomains is not in local/hooks"):
        sagemaker.list_domains()
    with pytest.raises(ClientError, match="the local cloud does not do CheckpointConfig"):
        sagemaker.create_training_job(**training(CheckpointConfig={"S3Uri": "s3://fake/checkpoints"}))
    piped = {"TrainingImage": IMAGE, "TrainingInputMode": "Pipe"}
    with pytest.raises(ClientError, match='does not do "TrainingInputMode": "Pipe"'):
        sagemaker.create_training_job(**training(AlgorithmSpecification=piped))


def test_a_field_that_is_missing_is_named(cloud: Any) -> None:
    headers = {"X-Amz-Target": "SageMaker.CreateModel", "Content-Type": "application/x-amz-json-1.1"}
    request = urllib.request.Request(cloud.endpoint, b"{}", headers)  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)  # noqa: S310
    answer = json.loads(refused.value.read())
    assert answer["__type"] == "ValidationException"
    assert 'Missing required parameter in input: "ModelName"' in answer["Message"]


def test_models_are_kept_listed_and_deleted(sagemaker: Any) -> None:
    request = {"ModelName": "kept", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}}
    arn = sagemaker.create_model(**request, Tags=[{"Key": "a", "Value": "1"}])["ModelArn"]
    assert arn == f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:model/kept"
    with pytest.raises(ClientError, match="already existing"):
        sagemaker.create_model(**request)
    described = sagemaker.describe_model(ModelName="kept")
    assert request.items() <= described.items()
    assert "Tags" not in described
    sagemaker.create_model(**request | {"ModelName": "kept-later"})
    newest = sagemaker.list_models(SortBy="CreationTime")["Models"]
    assert [model["ModelName"] for model in newest[:2]] == ["kept-later", "kept"]
    with pytest.raises(ClientError, match="does not do NameContains"):
        sagemaker.list_models(NameContains="kept")
    sagemaker.delete_model(ModelName="kept-later")
    sagemaker.delete_model(ModelName="kept")
    with pytest.raises(ClientError, match=r"ValidationException.*Could not find model \"kept\""):
        sagemaker.describe_model(ModelName="kept")


def test_the_registry_versions_approves_and_tells(sagemaker: Any, events: Events) -> None:
    group = sagemaker.create_model_package_group(ModelPackageGroupName="late")["ModelPackageGroupArn"]
    given = {
        "InferenceSpecification": {
            "Containers": [{"Image": IMAGE}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        }
    }
    first, second = (
        sagemaker.create_model_package(**given, **more)["ModelPackageArn"]
        for more in (
            {"ModelPackageGroupName": "late"},
            {"ModelPackageGroupName": group, "ModelApprovalStatus": "Approved"},
        )
    )
    assert [arn.rpartition(":model-package/")[2] for arn in (first, second)] == ["late/1", "late/2"]
    listed = sagemaker.list_model_packages(ModelPackageGroupName="late")["ModelPackageSummaryList"]
    assert [item["ModelPackageVersion"] for item in listed] == [2, 1]
    approved = sagemaker.list_model_packages(ModelPackageGroupName="late", ModelApprovalStatus="Approved")
    assert [item["ModelPackageArn"] for item in approved["ModelPackageSummaryList"]] == [second]

    with pytest.raises(ClientError, match="PendingManualApproval, not Approved"):
        sagemaker.create_model(ModelName="early", ExecutionRoleArn=ROLE, PrimaryContainer={"ModelPackageName": first})
    sagemaker.update_model_package(ModelPackageArn=first, ModelApprovalStatus="Approved", ApprovalDescription="good")
    assert sagemaker.describe_model_package(ModelPackageName=first)["ModelApprovalStatus"] == "Approved"
    told = [event["detail"] for event in events("SageMaker Model Package State Change")]
    assert [(detail["ModelPackageVersion"], detail["ModelApprovalStatus"]) for detail in told] == [
        (1, "PendingManualApproval"),
        (2, "Approved"),
        (1, "Approved"),
    ]
    assert told[2]["UpdatedModelPackageFields"] == ["ApprovalDescription", "ModelApprovalStatus"]
    wanted = {"ModelPackageArn": first, "ModelPackageGroupName": "late", "ModelPackageStatus": "Completed"}
    assert wanted.items() <= told[2].items()

    with pytest.raises(ClientError, match="ConflictException"):
        sagemaker.delete_model_package_group(ModelPackageGroupName="late")
    for arn in (first, second):
        sagemaker.delete_model_package(ModelPackageName=arn)
    sagemaker.delete_model_package_group(ModelPackageGroupName="late")
    with pytest.raises(ClientError, match="Could not find model package group"):
        sagemaker.describe_model_package_group(ModelPackageGroupName="late")


def test_training_keeps_the_container_contract(aws: Client, sagemaker: Any, events: Events) -> None:
    job = trained(sagemaker, training(TrainingJobName="good", HyperParameters={"answer": "yes"}))
    assert job["TrainingJobStatus"] == "Completed", job
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == "s3://fake/out/good/output/model.tar.gz"
    body = aws("s3").get_object(Bucket="fake", Key="out/good/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        for member, text in (("answer.txt", "yes"), ("rows.json", '["a.csv", "deep"]')):
            assert (file := archive.extractfile(f"./{member}")) and file.read().decode() == text
    streams = aws("logs").describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="good/")
    lines = aws("logs").get_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=streams["logStreams"][0]["logStreamName"]
    )["events"]
    assert lines[0]["message"] == "training"
    told = [event["detail"] for event in events("SageMaker Training Job State Change")]
    assert [detail["TrainingJobStatus"] for detail in told] == ["InProgress", "Completed"]
    assert told[1]["LastModifiedTime"] > 1_700_000_000_000  # milliseconds


def test_training_fails_and_times_out_with_a_reason(sagemaker: Any) -> None:
    asked = {
        "a": training(HyperParameters={"fail": "no rows left"}),
        "b": training(HyperParameters={"sleep": "30"}, StoppingCondition={"MaxRuntimeInSeconds": 1}),
        "c": training()
        | {"AlgorithmSpecification": {"TrainingImage": IMAGE.replace("fake:1", "fake:2"), "TrainingInputMode": "File"}},
    }
    with ThreadPoolExecutor() as pool:
        jobs = dict(zip(asked, pool.map(lambda request: trained(sagemaker, request), asked.values()), strict=True))
    assert jobs["a"]["TrainingJobStatus"] == "Failed"
    assert jobs["a"]["FailureReason"].startswith("AlgorithmError: no rows left, exit code: 3")
    assert jobs["b"]["TrainingJobStatus"] == "Stopped"
    assert "MaxRuntimeInSeconds, 1," in jobs["b"]["FailureReason"]
    assert "fake:2 is not in ECR" in jobs["c"]["FailureReason"]


def test_processing_moves_its_inputs_and_outputs(aws: Client, sagemaker: Any, events: Events) -> None:
    sagemaker.create_processing_job(**processing(ProcessingJobName="good"))
    assert processed(sagemaker, "good")["ProcessingJobStatus"] == "Completed", processed(sagemaker, "good")
    body = aws("s3").get_object(Bucket="fake", Key="processed/joined.txt")["Body"].read()
    assert body == b"1\n2\n"  # in/ alone: inner/ is another folder
    told = [event["detail"]["ProcessingJobStatus"] for event in events("SageMaker Processing Job State Change")]
    assert told == ["InProgress", "Completed"]

    sagemaker.create_processing_job(**processing(ProcessingJobName="bad", Environment={"FAIL": "too few rows"}))
    failed = processed(sagemaker, "bad")
    assert failed["ProcessingJobStatus"] == "Failed"
    assert "too few rows, exit code: 1" in failed["FailureReason"]

    nothing = processing(ProcessingJobName="empty")
    nothing["ProcessingInputs"][0]["S3Input"]["S3Uri"] = "s3://fake/nothing"
    sagemaker.create_processing_job(**nothing)
    assert "No S3 objects found" in processed(sagemaker, "empty")["FailureReason"]


def test_an_endpoint_answers_with_its_model(aws: Client, sagemaker: Any, events: Events) -> None:
    serving(sagemaker, "one", {"Image": IMAGE, "ModelDataUrl": package(aws, "endpoint", "from the package")})
    sagemaker.create_endpoint(EndpointName="one", EndpointConfigName="one")
    described = in_service(sagemaker, "one")
    assert described["EndpointStatus"] == "InService", described

    runtime = aws("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName="one", Body=b"x", ContentType="text/csv")
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("application/json", "AllTraffic")
    assert {"answer": "from the package", "type": "text/csv"}.items() <= json.loads(answer["Body"].read()).items()
    with pytest.raises(ClientError, match="ModelError") as wrong:
        runtime.invoke_endpoint(EndpointName="one", Body=b"boom")
    assert wrong.value.response["OriginalStatusCode"] == 500
    assert wrong.value.response["OriginalMessage"] == "it went wrong"
    with pytest.raises(ClientError, match=r"ValidationError.*Endpoint three not found"):
        runtime.invoke_endpoint(EndpointName="three", Body=b"x")

    sagemaker.delete_endpoint(EndpointName="one")
    with pytest.raises(ClientError, match="not found"):
        runtime.invoke_endpoint(EndpointName="one", Body=b"x")
    told = [event["detail"]["EndpointStatus"] for event in events("SageMaker Endpoint State Change")]
    assert told == ["CREATING", "IN_SERVICE", "DELETING"]


def test_an_update_fails_no_request_and_a_failing_one_changes_nothing(aws: Client, sagemaker: Any) -> None:
    serving(sagemaker, "old", {"Image": IMAGE, "Environment": {"ANSWER": "old"}})
    serving(sagemaker, "new", {"Image": IMAGE, "Environment": {"ANSWER": "new"}})
    serving(sagemaker, "broken", {"Image": IMAGE, "Environment": {"BROKEN": "1"}})
    sagemaker.create_endpoint(EndpointName="swap", EndpointConfigName="old")
    assert in_service(sagemaker, "swap")["EndpointStatus"] == "InService"
    answers, over, runtime = [], threading.Event(), aws("sagemaker-runtime")

    def ask() -> None:
        while not over.is_set():
            answers.append(json.loads(runtime.invoke_endpoint(EndpointName="swap", Body=b"x")["Body"].read())["answer"])

    with ThreadPoolExecutor(4) as pool:
        askers = [pool.submit(ask) for _ in range(4)]
        sagemaker.update_endpoint(EndpointName="swap", EndpointConfigName="broken")
        failed = in_service(sagemaker, "swap")
        within(30, lambda: len(answers) > 20)
        sagemaker.update_endpoint(EndpointName="swap", EndpointConfigName="new")
        done = in_service(sagemaker, "swap")
        within(30, lambda: answers[-1] == "new")
        over.set()
    for asker in askers:
        asker.result()
    assert (failed["EndpointStatus"], failed["EndpointConfigName"]) == ("InService", "old")
    assert "did not pass the ping health check" in failed["FailureReason"]
    assert "no such model format" in failed["FailureReason"]
    assert done["EndpointConfigName"] == "new"
    assert "FailureReason" not in done
    assert set(answers) == {"old", "new"}
    sagemaker.delete_endpoint(EndpointName="swap")


def test_a_reset_ends_the_containers(tmp_path: Path) -> None:
    with Cloud(tmp_path, tools.free_port()) as own:
        client = prepared(own)
        serving(client("sagemaker"), "gone", {"Image": IMAGE})
        client("sagemaker").create_endpoint(EndpointName="gone", EndpointConfigName="gone")
        in_service(client("sagemaker"), "gone")
        answer = client("sagemaker-runtime").invoke_endpoint(EndpointName="gone", Body=b"x")
        process = json.loads(answer["Body"].read())["process"]
        os.kill(process, 0)
        urllib.request.urlopen(f"{own.endpoint}/_ministack/reset", b"")  # noqa: S310
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
        assert client("sagemaker").list_models()["Models"] == []
