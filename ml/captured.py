"""Reads captured requests of a time window from S3, in the format of SageMaker's data capture.

One JSON record a line, in objects <endpoint>/<variant>/yyyy/mm/dd/hh/<name>.jsonl (UTC):
docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ml.requests import JSON_LINES, BadRequest, Row, parse

# Why a line can't be read. Reasons go into reports and logs, where no request's text may: no error's message is one.
NOT_JSON, NO_CAPTURE, NO_REQUEST = "line: not JSON", "line: not a captured record", "request: not JSON objects"
# CustomAttributes of a request whose client knows that it lacks columns: what is missing there is no drift. SageMaker
# captures them as a list with the whole header in it, as AWS's own example shows:
# https://github.com/aws-samples/amazon-sagemaker-data-quality-monitor-custom-preprocessing
INCOMPLETE = "incomplete"
READERS = 10  # as many as a boto3 client keeps connections; captured objects are many and small
SLACK = timedelta(hours=1)  # an object is named by when it was begun, its records by when each was answered
_HOUR_IN_KEY = re.compile(r"/(\d{4}/\d{2}/\d{2}/\d{2})/[^/]+\.jsonl$")


@dataclass(frozen=True)
class Window:
    """From `start` up to but without `end`, in UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise ValueError(
                f"the window starts at {self.start.isoformat()} and ends at {self.end.isoformat()}, not later"
            )

    def has(self, time: datetime) -> bool:
        """Whether a time is inside."""
        return self.start <= time < self.end


@dataclass
class Captured:
    """What a window holds: the rows of its requests, how many requests, and the lines that can't be read by reason.

    Requests that say that they are `incomplete` are counted apart, without their rows.
    """

    rows: list[Row] = field(default_factory=list)
    requests: int = 0
    incomplete: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)


def instant(text: str) -> datetime:
    """A time in UTC from ISO 8601, UTC when it names no offset. Raises ValueError."""
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def read(s3: Any, uri: str, window: Window) -> Captured:
    """Every captured request below `uri` (s3://bucket/endpoint/) that was answered in the window."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    keys = list(keys_of(s3, bucket, prefix, window))
    with ThreadPoolExecutor(READERS) as pool:
        texts = pool.map(lambda key: s3.get_object(Bucket=bucket, Key=key)["Body"].read(), keys)
        return collect((line for text in texts for line in text.split(b"\n") if line.strip()), window)


def keys_of(s3: Any, bucket: str, prefix: str, window: Window) -> Iterator[str]:
    """The objects that can hold records of the window; history outside of it is not even listed."""
    pages = s3.get_paginator("list_objects_v2")
    variants = [
        found["Prefix"]
        for page in pages.paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        for found in page.get("CommonPrefixes", ())
    ]
    first, last = window.start - SLACK, window.end + SLACK
    days = [first.date() + timedelta(days=day) for day in range((last.date() - first.date()).days + 1)]
    for folder in (f"{variant}{day:%Y/%m/%d}/" for variant in variants for day in days):
        for page in pages.paginate(Bucket=bucket, Prefix=folder):
            for item in page.get("Contents", ()):
                hour = _HOUR_IN_KEY.search(item["Key"])
                if hour and f"{first:%Y/%m/%d/%H}" <= hour[1] <= f"{last:%Y/%m/%d/%H}":
                    yield item["Key"]


def collect(lines: Iterable[bytes], window: Window) -> Captured:
    """The records of the window among these lines; a line that is no record is counted, whatever its time was."""
    found = Captured()
    for line in lines:
        try:
            record = json.loads(line)
            time = instant(record["eventMetadata"]["inferenceTime"])
            if not window.has(time):
                continue
            if INCOMPLETE in (record["eventMetadata"].get("customAttributes") or ()):
                found.incomplete += 1
                continue
            rows = request_rows(record["captureData"]["endpointInput"])
        except BadRequest:
            found.unreadable[NO_REQUEST] += 1
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            found.unreadable[NOT_JSON] += 1
        except (ValueError, KeyError, TypeError, OverflowError):
            found.unreadable[NO_CAPTURE] += 1
        else:
            found.requests += 1
            found.rows += rows
    return found


def request_rows(captured: Any) -> list[Row]:
    """The rows of a record's endpointInput.

    Raises BadRequest for a request that is none, KeyError, TypeError or ValueError for another format.
    """
    data, content_type = captured["data"], captured.get("observedContentType", JSON_LINES)
    if not isinstance(data, str) or not isinstance(content_type, str):
        raise TypeError("data and observedContentType must be text")
    # Content types that the endpoint's capture configuration does not name arrive as base64.
    body = base64.b64decode(data, validate=True) if captured["encoding"] == "BASE64" else data
    return parse(body, content_type)
