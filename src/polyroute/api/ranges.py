"""Conditional and partial GETs of something that never changes: RFC 9110, sections 13 and 14, for one range."""

from __future__ import annotations

import re

import msgspec

_RANGE = re.compile(rb"bytes=(\d*)-(\d*)")


class Selection(msgspec.Struct, frozen=True):
    """What to send: `status` 200, 206, 304 or 416, and the bytes from `start` up to, not with, `stop`."""

    status: int
    start: int
    stop: int


def select(headers: list[tuple[bytes, bytes]], etag: bytes, size: int) -> Selection:
    """What a request's headers ask for. Several ranges, and units other than bytes, get the whole."""
    asked = {name: value for name, value in headers if name in (b"range", b"if-range", b"if-none-match")}
    known = asked.get(b"if-none-match")
    if known is not None and _matches(known, etag):
        return Selection(304, 0, 0)
    found = _RANGE.fullmatch(asked.get(b"range", b"").strip())
    condition = asked.get(b"if-range")
    if found is None or (condition is not None and condition.strip() != etag):
        return Selection(200, 0, size)
    first, last = found.group(1), found.group(2)
    if not first and not last:
        return Selection(200, 0, size)
    if len(first) > 18 or len(last) > 18:
        return Selection(416, 0, 0)
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), size if not last else min(size, int(last) + 1)
        if last and int(last) < int(first):
            return Selection(200, 0, size)  # no valid range: ignored
    return Selection(206, start, stop) if start < stop else Selection(416, 0, 0)


def _matches(condition: bytes, etag: bytes) -> bool:
    return condition.strip() == b"*" or any(part.strip().removeprefix(b"W/") == etag for part in condition.split(b","))
