"""Real JPEG, WebP and SVG pictures without a codec: flat blocks or two colours, with the caption across them."""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache

from polyroute.sandbox.media.film import NOTE
from polyroute.sandbox.pictures import caption, picture

FORMATS = ("png", "jpeg", "webp", "svg")
_DC_COUNTS = bytes((0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0))
_DC_CODES = ("00", "010", "011", "100", "101", "110", "1110", "11110", "111110", "1111110", "11111110", "111111110")


@lru_cache(maxsize=32)
def still(seed: str, width: int, height: int, form: str) -> bytes:
    """A picture in one of `FORMATS`; the same arguments give the same bytes."""
    width, height = max(1, min(width, 8192)), max(1, min(height, 8192))
    match form:
        case "jpeg":
            return _jpeg(seed, width, height)
        case "webp":
            return _webp(seed, width, height)
        case "svg":
            return _svg(seed, width, height)
        case _:
            return picture(seed, width, height)


def _colour(seed: str) -> tuple[int, int, int]:
    digest = hashlib.sha256(seed.encode()).digest()
    return 32 + digest[0] % 160, 32 + digest[1] % 160, 32 + digest[2] % 160


def _lit(width: int, height: int) -> set[tuple[int, int]]:
    """The cells (column, row) of a grid that the caption covers."""
    columns = caption(width)
    scale = max(1, width * 9 // 10 // max(1, len(columns)))
    left, top = (width - scale * len(columns)) // 2, (height - scale * 7) // 2
    return {
        (left + place * scale + x, top + bit * scale + y)
        for place, column in enumerate(columns)
        for bit in range(7)
        if column >> (6 - bit) & 1
        for x in range(scale)
        for y in range(scale)
    }


def _difference(value: int) -> str:
    """A DC difference in baseline JPEG's code."""
    size = abs(value).bit_length()
    if not size:
        return _DC_CODES[0]
    return _DC_CODES[size] + f"{value if value > 0 else value + (1 << size) - 1:0{size}b}"


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _jpeg(seed: str, width: int, height: int) -> bytes:
    """Baseline, three planes, every block of 8 by 8 pixels in one colour."""
    wide, high = -(-width // 8), -(-height // 8)
    red, green, blue = _colour(seed)
    back = (
        round(0.299 * red + 0.587 * green + 0.114 * blue) - 128,
        round(-0.1687 * red - 0.3313 * green + 0.5 * blue),
        round(0.5 * red - 0.4187 * green - 0.0813 * blue),
    )
    lit, before = _lit(wide, high), (0, 0, 0)
    bits: list[str] = []
    for row in range(high):
        for column in range(wide):
            here = (110, 0, 0) if (column, row) in lit else back
            bits += [_difference(now - then) + "0" for now, then in zip(here, before, strict=True)]
            before = here
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    head = b"\xff\xd8" + _segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0") + _segment(0xFE, NOTE.encode())
    head += _segment(0xDB, b"\0" + b"\x08" * 64)
    planes = b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    head += _segment(0xC0, struct.pack(">BHHB", 8, height, width, 3) + planes)
    head += _segment(0xC4, b"\0" + _DC_COUNTS + bytes(range(12)))
    head += _segment(0xC4, b"\x10" + bytes((1,)) + bytes(15) + b"\0")
    return head + _segment(0xDA, b"\x03\x01\0\x02\0\x03\0\0\x3f\0") + scan + b"\xff\xd9"


def _webp(seed: str, width: int, height: int) -> bytes:
    """Lossless, two colours, one bit a pixel."""
    red, green, blue = _colour(seed)

    def number(value: int, size: int) -> str:
        return f"{value:0{size}b}"[::-1]

    bits = [number(width - 1, 14), number(height - 1, 14), "0", "000", "000"]
    bits += ["11", "1", number(green, 8), number(255, 8)]
    bits += ["10" + "1" + number(value, 8) for value in (red, blue, 255)]
    bits += ["1000"]
    lit = _lit(width, height)
    rows = {row for _, row in lit}
    plain = "0" * width
    for row in range(height):
        bits.append(plain if row not in rows else "".join("1" if (x, row) in lit else "0" for x in range(width)))
    text = "".join(bits)[::-1]
    data = b"\x2f" + int(text, 2).to_bytes(-(-len(text) // 8), "little")
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def _svg(seed: str, width: int, height: int) -> bytes:
    red, green, blue = _colour(seed)
    place = f'x="{width // 2}" y="{height // 2}" font-size="{max(8, width // 10)}" text-anchor="middle"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"><desc>{NOTE}</desc>'
        f'<rect width="100%" height="100%" fill="rgb({red},{green},{blue})"/>'
        f'<text {place} fill="#fff">SIMULATED</text></svg>'
    ).encode()
