"""Answers CloudFormation on behalf of a custom resource, whatever happens in it."""

import json
import logging
import traceback
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

_LONGEST_REASON = (
    500  # CloudFormation refuses an answer above 4,096 bytes (6 a character here), and then waits for an hour
)

log = logging.getLogger()
log.setLevel(logging.INFO)


def custom_resource(
    work: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> Callable[[Mapping[str, Any], Any], None]:
    """Wrap `work(event) -> attributes` as a handler that always answers: a silent one holds a stack for an hour.

    `work` may return "PhysicalResourceId" among its attributes to name the resource.
    """

    def handler(event: Mapping[str, Any], context: Any) -> None:
        answer = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
        answer["PhysicalResourceId"] = event.get("PhysicalResourceId", event["LogicalResourceId"])
        try:
            attributes = work(event)
            name = attributes.pop("PhysicalResourceId", answer["PhysicalResourceId"])
            if event["RequestType"] != "Delete":  # which must answer with the name it was given
                answer["PhysicalResourceId"] = name
            answer |= {"Status": "SUCCESS", "Data": attributes}
        except Exception as error:  # the stack must hear of any failure, and its reason
            log.error(traceback.format_exc())
            answer |= {
                "Status": "FAILED",
                "Reason": f"{str(error)[:_LONGEST_REASON]} (log stream {context.log_stream_name})",
            }
        _put(event["ResponseURL"], answer)

    return handler


def _put(url: str, answer: dict[str, Any]) -> None:
    request = urllib.request.Request(  # noqa: S310  the URL is CloudFormation's own
        url, data=json.dumps(answer).encode(), method="PUT", headers={"Content-Type": ""}
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        log.info("answered %s: HTTP %s", answer["Status"], response.status)
