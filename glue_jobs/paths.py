"""s3:// paths."""

from urllib.parse import urlparse


def split_path(path: str) -> tuple[str, str]:
    """Return the bucket and the key, or prefix, of an s3:// path."""
    parsed = urlparse(path)
    return parsed.netloc, parsed.path.removeprefix("/")


def overlap(source: str, target: str) -> bool:
    """Whether one of two folders is the other or lies in it: to replace one would take what is being read."""
    first, second = (f"{path.rstrip('/')}/" for path in (source, target))
    return first.startswith(second) or second.startswith(first)
