"""Server-sent events and newline-delimited JSON: bytes in any split ⇄ events."""

from __future__ import annotations

import msgspec


class ServerEvent(msgspec.Struct, frozen=True):
    """One event: its `event:` name ("" when there is none) and its `data:` lines joined by newlines."""

    name: str
    data: bytes


class SseDecoder:
    """Incremental decoder of an event stream (WHATWG HTML, 9.2): accepts LF, CRLF and CR, comments, missing spaces and a
    byte-order mark. Lines are never split on other Unicode separators."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False

    def feed(self, data: bytes) -> list[ServerEvent]:
        """The events that are complete now."""
        if not self._started and data:
            self._started = True
            data = data.removeprefix(b"\xef\xbb\xbf")
        buffer = self._rest + data if self._rest else data
        if b"\r" in buffer:
            half = b"\r" if buffer.endswith(b"\r") else b""  # may be the first half of CRLF
            buffer = buffer[: len(buffer) - len(half)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + half
        blocks = buffer.split(b"\n\n")
        self._rest = blocks.pop()
        return [event for block in blocks if (event := _parse_block(block)) is not None]

    def close(self) -> list[ServerEvent]:
        """The stream ended: what is left, where a server omits the last blank line."""
        block, self._rest = self._rest.replace(b"\r", b"\n"), b""
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
