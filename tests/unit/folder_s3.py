"""The calls of an S3 client that the Glue jobs make, over the folders that Spark reads as buckets."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError


class FolderS3:
    """Objects are files; `before_delete` and `after_put` may do what another writer would do at that moment."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders
        self.after_put: Callable[[], object] = lambda: None
        self.before_delete: Callable[[str], object] = lambda _key: None

    def get_paginator(self, operation: str) -> "FolderS3":
        assert operation == "list_objects_v2"
        return self

    def paginate(self, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:
        root = self._folders[Bucket]
        for path in sorted(root.rglob("*")):
            key = str(path.relative_to(root))
            # Spark's local file system leaves a checksum beside each file, as S3 does not
            if path.is_file() and key.startswith(Prefix) and path.suffix != ".crc":
                modified = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
                item = {"Key": key, "Size": path.stat().st_size, "LastModified": modified, "ETag": _etag(path)}
                yield {"Contents": [item]}

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        path = self._folders[Bucket] / Key
        if not path.exists():
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")
        return {"ETag": _etag(path)}

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        path = self._folders[Bucket] / Key
        if not path.exists():
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": path.open("rb")}

    def put_object(self, Bucket: str, Key: str, Body: bytes, ContentType: str = "") -> None:
        path = self._folders[Bucket] / Key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Body)
        path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
        self.after_put()

    def copy_object(self, Bucket: str, Key: str, CopySource: dict[str, str]) -> None:
        self.put_object(Bucket, Key, (self._folders[CopySource["Bucket"]] / CopySource["Key"]).read_bytes())

    def copy(self, CopySource: dict[str, str], Bucket: str, Key: str) -> None:
        self.copy_object(Bucket, Key, CopySource)

    def delete_object(self, Bucket: str, Key: str) -> None:
        self.before_delete(Key)
        (self._folders[Bucket] / Key).unlink(missing_ok=True)


def _etag(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
