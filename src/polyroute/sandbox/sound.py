"""Small real sound files made without a codec: a beep for each word where samples can be written, silence elsewhere."""

from __future__ import annotations

import array
import math
import struct
from collections.abc import Callable, Mapping
from functools import cache

RATE = 24_000
_WORD_SECONDS = 0.3
_LONGEST_SECONDS = 60.0
_AAC_SILENCE = bytes((0x00, 0xC8, 0x00, 0x80, 0x23, 0x80))
_OPUS_SILENCE = bytes((0xF8, 0xFF, 0xFE))


def spoken_seconds(text: str) -> float:
    """How long the text takes to say."""
    return min(_LONGEST_SECONDS, max(1, len(text.split())) * _WORD_SECONDS)


def speech_pcm(text: str) -> bytes:
    """24 kHz, 16 bit, little-endian, mono samples."""
    words = round(spoken_seconds(text) / _WORD_SECONDS)
    return _beep() * words


def speech_wav(text: str) -> bytes:
    """The same samples in a RIFF file."""
    return wav_header(len(samples := speech_pcm(text))) + samples


def wav_header(size: int) -> bytes:
    """The 44 bytes before `size` bytes of samples."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE * 2, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size)


def wav_seconds(head: bytes, size: int) -> float | None:
    """The length of a RIFF file from its header and size in bytes; None when it is none."""
    if len(head) < 36 or head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    bytes_a_second = int.from_bytes(head[28:32], "little")
    return (size - 44) / bytes_a_second if bytes_a_second else None


@cache
def _beep() -> bytes:
    tone = int(RATE * 0.12)
    samples = array.array("h")
    for place in range(int(RATE * _WORD_SECONDS)):
        loud = math.sin(math.pi * place / tone) if place < tone else 0.0
        samples.append(int(6000 * loud * math.sin(2 * math.pi * 440 * place / RATE)))
    return samples.tobytes() if struct.pack("=h", 1) == b"\x01\x00" else samples.tobytes()[::-1]


def _mp3(seconds: float) -> bytes:
    """MPEG-2 layer III, 32 kbit/s, 24 kHz, mono: 96 bytes for each 576 samples, all zero after the header."""
    frame = bytes((0xFF, 0xF3, 0x44, 0xC0)) + bytes(92)
    return frame * math.ceil(seconds * RATE / 576)


def _aac(seconds: float) -> bytes:
    """Low-complexity frames with ADTS headers, 24 kHz, mono."""
    length = 7 + len(_AAC_SILENCE)
    header = bytes((0xFF, 0xF1, 0x58, 0x40 | length >> 11, length >> 3 & 0xFF, (length & 7) << 5 | 0x1F, 0xFC))
    return (header + _AAC_SILENCE) * math.ceil(seconds * RATE / 1024)


def _flac(seconds: float) -> bytes:
    """Frames of 4096 samples, each one constant subframe."""
    count = math.ceil(seconds * RATE / 4096)
    info = struct.pack("!HH", 4096, 4096) + bytes(6)
    info += (RATE << 44 | 0 << 41 | 15 << 36 | count * 4096).to_bytes(8, "big") + bytes(16)
    frames = bytearray(b"fLaC" + bytes((0x80, 0, 0, 34)) + info)
    for number in range(count):
        header = bytes((0xFF, 0xF8, 0xC7, 0x08)) + chr(number).encode()
        frame = header + bytes((_crc(header, 0x07, 8),)) + bytes(3)
        frames += frame + _crc(frame, 0x8005, 16).to_bytes(2, "big")
    return bytes(frames)


def _opus(seconds: float) -> bytes:
    """An Ogg stream of 20 ms packets."""
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, RATE, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 7) + b"sandbox" + struct.pack("<I", 0)
    pages = [_ogg_page([head], 0, 0, 2), _ogg_page([tags], 1, 0, 0)]
    count = math.ceil(seconds * 50)
    for start in range(0, count, 200):
        packets = min(200, count - start)
        ends = start + packets == count
        pages.append(_ogg_page([_OPUS_SILENCE] * packets, len(pages), (start + packets) * 960, 4 if ends else 0))
    return b"".join(pages)


def _ogg_page(packets: list[bytes], sequence: int, position: int, flags: int) -> bytes:
    sizes = bytes(len(packet) for packet in packets)
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, position, 1, sequence, 0)
    page = head + bytes((len(sizes),)) + sizes + b"".join(packets)
    return page[:22] + struct.pack("<I", _crc(page, 0x04C11DB7, 32)) + page[26:]


@cache
def _crc_table(polynomial: int, width: int) -> tuple[int, ...]:
    top, mask = 1 << (width - 1), (1 << width) - 1
    table = []
    for byte in range(256):
        value = byte << (width - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
        table.append(value)
    return tuple(table)


def _crc(data: bytes, polynomial: int, width: int) -> int:
    """The unreflected checksum, from zero, that FLAC and Ogg use."""
    table, mask, value = _crc_table(polynomial, width), (1 << width) - 1, 0
    for byte in data:
        value = (value << 8 & mask) ^ table[value >> (width - 8) ^ byte]
    return value


_SILENT: Mapping[str, tuple[str, Callable[[float], bytes]]] = {
    "mp3": ("audio/mpeg", _mp3),
    "aac": ("audio/aac", _aac),
    "flac": ("audio/flac", _flac),
    "opus": ("audio/opus", _opus),
}
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")


def spoken(text: str, form: str) -> tuple[str, bytes]:
    """Content type and bytes of the text, spoken in one of `FORMATS`."""
    if form == "wav":
        return "audio/wav", speech_wav(text)
    if form == "pcm":
        return "audio/pcm", speech_pcm(text)
    content_type, make = _SILENT[form]
    return content_type, make(spoken_seconds(text))


def silence(seconds: float, form: str) -> bytes:
    """Silence of that length in one of the coded `FORMATS` (mp3, aac, flac, opus)."""
    return _SILENT[form][1](seconds)
