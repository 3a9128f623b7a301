"""ISO base media files (MP4, MOV, M4A): what the movie's header says."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from polyroute.mediainfo.source import ByteSource

_MOST_BOXES = 4096
_MOST_TIMES = 1 << 16


class Movie(msgspec.Struct):
    """Seconds, pixels and frames a second; `kinds` are the handlers of its tracks (`vide`, `soun`, …)."""

    duration_s: float | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    kinds: list[bytes] = []


def walk_boxes(source: ByteSource, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the content of each box in a range."""
    for _ in range(_MOST_BOXES):
        head = source.read(start, 16)
        if len(head) < 8 or start + 8 > end:
            return
        size, content = int.from_bytes(head[:4], "big"), start + 8
        if size == 1:
            size, content = int.from_bytes(head[8:16], "big"), start + 16
        elif size == 0:
            size = end - start
        if size < content - start:
            return
        yield head[4:8], content, min(start + size, end)
        start += size


def find_box(source: ByteSource, path: tuple[bytes, ...], start: int, end: int) -> tuple[int, int] | None:
    """Begin and end of the content of the first box at a path."""
    for kind, begin, stop in walk_boxes(source, start, end):
        if kind == path[0]:
            return (begin, stop) if len(path) == 1 else find_box(source, path[1:], begin, stop)
    return None


def read_movie(source: ByteSource) -> Movie:
    """What is known of it; a movie without a header (cut off, or still being written) has nothing to say."""
    movie = Movie()
    found = find_box(source, (b"moov",), 0, source.size)
    if found is None:
        return movie
    try:
        for kind, begin, end in walk_boxes(source, *found):
            if kind == b"mvhd":
                movie.duration_s = _time(source.read(begin, 32), 12)
            elif kind == b"trak":
                _read_track(source, begin, end, movie)
        if not movie.duration_s:
            movie.duration_s = _fragments(source, found)
    except (struct.error, IndexError, ValueError, ZeroDivisionError):
        pass
    return movie


def _scale(header: bytes, place: int) -> int:
    place += 8 if header[0] == 1 else 0
    scale: int = struct.unpack_from(">I", header, place)[0]
    return scale


def _time(header: bytes, place: int) -> float | None:
    """Seconds of a header that has its time scale at `place` (version 0), the duration behind it."""
    scale = _scale(header, place)
    form, place, unknown = (">Q", place + 12, (1 << 64) - 1) if header[0] == 1 else (">I", place + 4, (1 << 32) - 1)
    units = struct.unpack_from(form, header, place)[0]
    return None if units in (0, unknown) or not scale else units / scale


def _read_track(source: ByteSource, start: int, end: int, movie: Movie) -> None:
    handler = find_box(source, (b"mdia", b"hdlr"), start, end)
    kind = source.read(handler[0] + 8, 4) if handler is not None else b""
    movie.kinds.append(kind)
    if kind != b"vide" or movie.width is not None:
        return
    header = find_box(source, (b"tkhd",), start, end)
    if header is not None:
        sides = source.read(header[1] - 8, 8)
        width, height = struct.unpack(">II", sides)
        movie.width, movie.height = width >> 16 or None, height >> 16 or None
    media = find_box(source, (b"mdia", b"mdhd"), start, end)
    times = find_box(source, (b"mdia", b"minf", b"stbl", b"stts"), start, end)
    if media is not None and times is not None:
        movie.fps = _frame_rate(source.read(times[0], 8 + 8 * _MOST_TIMES), _scale(source.read(media[0], 32), 12))


def _frame_rate(table: bytes, scale: int) -> float | None:
    """Samples over the time that they last."""
    count = int.from_bytes(table[4:8], "big")
    samples = units = 0
    for number, delta in struct.iter_unpack(">II", table[8 : 8 + 8 * min(count, _MOST_TIMES)]):
        samples += number
        units += number * delta
    return round(samples * scale / units, 3) if samples and units else None


def _fragments(source: ByteSource, moov: tuple[int, int]) -> float | None:
    """The duration that a fragmented movie announces."""
    header = find_box(source, (b"mvhd",), *moov)
    extent = find_box(source, (b"mvex", b"mehd"), *moov)
    if header is None or extent is None:
        return None
    told = source.read(extent[0], 12)
    units = struct.unpack_from(">Q" if told[0] == 1 else ">I", told, 4)[0]
    scale = _scale(source.read(header[0], 32), 12)
    return units / scale if scale and units else None
