"""Code against role: what the code calls and what its role allows are the same set, both ways."""

from checks.calls.judge import findings, not_judged

__all__ = ["findings", "not_judged"]
