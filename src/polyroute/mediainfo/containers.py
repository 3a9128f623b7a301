"""Matroska, WebM and AVI: duration, pictures, and whether there are any."""

from __future__ import annotations

import struct

from polyroute.mediainfo.boxes import Movie
from polyroute.mediainfo.source import ByteSource

_MOST_ELEMENTS = 4096
_SEGMENT, _INFO, _TRACKS, _TRACK, _VIDEO = 0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0
_PARENTS = frozenset((_SEGMENT, _INFO, _TRACKS, _TRACK, _VIDEO))
_SCALE, _DURATION, _KIND, _WIDTH, _HEIGHT, _FRAME, _CLUSTER = 0x2AD7B1, 0x4489, 0x83, 0xB0, 0xBA, 0x23E383, 0x1F43B675
_UNKNOWN_SIZES = frozenset((1 << 7 * width) - 1 for width in range(1, 9))


def is_webm(source: ByteSource) -> bool:
    """Whether the document type of an EBML file is WebM."""
    return b"webm" in source.read(0, 64)


def read_matroska(source: ByteSource) -> Movie:
    """Reads up to the first cluster of data; the tables that we want stand before it."""
    movie, scale, duration, offset = Movie(), 1_000_000, None, 0
    for _ in range(_MOST_ELEMENTS):
        head = source.read(offset, 12)
        if len(head) < 2:
            break
        element, width = _identifier(head)
        size, more = _length(head[width:])
        if not width or not more or element == _CLUSTER:
            break
        offset += width + more
        if element in _PARENTS:
            continue  # its children come next
        if element in (_SCALE, _KIND, _WIDTH, _HEIGHT, _FRAME, _DURATION):
            value = source.read(offset, min(size, 8))
            number = int.from_bytes(value, "big")
            if element == _SCALE:
                scale = number
            elif element == _DURATION and len(value) in (4, 8):
                duration = struct.unpack(">f" if len(value) == 4 else ">d", value)[0]
            elif element == _KIND:
                movie.kinds.append(b"vide" if number == 1 else b"soun" if number == 2 else b"")
            elif element == _WIDTH:
                movie.width = movie.width or number
            elif element == _HEIGHT:
                movie.height = movie.height or number
            elif element == _FRAME and number and movie.kinds[-1:] == [b"vide"]:
                movie.fps = round(1e9 / number, 3)
        if size in _UNKNOWN_SIZES and size > source.size:
            break
        offset += size
    if duration is not None and 0 < duration < 1e15:
        movie.duration_s = duration * scale / 1e9
    return movie


def _identifier(head: bytes) -> tuple[int, int]:
    width = 9 - head[0].bit_length() if head[0] else 0
    return (int.from_bytes(head[:width], "big"), width) if 0 < width <= 4 else (0, 0)


def _length(head: bytes) -> tuple[int, int]:
    width = 9 - head[0].bit_length() if head and head[0] else 0
    if not width or len(head) < width:
        return 0, 0
    return int.from_bytes(head[:width], "big") & (1 << 7 * width) - 1, width


def read_avi(source: ByteSource) -> Movie:
    """The main header: microseconds a frame, frames, width and height."""
    head = source.read(0, 512)
    place = head.find(b"avih")
    if place < 0 or len(head) < place + 48:
        return Movie()
    header = struct.unpack_from("<14I", head + bytes(16), place + 8)
    pace, frames, width, height = header[0], header[4], header[8], header[9]
    movie = Movie(width=width or None, height=height or None, kinds=[b"vide"])
    if pace:
        movie.fps = round(1e6 / pace, 3)
        movie.duration_s = frames * pace / 1e6 if frames else None
    return movie
