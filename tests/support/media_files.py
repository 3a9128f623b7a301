"""Small real media files for tests."""

from __future__ import annotations

import struct
import zlib


def png(width: int, height: int) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PNG = png(3, 2)


def openai_mask(width: int, height: int) -> bytes:
    """A picture whose upper half is transparent, which is where OpenAI's callers want something painted."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    rows = b"".join(b"\0" + (b"\0\0\0\0" if row < height // 2 else b"\0\0\0\xff") * width for row in range(height))
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def wav(seconds: float, rate: int = 8000) -> bytes:
    """Silence, 16 bit mono."""
    size = int(seconds * rate) * 2
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size) + bytes(size)


def box(kind: bytes, *content: bytes) -> bytes:
    """An ISO box."""
    data = b"".join(content)
    return struct.pack(">I4s", len(data) + 8, kind) + data


def mp4(seconds: float = 2.0, width: int = 320, height: int = 180, fps: int = 25, *, kind: bytes = b"vide") -> bytes:
    """A movie's header, without pictures to show."""
    frames = int(seconds * fps)
    movie = struct.pack(">4xIIII", 0, 0, 1000, int(seconds * 1000)) + bytes(80)
    track = bytes(76) + struct.pack(">II", width << 16, height << 16)
    media = struct.pack(">4xIIII", 0, 0, fps * 100, frames * 100) + bytes(4)
    times = struct.pack(">4xIII", 1, frames, 100)
    return (
        box(b"ftyp", b"isom\0\0\2\0isommp41")
        + box(b"mdat", bytes(64))
        + box(b"moov", box(b"mvhd", movie), box(b"trak", box(b"tkhd", track), box(
            b"mdia", box(b"mdhd", media), box(b"hdlr", bytes(8), kind, bytes(13)),
            box(b"minf", box(b"stbl", box(b"stts", times))),
        )))
    )  # fmt: skip
