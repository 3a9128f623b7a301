"""The headers of answers: what is read of a provider's, and what the caller is told of the target."""

from __future__ import annotations

from functools import lru_cache

from polyroute.ports import Headers
from polyroute.types.plans import Target


def content_type(headers: Headers) -> bytes:
    """In lower case; empty where it is not said."""
    for name, value in headers:
        if name == b"content-type":
            return value.lower()
    return b""


@lru_cache(maxsize=1024)
def target_headers(target: Target) -> tuple[tuple[bytes, bytes], ...]:
    """Who answers."""
    return (
        (b"x-polyroute-provider", header_text(target.provider)),
        (b"x-polyroute-model", header_text(target.model)),
    )


def header_text(text: str) -> bytes:
    """Text as a header value: what a header cannot hold is percent-encoded or left out."""
    if text.isascii() and text.isprintable():
        return text.encode()
    return text.encode("ascii", "backslashreplace").replace(b"\r", b" ").replace(b"\n", b" ")
