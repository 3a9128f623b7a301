"""Real sound files of a given length and rate: beeps where samples can be written, silence in the coded forms."""

from __future__ import annotations

import array
import math
import struct
import sys
from functools import lru_cache

from polyroute.sandbox.media.film import NOTE
from polyroute.sandbox.sound import silence

CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "flac": "audio/flac",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "ulaw": "audio/basic",
    "alaw": "audio/x-alaw-basic",
}
_FULL_RATES = (44_100, 48_000, 32_000)
_FULL_KBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_HALF_KBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


@lru_cache(maxsize=32)
def track(seconds: float, form: str, rate: int = 24_000, kbits: int = 64) -> bytes:
    """Sound of that length in one of `CONTENT_TYPES`; the same arguments give the same bytes."""
    match form:
        case "wav":
            return wav(samples(seconds, rate), rate)
        case "pcm":
            return samples(seconds, rate)
        case "mp3":
            return mp3(seconds, rate, kbits)
        case "ulaw":
            return b"\xff" * round(seconds * rate)
        case "alaw":
            return b"\xd5" * round(seconds * rate)
        case _:
            return silence(seconds, form)


def samples(seconds: float, rate: int) -> bytes:
    """Mono, 16 bit, little-endian: a beep three times a second."""
    period, tone = int(rate * 0.3), int(rate * 0.12)
    beep = array.array("h")
    for place in range(period):
        loud = math.sin(math.pi * place / tone) if place < tone else 0.0
        beep.append(int(6000 * loud * math.sin(2 * math.pi * 440 * place / rate)))
    if sys.byteorder == "big":
        beep.byteswap()
    wanted = round(seconds * rate) * 2
    return (beep.tobytes() * (wanted // (period * 2) + 1))[:wanted]


def wav(data: bytes, rate: int) -> bytes:
    """A RIFF file around the samples, with a remark that they are simulated."""
    remark = NOTE.encode() + b"\0" * (2 - len(NOTE) % 2)
    listing = b"INFOICMT" + struct.pack("<I", len(remark)) + remark
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16)
    chunks = form + b"data" + struct.pack("<I", len(data)) + data + b"LIST" + struct.pack("<I", len(listing)) + listing
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def mp3(seconds: float, rate: int, kbits: int) -> bytes:
    """Layer III, constant bit rate, mono, silent: every frame is a header and zeros. An ID3 tag says what it is."""
    full = rate in _FULL_RATES
    rates, table = (_FULL_RATES, _FULL_KBITS) if full else ((22_050, 24_000, 16_000), _HALF_KBITS)
    rate = rate if rate in rates else 24_000
    kbits = min(table[1:], key=lambda given: abs(given - kbits))
    ordered = (44_100, 48_000, 32_000) if full else (22_050, 24_000, 16_000)
    in_frame, factor = (1152, 144_000) if full else (576, 72_000)
    head = 0xFFFB00C0 if full else 0xFFF300C0
    head |= table.index(kbits) << 12 | ordered.index(rate) << 10
    frames = bytearray(_id3())
    count, owed = math.ceil(seconds * rate / in_frame), 0
    for _ in range(count):
        owed += factor * kbits % rate
        padded, owed = divmod(owed, rate) if owed >= rate else (0, owed)
        frames += struct.pack(">I", head | padded << 9) + bytes(factor * kbits // rate + padded - 4)
    return bytes(frames)


def _id3() -> bytes:
    text = b"\x03" + NOTE.encode()
    frames = b"".join(name + struct.pack(">IH", len(text), 0) + text for name in (b"TIT2", b"TENC"))
    return b"ID3\x04\0\0" + bytes(len(frames) >> shift & 0x7F for shift in (21, 14, 7, 0)) + frames
