"""Pictures to thumbnails: pure, no AWS."""

import io
import warnings

from PIL import Image, ImageOps

MOST_PIXELS = 100_000_000  # 300 MB once decoded, of the function's memory
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")


class NotAPictureError(ValueError):
    """The bytes are no picture of a known format, or one too large to decode; the message says which."""


def thumbnail(data: bytes, longest_side: int) -> bytes:
    """A JPEG of the picture, upright, at most `longest_side` pixels wide and high, without the camera's metadata."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is ours
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            if picture.width * picture.height > MOST_PIXELS:
                raise NotAPictureError(
                    f"{picture.width} x {picture.height} pixels; at most {MOST_PIXELS:,} are decoded"
                )
            picture.draft("RGB", (longest_side, longest_side))  # lets JPEG skip what will not be seen
            upright = ImageOps.exif_transpose(picture)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise NotAPictureError(f"not a readable picture ({', '.join(FORMATS)}): {error}") from error
    upright.thumbnail((longest_side, longest_side))
    written = io.BytesIO()
    _on_white(upright).save(written, "JPEG", quality=85, optimize=True)
    return written.getvalue()


def _on_white(picture: Image.Image) -> Image.Image:
    """Without transparency, which JPEG has not."""
    if picture.mode == "RGB":
        return picture
    layer = picture.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")
