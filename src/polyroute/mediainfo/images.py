"""Width and height of images from their headers, in pixels."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from polyroute.mediainfo.boxes import find_box
from polyroute.mediainfo.source import ByteSource

Sides = tuple[int, int]
_MOST_SEGMENTS = 512


def _png(source: ByteSource) -> Sides | None:
    head = source.read(0, 24)
    return struct.unpack(">II", head[16:24]) if head[12:16] == b"IHDR" and len(head) == 24 else None


def _gif(source: ByteSource) -> Sides | None:
    head = source.read(0, 10)
    return struct.unpack("<HH", head[6:10]) if len(head) == 10 else None


def _bmp(source: ByteSource) -> Sides | None:
    head = source.read(0, 26)
    if len(head) < 26:
        return None
    if head[14] == 12:
        width, height = struct.unpack("<HH", head[18:22])
    else:
        width, height = struct.unpack("<ii", head[18:26])
    return abs(width), abs(height)


def _jpeg(source: ByteSource) -> Sides | None:
    """The first frame header, behind however many segments of metadata."""
    offset = 2
    for _ in range(_MOST_SEGMENTS):
        head = source.read(offset, 9)
        if len(head) < 4 or head[0] != 0xFF:
            return None
        marker = head[1]
        if marker == 0xFF:  # a fill byte
            offset += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if len(head) < 9:
                return None
            height, width = struct.unpack(">HH", head[5:9])
            return width, height
        elif marker in (0xD9, 0xDA):
            return None
        elif 0xD0 <= marker <= 0xD8 or marker == 0x01:
            offset += 2
        else:
            offset += 2 + max(2, int.from_bytes(head[2:4], "big"))
    return None


def _webp(source: ByteSource) -> Sides | None:
    head = source.read(0, 30)
    if len(head) < 30:
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L" and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff(source: ByteSource) -> Sides | None:
    head = source.read(0, 8)
    if len(head) < 8:
        return None
    order = "<" if head[:2] == b"II" else ">"
    offset = struct.unpack(order + "I", head[4:])[0]
    count = struct.unpack(order + "H", source.read(offset, 2))[0]
    entries = source.read(offset + 2, 12 * min(count, 256))
    sides: dict[int, int] = {}
    for start in range(0, len(entries) - 11, 12):
        tag, kind = struct.unpack(order + "HH", entries[start : start + 4])
        if tag in (256, 257):
            form = "H" if kind == 3 else "I"
            sides[tag] = struct.unpack_from(order + form, entries, start + 8)[0]
    return (sides[256], sides[257]) if len(sides) == 2 else None


def _heif(source: ByteSource) -> Sides | None:
    """The largest `ispe` property: that of the picture, not of a tile or thumbnail."""
    meta = find_box(source, (b"meta",), 0, source.size)
    if meta is None:
        return None
    properties = find_box(source, (b"iprp", b"ipco"), meta[0] + 4, meta[1])
    if properties is None:
        return None
    block = source.read(properties[0], min(properties[1] - properties[0], 1 << 16))
    best: Sides | None = None
    place = block.find(b"ispe")
    while place >= 0:
        found = block[place + 8 : place + 16]
        if len(found) == 8:
            sides: Sides = struct.unpack(">II", found)
            if best is None or sides[0] * sides[1] > best[0] * best[1]:
                best = sides
        place = block.find(b"ispe", place + 4)
    return best


_READERS: Mapping[str, Callable[[ByteSource], Sides | None]] = {
    "image/png": _png, "image/gif": _gif, "image/bmp": _bmp, "image/jpeg": _jpeg, "image/webp": _webp,
    "image/tiff": _tiff, "image/avif": _heif, "image/heic": _heif, "image/heif": _heif,
}  # fmt: skip
MEASURED = frozenset(_READERS)
"""Images whose header says how large they are: one that does not is broken."""


def image_sides(media_type: str, source: ByteSource) -> Sides | None:
    """Width and height; None when they cannot be read."""
    reader = _READERS.get(media_type)
    if reader is None:
        return None
    try:
        return reader(source)
    except (struct.error, IndexError, ValueError):
        return None
