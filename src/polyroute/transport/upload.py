"""Long request bodies, taken a block at a time so that their progress can be watched."""

from __future__ import annotations

from collections.abc import Iterator

from polyroute.ports import Body
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure

BLOCK = 256 * 1024
"""Bytes of one block of a body that is in memory."""
LONG = 4 * BLOCK
"""A body in memory up to this size is sent in one go."""


def upload_blocks(body: bytes | Body) -> Iterator[bytes | memoryview]:
    """The body's bytes. Raises AttemptFailed (`internal`) when it cannot be read or is not as long as it said."""
    missing = len(body) if isinstance(body, bytes) else body.length
    try:
        for block in _slices(body) if isinstance(body, bytes) else body.chunks():
            missing -= len(block)
            if missing < 0:
                break
            yield block
    except OSError as error:
        raise _broken(f"cannot be read: {type(error).__name__}") from None
    if missing:
        raise _broken("is not as long as it said")


def _slices(body: bytes) -> Iterator[memoryview]:
    view = memoryview(body)
    for start in range(0, len(body), BLOCK):
        yield view[start : start + BLOCK]


def _broken(how: str) -> AttemptFailed:
    return AttemptFailed(Failure(kind=ErrorKind.INTERNAL, message=f"the request's body {how}"))
