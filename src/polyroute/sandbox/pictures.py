"""Real PNG pictures that say that they are simulated; the same seed paints the same picture."""

from __future__ import annotations

import hashlib
import struct
import zlib
from functools import lru_cache

_LARGEST = 4096
# Five columns a letter, seven bits each, top bit first.
_LETTERS = {
    "A": (0x3F, 0x48, 0x48, 0x48, 0x3F),
    "D": (0x7F, 0x41, 0x41, 0x22, 0x1C),
    "E": (0x7F, 0x49, 0x49, 0x49, 0x41),
    "I": (0x00, 0x41, 0x7F, 0x41, 0x00),
    "L": (0x7F, 0x01, 0x01, 0x01, 0x01),
    "M": (0x7F, 0x20, 0x18, 0x20, 0x7F),
    "S": (0x32, 0x49, 0x49, 0x49, 0x26),
    "T": (0x40, 0x40, 0x7F, 0x40, 0x40),
    "U": (0x7E, 0x01, 0x01, 0x01, 0x7E),
}
_WORDS = ("SIMULATED", "SIM")


def caption(width: int) -> tuple[int, ...]:
    """The columns (seven bits, top bit first) of the longest caption that fits into so many pixels."""
    for word in _WORDS:
        columns = tuple(column for letter in word for column in (*_LETTERS[letter], 0))
        if width * 9 // 10 >= len(columns):
            return columns
    return ()


@lru_cache(maxsize=32)
def picture(seed: str, width: int, height: int) -> bytes:
    """A PNG of the size asked for (at most 4096 a side): a gradient in the seed's colour with the word across it."""
    width, height = max(1, min(width, _LARGEST)), max(1, min(height, _LARGEST))
    red, green, blue = hashlib.sha256(seed.encode()).digest()[:3]
    palette = bytearray()
    for shade in range(255):
        palette += bytes(channel * shade // 254 for channel in (red | 0x40, green | 0x40, blue | 0x40))
    palette += b"\xff\xff\xff"
    columns = caption(width)
    scale = max(1, width * 9 // 10 // max(1, len(columns)))
    left, top = (width - scale * len(columns)) // 2, (height - scale * 7) // 2
    rows = bytearray()
    for y in range(height):
        shade = 40 + 180 * y // height
        line = bytearray([shade]) * width
        bit = (y - top) // scale if y >= top else 7
        if bit < 7 and left >= 0:
            for place, column in enumerate(columns):
                if column >> (6 - bit) & 1:
                    start = left + place * scale
                    line[start : start + scale] = b"\xff" * scale
        rows += b"\0" + line[:width]
    header = struct.pack("!IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"PLTE", bytes(palette)), (b"tEXt", b"Comment\0Simulated by the Polyroute sandbox")]
    chunks += [(b"IDAT", zlib.compress(bytes(rows), 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))


def size_of(text: str | None, fallback: int = 1024) -> tuple[int, int] | None:
    """Width and height of `1024x1536`; the fallback, square, for `auto` and nothing; None when it is no size."""
    if text is None or text in ("", "auto"):
        return fallback, fallback
    width, cross, height = text.partition("x")
    if not cross or not width.isdecimal() or not height.isdecimal():
        return None
    sides = int(width), int(height)
    return sides if all(1 <= side <= _LARGEST for side in sides) else None
