"""Telling a head that came before on the same connection: clients send the same lines with each request, and only the length
of the body changes. Reading them once saves more than half of what a request costs the server, the more the longer they are.
"""

from __future__ import annotations

from polyroute.api.requests import Head
from polyroute.types.operations import Dialect

_NAME = b"\r\ncontent-length:"
_END = b"\r\n\r\n"
_DIGITS = 7
"""No longer length is told: bodies of the lean way have at most a megabyte."""


class KnownHead:
    """What the parser made of a head, and the bytes before and behind the length in it. Equal bytes mean the same again."""

    __slots__ = ("_after", "_before", "_latest", "_start", "dialect", "head", "keep_alive", "path")

    def __init__(
        self, before: bytes, after: bytes, *, path: str, dialect: Dialect, head: Head, keep_alive: bool
    ) -> None:
        self._before = before
        self._after = after
        self._start = len(before)
        self._latest = self._start + _DIGITS + len(after)
        self.path = path
        self.dialect = dialect
        self.head = head
        self.keep_alive = keep_alive

    def body(self, data: bytes) -> bytes | None:
        """The body, when `data` is this head with one whole body behind it; else None."""
        if not data.startswith(self._before):
            return None
        start, after = self._start, self._after
        end = data.find(after, start, self._latest)
        length = data[start:end]
        if not length.isdigit() or end < 0:
            return None
        body = data[end + len(after) :]
        return body if len(body) == int(length) else None


def split_head(data: bytes) -> tuple[bytes, bytes] | None:
    """The bytes of a head before and behind the digits of its length; None when `data` is anything but a head that has one
    length and exactly such a body behind it."""
    end = data.find(_END) + len(_END)
    if end < len(_END):
        return None
    head = data[:end]
    start = head.lower().find(_NAME)
    if start < 0 or head.lower().find(_NAME, start + 1) >= 0:
        return None
    start += len(_NAME)
    while head[start : start + 1] == b" ":
        start += 1
    stop = head.find(b"\r", start)
    length = head[start:stop]
    if not length.isdigit() or len(length) > _DIGITS or len(data) - end != int(length):
        return None
    return head[:start], head[stop:]
