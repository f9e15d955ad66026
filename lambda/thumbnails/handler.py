"""Makes a thumbnail of each new picture, straight into S3 One Zone-IA: it can be made again if its zone is lost."""

import json
import os
from typing import Any
from urllib.parse import quote

import boto3
import logic

s3 = boto3.client("s3")


def handler(event: dict[str, Any], context: object) -> None:
    """Answer EventBridge's "Object Created". Raises NotAPictureError, which names the object, for what is none.

    The thumbnail has the picture's key and ".jpg" after it, and always the same bytes: an event that comes twice
    changes nothing, nor does one of a picture that has been replaced, since the newest is read.
    """
    bucket, key = event["detail"]["bucket"]["name"], event["detail"]["object"]["key"]
    picture = s3.get_object(Bucket=bucket, Key=key)
    try:
        thumbnail = logic.thumbnail(picture["Body"].read(), int(os.environ["LONGEST_SIDE"]))
    except logic.NotAPictureError as error:
        raise logic.NotAPictureError(f"s3://{bucket}/{key}: {error}") from error
    s3.put_object(
        Bucket=os.environ["THUMBNAILS_BUCKET"],
        Key=f"{key}.jpg",
        Body=thumbnail,
        ContentType="image/jpeg",
        StorageClass="ONEZONE_IA",
        Metadata={"source": quote(f"s3://{bucket}/{key}")},
    )
    print(json.dumps({"source": key, "bytes": picture["ContentLength"], "thumbnail_bytes": len(thumbnail)}))
