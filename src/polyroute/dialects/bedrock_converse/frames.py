"""The frames of `application/vnd.amazon.eventstream`, in any split of the bytes.

A frame: total length, length of headers, CRC-32 of these eight bytes, headers, payload, CRC-32 of everything before it; all
numbers are four bytes, big-endian. A header: length of name (1), name, type (1), value; strings (type 7) have a length (2).
"""

from __future__ import annotations

import struct
import zlib

import msgspec

_PRELUDE = struct.Struct(">III")
_SMALLEST = 16
_LARGEST = 24 * 1024 * 1024
_FIXED_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # booleans, integers, timestamp, uuid
_BYTES, _STRING = 6, 7


class Frame(msgspec.Struct, frozen=True):
    """One message: its string headers by name, and its payload."""

    headers: dict[str, str]
    payload: bytes


class BrokenFrame(Exception):
    """The bytes are no such stream, or were damaged on the way."""


class FrameDecoder:
    """Incremental decoder that checks both checksums."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises BrokenFrame."""
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        position = 0
        while len(buffer) - position >= _PRELUDE.size:
            total, headers_length, checksum = _PRELUDE.unpack_from(buffer, position)
            if zlib.crc32(buffer[position : position + 8]) != checksum:
                raise BrokenFrame("the checksum of a frame's prelude is wrong")
            if not _SMALLEST + headers_length <= total <= _LARGEST:
                raise BrokenFrame("a frame's lengths are impossible")
            if len(buffer) - position < total:
                break
            frames.append(_parse(bytes(buffer[position : position + total]), headers_length))
            position += total
        del buffer[:position]
        return frames


def _parse(frame: bytes, headers_length: int) -> Frame:
    if zlib.crc32(frame[:-4]) != int.from_bytes(frame[-4:], "big"):
        raise BrokenFrame("the checksum of a frame is wrong")
    end = _PRELUDE.size + headers_length
    return Frame(_headers(frame, _PRELUDE.size, end), frame[end:-4])


def _headers(frame: bytes, position: int, end: int) -> dict[str, str]:
    headers: dict[str, str] = {}
    try:
        while position < end:
            name_end = position + 1 + frame[position]
            name = frame[position + 1 : name_end].decode()
            kind = frame[name_end]
            position = name_end + 1
            if kind in {_BYTES, _STRING}:
                size = int.from_bytes(frame[position : position + 2], "big")
                position += 2
                if kind == _STRING:
                    headers[name] = frame[position : position + size].decode()
                position += size
            else:
                position += _FIXED_SIZES[kind]
    except (IndexError, KeyError, UnicodeDecodeError):
        raise BrokenFrame("a frame's headers cannot be read") from None
    if position != end:
        raise BrokenFrame("a frame's headers cannot be read")
    return headers


def render_frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One frame with string headers."""
    rendered = bytearray()
    for name, value in headers.items():
        name_bytes, value_bytes = name.encode(), value.encode()
        rendered += bytes((len(name_bytes),)) + name_bytes + bytes((_STRING,))
        rendered += len(value_bytes).to_bytes(2, "big") + value_bytes
    lengths = struct.pack(">II", _SMALLEST + len(rendered) + len(payload), len(rendered))
    frame = lengths + zlib.crc32(lengths).to_bytes(4, "big") + bytes(rendered) + payload
    return frame + zlib.crc32(frame).to_bytes(4, "big")


def event_frame(event: str, payload: bytes) -> bytes:
    """A frame of an ordinary event."""
    return render_frame({":event-type": event, ":content-type": "application/json", ":message-type": "event"}, payload)


def exception_frame(exception: str, payload: bytes) -> bytes:
    """A frame that ends a stream with an error."""
    return render_frame(
        {":exception-type": exception, ":content-type": "application/json", ":message-type": "exception"}, payload
    )
