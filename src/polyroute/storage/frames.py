"""How records lie in a journal file, and how to read a file whose writer was killed.

A file is MAGIC, the place up to which the database has it (64 bits), then frames: marker, length of the payload, its CRC-32
(both 32 bits, all little endian), the payload. The marker lets a reader find the next whole frame behind a damaged one. Zeros
fill the file where nothing was written yet.
"""

from __future__ import annotations

from struct import Struct
from zlib import crc32

import msgspec

from polyroute.types.records import RequestRecord

MAGIC = b"PRJOURN2"
PLACE = Struct("<Q")
START = len(MAGIC) + PLACE.size
"""Where the first frame lies."""
MARKER = b"\xf5PR\xfa"  # 0xf5 and 0xfa appear in no UTF-8 text
HEADER = Struct("<4sII")

_LAST_COPIED = 16
"""A copy that was broken off left at least so many bytes of its end zero: no processor copies fewer at a time."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(RequestRecord)


def encode_frame(record: RequestRecord) -> bytes:
    """The record's frame. Raises UnicodeEncodeError or OverflowError for values that no encoding has."""
    payload = _encoder.encode(record)
    return HEADER.pack(MARKER, len(payload), crc32(payload)) + payload


def begin_file(place: int = START) -> bytes:
    """What a file starts with."""
    return MAGIC + PLACE.pack(place)


def read_frames(data: bytes, limit: int) -> tuple[list[RequestRecord], int]:
    """Up to `limit` records from the start of `data`, and how many bytes they took: up to the first frame that is not whole,
    or that holds no record."""
    records: list[RequestRecord] = []
    offset = 0
    while len(records) < limit and (end := _whole_frame(data, offset)) is not None:
        try:
            records.append(_decoder.decode(data[offset + HEADER.size : end]))
        except msgspec.DecodeError:
            break
        offset = end
    return records, offset


def count_frames(data: bytes) -> tuple[int, int]:
    """How many frames lie at the start of `data`, and how many bytes they take, by their headers alone."""
    count = offset = 0
    while offset + HEADER.size <= len(data):
        marker, length, _ = HEADER.unpack_from(data, offset)
        if marker != MARKER or offset + HEADER.size + length > len(data):
            break
        count, offset = count + 1, offset + HEADER.size + length
    return count, offset


def frame_size(data: bytes) -> int:
    """The whole size of the frame that starts `data`, of which at least the header is there."""
    length: int = HEADER.unpack_from(data)[1]
    return HEADER.size + length


class Salvage(msgspec.Struct, kw_only=True):
    """What could be read of a file. `torn` is the size of a last frame that was not written to its end; `damaged` counts
    stretches in the middle that are no frames."""

    records: list[RequestRecord] = msgspec.field(default_factory=list)
    torn: int = 0
    damaged: int = 0


def salvage(data: bytes) -> Salvage:
    """Every whole record of a stretch of frames, whatever its state."""
    found = Salvage()
    offset = 0
    while offset < len(data):
        end = _whole_frame(data, offset)
        if end is not None:
            try:
                found.records.append(_decoder.decode(data[offset + HEADER.size : end]))
            except msgspec.DecodeError:
                found.damaged += 1
            offset = end
            continue
        following = next_frame(data, offset + 1)
        written = len(data[offset:following].rstrip(b"\0"))
        if written and following == len(data) and _is_torn(data, offset):
            found.torn = written
        elif written:
            found.damaged += 1
        offset = following
    return found


def _whole_frame(data: bytes, offset: int) -> int | None:
    """Where the frame at `offset` ends, None when none is there or it is not whole."""
    if offset + HEADER.size > len(data):
        return None
    marker, length, checksum = HEADER.unpack_from(data, offset)
    end: int = offset + HEADER.size + length
    if marker != MARKER or not length or end > len(data) or crc32(data[offset + HEADER.size : end]) != checksum:
        return None
    return end


def next_frame(data: bytes, start: int) -> int:
    """Where the next whole frame begins, at or behind `start`; the end of the data when there is none."""
    while (start := data.find(MARKER, start)) >= 0:
        if _whole_frame(data, start) is not None:
            return start
        start += 1
    return len(data)


def _is_torn(data: bytes, offset: int) -> bool:
    """Whether the rest looks like one frame that was copied in part: cut off by the end of the file, or by zeros."""
    written = data[offset:].rstrip(b"\0")
    if len(written) < HEADER.size:
        return MARKER.startswith(written[: len(MARKER)])
    marker, length, _ = HEADER.unpack_from(data, offset)
    end = offset + HEADER.size + length
    return bool(marker == MARKER and (end > len(data) or not any(data[end - _LAST_COPIED : end])))
