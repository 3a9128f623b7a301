"""Absolute URLs taken apart: which origin to connect to, and the request line to send there."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

from polyroute.transport.failures import refused

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_METHOD = re.compile(r"[A-Z]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Address(msgspec.Struct, frozen=True):
    """Where one URL leads. `authority` is the Host header's value, `path` includes the query."""

    host: str
    port: int
    secure: bool
    authority: str
    path: str

    def start(self, method: str) -> bytes:
        """The request line and Host, without the last line's end."""
        if not _METHOD.fullmatch(method):
            raise refused("the request's method is invalid")
        return f"{method} {self.path} HTTP/1.1\r\nhost: {self.authority}".encode("ascii")


def parse_address(url: str) -> Address:
    """Raises AttemptFailed (`invalid_request`) for anything but an absolute http(s) URL in visible ASCII; the message does
    not repeat the URL, whose query may hold a credential."""
    if not _VISIBLE.fullmatch(url):
        raise refused("the upstream URL contains characters that must be percent-encoded")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refused("the upstream URL is malformed") from None
    scheme, host = parts.scheme, parts.hostname
    if scheme not in _DEFAULT_PORTS or not host:
        raise refused("the upstream URL must begin with http:// or https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise refused("the upstream URL must not contain a user name or password")
    if port is None:
        port = _DEFAULT_PORTS[scheme]
    name = f"[{host}]" if ":" in host else host
    authority = name if port == _DEFAULT_PORTS[scheme] else f"{name}:{port}"
    path = parts.path or "/"
    if parts.query:
        path = f"{path}?{parts.query}"
    return Address(host, port, scheme == "https", authority, path)
