"""What tests of delivery streams share: a processor, a source, and reading what was delivered."""

import io
import time
import zipfile
from collections.abc import Callable
from typing import Any

BUCKET = "firehose-raw"
ROLE = "arn:aws:iam::000000000000:role/delivery"
HANDLER = """
import base64, json

def handler(event, context):
    answers = []
    for record in event["records"]:
        answer = {"recordId": record["recordId"], "result": "Ok"}
        data = json.loads(base64.b64decode(record["data"]))
        if data.get("kind") == "crash":
            raise RuntimeError("on purpose")
        if data.get("kind") in ("Dropped", "ProcessingFailed"):
            answer["result"] = data["kind"]
        elif data.get("kind") == "lost":
            continue
        else:
            answer["data"] = base64.b64encode((json.dumps(data) + "\\n").encode()).decode()
            if "day" in data:
                answer["metadata"] = {"partitionKeys": {"day": data["day"]}}
        answers.append(answer)
    return {"records": answers}
"""


def created(client: Callable[[str], Any], name: str, code: str, **parameters: str) -> dict[str, Any]:
    """A delivery stream's processing by a new function, with these parameters of it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("handler.py", code)
    function = client("lambda").create_function(
        FunctionName=name, Runtime="python3.12", Handler="handler.handler", Role=ROLE, Timeout=60,
        Code={"ZipFile": archive.getvalue()},
    )  # fmt: skip
    parameters = {"LambdaArn": function["FunctionArn"], "NumberOfRetries": "1", "BufferSizeInMBs": "0.2"} | parameters
    listed = [{"ParameterName": name, "ParameterValue": value} for name, value in parameters.items()]
    return {"Enabled": True, "Processors": [{"Type": "Lambda", "Parameters": listed}]}


def stream(client: Callable[[str], Any], name: str, shards: int) -> dict[str, Any]:
    """A delivery stream's settings for a new stream as its source."""
    client("kinesis").create_stream(StreamName=name, ShardCount=shards)
    arn = client("kinesis").describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    source = {"KinesisStreamARN": arn, "RoleARN": ROLE}
    return {"DeliveryStreamType": "KinesisStreamAsSource", "KinesisStreamSourceConfiguration": source}


def objects(client: Any, prefix: str) -> dict[str, bytes]:
    """The bodies of the bucket's objects below a prefix, by key."""
    s3 = client("s3")
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return {item["Key"]: s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read() for item in found}


def eventually(found: Callable[[], Any], seconds: float = 60) -> Any:
    """The first result that counts as true."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, "nothing was delivered"
        time.sleep(0.1)
    return result
