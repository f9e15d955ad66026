"""Loopback counts as TLS. MiniStack 1.5.33 judges aws:SecureTransport by the scheme: CDK's buckets refuse its HTTP."""

from collections.abc import Callable

from local.hooks import swap


def install() -> None:
    """Report a secure transport for every request: the server listens on 127.0.0.1 alone."""
    from ministack import app

    def make(original: Callable[[str, bool], None]) -> Callable[[str, bool], None]:
        return lambda source_ip, _secure: original(source_ip, True)

    swap(app, "pin_request_origin", make)
