"""Loopback counts as TLS. MiniStack 1.5.33 judges aws:SecureTransport by the scheme: CDK's buckets refuse its HTTP."""

from local.hooks import wrap


def install() -> None:
    """Report a secure transport for every request: the server listens on 127.0.0.1 alone."""
    from ministack import app

    wrap(app, "pin_request_origin", lambda original, source_ip, _secure: original(source_ip, True))
