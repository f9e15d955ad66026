"""s3:// paths; `s3` is a boto3 client."""

from argparse import ArgumentTypeError
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlparse


def folder_path(text: str) -> str:
    """The text of an argument that is to be a folder's path. Raises ArgumentTypeError for another."""
    if not text.startswith("s3://") or not text.endswith("/"):
        raise ArgumentTypeError(f"{text!r} is no folder: give s3://bucket/folder/, with a slash at the end")
    return text


def split_path(path: str) -> tuple[str, str]:
    """Return the bucket and the key, or prefix, of an s3:// path."""
    parsed = urlparse(path)
    return parsed.netloc, parsed.path.removeprefix("/")


def overlap(source: str, target: str) -> bool:
    """Whether one of two folders is the other or lies in it: to replace one would take what is being read."""
    first, second = (f"{path.rstrip('/')}/" for path in (source, target))
    return first.startswith(second) or second.startswith(first)


def list_objects(s3: Any, path: str) -> Iterator[dict[str, Any]]:
    """Each object under a path, as S3 lists it."""
    bucket, prefix = split_path(path)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Contents", [])


def list_visible(s3: Any, path: str) -> Iterator[dict[str, Any]]:
    """Those that Spark and Athena read: no name below the path begins with . or _, and none is a folder's mark."""
    prefix = split_path(path)[1]
    for item in list_objects(s3, path):
        names = item["Key"].removeprefix(prefix).split("/")
        if names[-1] and not any(name.startswith((".", "_")) for name in names):
            yield item
