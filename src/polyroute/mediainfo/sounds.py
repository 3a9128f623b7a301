"""How long sound files last, in seconds."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from polyroute.mediainfo.signatures import adts_header, mpeg_header
from polyroute.mediainfo.source import ByteSource

_BLOCK = 1 << 16
_MOST_FRAMES = 200_000
"""Frames that are counted; what a longer file lasts is reckoned from them."""


def _wav(source: ByteSource) -> float | None:
    offset, rate = 12, 0
    for _ in range(64):
        head = source.read(offset, 8)
        if len(head) < 8:
            return None
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"fmt ":
            rate = struct.unpack_from("<I", source.read(offset + 8, 16), 8)[0]
        elif head[:4] == b"data":
            present = source.size - offset - 8
            told = present if size in (0, 0xFFFFFFFF) or size > present else size  # streams do not know their size
            return told / rate if rate else None
        offset += 8 + size + (size & 1)
    return None


def _flac(source: ByteSource) -> float | None:
    info = source.read(8, 18)
    bits = int.from_bytes(info[10:18], "big")
    rate, samples = bits >> 44, bits & (1 << 36) - 1
    return samples / rate if rate and samples else None


def _ogg(source: ByteSource) -> float | None:
    """The last page's position, in samples."""
    head = source.read(0, 512)
    start = head.find(b"OpusHead")
    if start >= 0:
        rate, skipped = 48_000, struct.unpack_from("<H", head, start + 10)[0]
    else:
        start = head.find(b"\x01vorbis")
        if start < 0:
            return None
        rate, skipped = struct.unpack_from("<I", head, start + 12)[0], 0
    tail = source.read(max(0, source.size - _BLOCK), _BLOCK)
    place = tail.rfind(b"OggS")
    while place >= 0:
        if place + 14 <= len(tail):
            position = struct.unpack_from("<q", tail, place + 6)[0]
            if position >= 0:
                return max(0, position - skipped) / rate if rate else None
        place = tail.rfind(b"OggS", 0, place)
    return None


def _mpeg(source: ByteSource) -> float | None:
    offset = 0
    head = source.read(0, 10)
    if head[:3] == b"ID3" and len(head) == 10:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        offset = 10 + size + (10 if head[5] & 0x10 else 0)
    first = source.read(offset, 256)
    frame = mpeg_header(first)
    if frame is None:
        return None
    for mark in (b"Xing", b"Info"):
        place = first.find(mark, 4, 64)
        if place > 0 and first[place + 7] & 1:
            frames: int = struct.unpack_from(">I", first, place + 8)[0]
            return frames * frame[1] / frame[2]
    return _count(source, offset, mpeg_header, 4)


def _aac(source: ByteSource) -> float | None:
    return _count(source, 0, adts_header, 7)


def _count(
    source: ByteSource, offset: int, header: Callable[[bytes], tuple[int, int, int] | None], width: int
) -> float | None:
    """Frame after frame, until one is none."""
    begin, seconds, block, base = offset, 0.0, b"", offset
    for _ in range(_MOST_FRAMES):
        place = offset - base
        if place + width > len(block):
            block, base, place = source.read(offset, _BLOCK), offset, 0
        frame = header(block[place : place + width])
        if frame is None or frame[0] <= 0:
            return seconds or None
        seconds += frame[1] / frame[2]
        offset += frame[0]
    return seconds * (source.size - begin) / (offset - begin)


_READERS: Mapping[str, Callable[[ByteSource], float | None]] = {
    "audio/wav": _wav,
    "audio/flac": _flac,
    "audio/ogg": _ogg,
    "audio/mpeg": _mpeg,
    "audio/aac": _aac,
}


def sound_seconds(media_type: str, source: ByteSource) -> float | None:
    """How long it lasts; None when its header does not say."""
    reader = _READERS.get(media_type)
    if reader is None:
        return None
    try:
        return reader(source)
    except (struct.error, IndexError, ValueError, ZeroDivisionError):
        return None
