"""Server-sent events and newline-delimited JSON: bytes in any split ⇄ events."""

from __future__ import annotations

import msgspec

_CR = ord("\r")  # as a number: `in` is quick for those, and makes an exception on its way for bytes


class ServerEvent(msgspec.Struct, frozen=True):
    """One event: its `event:` name ("" when there is none) and its `data:` lines joined by newlines."""

    name: str
    data: bytes


class SseDecoder:
    """Incremental decoder of an event stream (WHATWG HTML, 9.2): accepts LF, CRLF and CR, comments, missing spaces and a
    byte-order mark. Lines are never split on other Unicode separators."""

    __slots__ = ("_pieces", "_started", "_tail")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._tail = b""
        self._started = False

    def feed(self, data: bytes) -> list[ServerEvent]:
        """The events that are complete now. An event that comes in many pieces is joined once, at its end."""
        if not self._started and data:
            data = b"".join(self._pieces) + data
            self._pieces.clear()
            if len(data) < 3 and b"\xef\xbb\xbf".startswith(data):
                self._pieces.append(data)
                return []
            self._started = True
            data = data.removeprefix(b"\xef\xbb\xbf")
        if self._pieces:
            probe = self._tail + data
            self._pieces.append(data)
            if probe.find(b"\n\n") < 0 and _CR not in probe:
                self._tail = probe[-1:]
                return []
            data = b"".join(self._pieces)
            self._pieces.clear()
        if _CR in data:
            half = b"\r" if data.endswith(b"\r") else b""  # may be the first half of CRLF
            data = data[: len(data) - len(half)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + half
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        if rest:
            self._pieces.append(rest)
            self._tail = rest[-1:]
        return [event for block in blocks if (event := _parse_block(block)) is not None]

    def close(self) -> list[ServerEvent]:
        """The stream ended: what is left, where a server omits the last blank line."""
        block = b"".join(self._pieces).replace(b"\r", b"\n")
        self._pieces.clear()
        event = _parse_block(block)
        return [] if event is None else [event]


def _parse_block(block: bytes) -> ServerEvent | None:
    name = ""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode("utf-8", "replace")
        elif line == b"data":
            data.append(b"")
    if not data:
        return None
    return ServerEvent(name, data[0] if len(data) == 1 else b"\n".join(data))


def render_event(data: bytes, name: str = "") -> bytes:
    """One event as bytes; `data` must not hold line breaks (compact JSON does not)."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data) if name else b"data: %b\n\n" % data


class LineDecoder:
    """Incremental decoder of newline-delimited JSON: whole lines without their ending, empty ones left out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        return [line for raw in lines if (line := raw.strip(b"\r\t "))]

    def close(self) -> list[bytes]:
        """The last line, where it lacks its newline."""
        line, self._rest = self._rest.strip(b"\r\t "), b""
        return [line] if line else []
