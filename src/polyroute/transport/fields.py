"""HTTP header fields: looking one up, and writing the head of a request so that no value can break out of its line."""

from __future__ import annotations

import re

from polyroute.ports import Headers
from polyroute.transport.failures import refused

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OURS = frozenset((b"host", b"content-length", b"connection", b"transfer-encoding", b"upgrade", b"expect", b"te"))
_ACCEPT_ENCODING = b"accept-encoding"
_IDENTITY = b"\r\naccept-encoding: identity"
_ORDINARY_MAX = 1024

_ordinary: set[bytes] = set()
"""Names that passed `_check_name`: there are few, and each request uses the same ones."""


def header_value(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a header; `name` in lower case."""
    for field, value in headers:
        if field == name:
            return value
    return None


def encode_head(start: bytes, headers: Headers) -> bytes:
    """The head of a request without its end: `start` (request line and Host, without the last line's end) and the fields.

    Asks for an uncompressed answer unless `headers` say otherwise. Raises AttemptFailed (`invalid_request`) when a name or
    value cannot stand in a header.
    """
    lines = [start]
    encoding = _IDENTITY
    for name, value in headers:
        if name not in _ordinary and _check_name(name) == _ACCEPT_ENCODING:
            encoding = b""
        lines.append(name + b": " + value)
    lines.append(b"")
    lines[0] = start + encoding
    head = b"\r\n".join(lines)
    ends = len(headers) + 2 + (encoding != b"")
    if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise refused("a header of the request contains a line break or NUL")
    return head


def _check_name(name: bytes) -> bytes:
    """The name in lower case. Raises AttemptFailed when the caller may not set it."""
    if not _TOKEN.fullmatch(name):
        raise refused("a header of the request has an invalid name")
    lower = name.lower()
    if lower in _OURS:
        raise refused(f"the header {lower.decode()} is written by the transport")
    if lower != _ACCEPT_ENCODING and len(_ordinary) < _ORDINARY_MAX:
        _ordinary.add(name)
    return lower
