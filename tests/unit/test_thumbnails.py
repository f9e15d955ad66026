"""The thumbnail function: One Zone-IA from the start, always the same bytes, and no thumbnail of what is no picture."""

import io
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws
from PIL import Image

PICTURES, THUMBNAILS, SIDE = "pictures", "thumbnails", 64
Modules = dict[str, ModuleType]


@pytest.fixture
def modules(import_lambda: Callable[[str], Modules], monkeypatch: pytest.MonkeyPatch) -> Modules:
    monkeypatch.setenv("THUMBNAILS_BUCKET", THUMBNAILS)
    monkeypatch.setenv("LONGEST_SIDE", str(SIDE))
    return import_lambda("thumbnails")


@pytest.fixture
def s3(modules: Modules) -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3")
        for bucket in (PICTURES, THUMBNAILS):
            client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield client


@pytest.mark.requirement("st-onezone-ia", "st-scenario1-thumbs")
def test_a_thumbnail_is_written_to_one_zone_ia(modules: Modules, s3: Any) -> None:
    key = "2013/é t/ai.png"
    s3.put_object(Bucket=PICTURES, Key=key, Body=_picture(400, 200))
    modules["handler"].handler(_created(key), None)
    written = s3.get_object(Bucket=THUMBNAILS, Key=f"{key}.jpg")
    assert written["StorageClass"] == "ONEZONE_IA"
    assert written["ContentType"] == "image/jpeg"
    assert Image.open(io.BytesIO(written["Body"].read())).size == (64, 32)


def test_an_event_that_comes_twice_changes_nothing(modules: Modules, s3: Any) -> None:
    s3.put_object(Bucket=PICTURES, Key="a.jpg", Body=_picture(300, 300, "JPEG"))
    seen = []
    for _ in range(2):
        modules["handler"].handler(_created("a.jpg"), None)
        listed = s3.list_objects_v2(Bucket=THUMBNAILS)["Contents"]
        seen.append([(each["Key"], each["ETag"]) for each in listed])
    assert seen[0] == seen[1]
    assert len(seen[0]) == 1


@pytest.mark.parametrize("kind", ["empty", "text", "broken", "cut off", "of another format"])
def test_what_is_no_picture_is_refused_by_name_and_leaves_nothing(modules: Modules, s3: Any, kind: str) -> None:
    body = {
        "empty": b"",
        "text": b"flights, not pictures",
        "broken": b"\x89PNG\r\n\x1a\n broken",
        "cut off": _picture(300, 300, "JPEG")[:-500],
        "of another format": _picture(10, 10, "GIF"),
    }[kind]
    s3.put_object(Bucket=PICTURES, Key="notes.txt", Body=body)
    with pytest.raises(modules["logic"].NotAPictureError, match=r"s3://pictures/notes\.txt: not a readable picture"):
        modules["handler"].handler(_created("notes.txt"), None)
    assert "Contents" not in s3.list_objects_v2(Bucket=THUMBNAILS)


def test_a_picture_too_large_to_decode_is_refused(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules["logic"], "MOST_PIXELS", 99)
    with pytest.raises(modules["logic"].NotAPictureError, match="10 x 10 pixels; at most 99 are decoded"):
        modules["logic"].thumbnail(_picture(10, 10), SIDE)


def test_a_small_picture_stays_as_small(modules: Modules) -> None:
    assert _opened(modules["logic"].thumbnail(_picture(10, 5), SIDE)).size == (10, 5)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "LA", "I;16"])
def test_every_kind_of_pixel_becomes_a_jpeg(modules: Modules, mode: str) -> None:
    written = io.BytesIO()
    Image.new(mode, (80, 80)).save(written, "PNG")
    thumbnail = _opened(modules["logic"].thumbnail(written.getvalue(), SIDE))
    assert (thumbnail.format, thumbnail.mode, thumbnail.size) == ("JPEG", "RGB", (64, 64))


def test_what_is_transparent_becomes_white(modules: Modules) -> None:
    written = io.BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(written, "PNG")
    assert _opened(modules["logic"].thumbnail(written.getvalue(), SIDE)).getpixel((4, 4)) == (255, 255, 255)


def test_a_thumbnail_is_upright_and_says_nothing_of_the_camera(modules: Modules) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x0110] = "a camera"
    written = io.BytesIO()
    Image.new("RGB", (200, 100)).save(written, "JPEG", exif=exif)
    thumbnail = _opened(modules["logic"].thumbnail(written.getvalue(), SIDE))
    assert thumbnail.size == (32, 64)
    assert not thumbnail.getexif()


def _picture(width: int, height: int, kind: str = "PNG") -> bytes:
    written = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(written, kind)
    return written.getvalue()


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def _created(key: str) -> dict[str, Any]:
    """What EventBridge says of a new object, as far as it is read; the key is not quoted there."""
    return {"detail-type": "Object Created", "detail": {"bucket": {"name": PICTURES}, "object": {"key": key}}}
