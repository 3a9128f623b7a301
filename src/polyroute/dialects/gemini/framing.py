"""Upstream bytes → JSON texts of chunks, whether the stream is events (`alt=sse`) or one growing array."""

from __future__ import annotations

import re

from polyroute.dialects.sse import SseDecoder

_TOKEN = re.compile(rb'["\\{}\[\]]')
_OPEN, _CLOSE = b"{[", b"}]"


class ArrayDecoder:
    """Incremental splitter of a JSON array, or of objects one after the other, into its objects."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._start = -1
        self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> list[bytes]:
        """The objects that are complete now."""
        self._buffer += data
        found: list[bytes] = []
        for match in _TOKEN.finditer(self._buffer, self._at):
            position = match.start()
            if position < self._at:
                continue  # an escaped character
            token = match.group()
            self._at = position + 1
            if token == b"\\":
                self._at = position + 2 if self._in_string else position + 1
            elif token == b'"':
                self._in_string = not self._in_string
            elif not self._in_string:
                self._bracket(token, position, found)
        self._at = max(self._at, len(self._buffer))
        if self._start < 0:
            self._at -= len(self._buffer)
            self._buffer.clear()
        elif self._start:
            del self._buffer[: self._start]
            self._at -= self._start
            self._start = 0
        return found

    def _bracket(self, token: bytes, position: int, found: list[bytes]) -> None:
        if self._start < 0:
            if token == b"{":
                self._start, self._depth = position, 1
            return  # brackets of the array itself
        self._depth += 1 if token in _OPEN else -1
        if self._depth == 0:
            found.append(bytes(self._buffer[self._start : position + 1]))
            self._start = -1

    @property
    def rest(self) -> bytes:
        """What is incomplete at the end."""
        return bytes(self._buffer)


class ChunkDecoder:
    """Finds out by the first byte how a stream is framed. `rest` is what was left incomplete at its end."""

    def __init__(self) -> None:
        self._events = SseDecoder()
        self._array: ArrayDecoder | None = None
        self._sniffed = False
        self.page = False
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The chunks that are complete now."""
        if not self._sniffed:
            start = data.lstrip()
            if start:
                self._sniffed = True
                self.page = start.startswith(b"<")
                self._array = ArrayDecoder() if start.startswith((b"[", b"{")) else None
        if self._array is not None:
            return self._array.feed(data)
        return [event.data for event in self._events.feed(data)]

    def close(self) -> list[bytes]:
        """What an event stream holds without its last blank line; it may have been cut there."""
        if self._array is not None:
            self.rest = self._array.rest
            return []
        return [event.data for event in self._events.close()]
