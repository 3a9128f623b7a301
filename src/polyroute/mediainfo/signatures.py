"""Media types by the first bytes of a file."""

from __future__ import annotations

import re

HEAD = 4096
"""As many bytes of a file's start as `sniff` wants to see."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"\x1aE\xdf\xa3", "video/x-matroska"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"FLV\x01", "video/x-flv"),
    (b"#!AMR", "audio/amr"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {
    b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heif",
    b"msf1": "image/heif", b"qt  ": "video/quicktime", b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"M4P ": "audio/mp4",
    b"3gp4": "video/3gpp", b"3gp5": "video/3gpp", b"3gp6": "video/3gpp",
}  # fmt: skip
_BMP_HEADERS = frozenset((12, 40, 52, 56, 64, 108, 124))
_SUBTITLES = re.compile(rb"\s*\d+[ \t]*\r?\n\d{1,2}:\d\d:\d\d[,.]\d{1,3} --> ")
_MARKUP = re.compile(
    rb"\s*(?:<!--.*?-->\s*)*<(!doctype html|html|head|body|script|\?xml|svg|!doctype svg)[\s>/]",
    re.IGNORECASE | re.DOTALL,
)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_MARK = b"\xef\xbb\xbf"


def sniff(head: bytes) -> str | None:
    """The media type of a file that begins so; None when nothing shows what it is."""
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] in (b"RIFF", b"RF64") and len(head) >= 12:
        return _RIFF.get(head[8:12])
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free") and int.from_bytes(head[:4], "big") in range(8, 1 << 31):
        return "video/quicktime"
    if head[:2] == b"BM" and len(head) >= 18 and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "image/bmp"
    if mpeg_frame(head, 0) is not None:
        return "audio/mpeg"
    if adts_frame(head, 0) is not None:
        return "audio/aac"
    return _of_text(head)


def _of_brands(head: bytes) -> str:
    """ISO files say which kind they are: the major brand first, then those that they are compatible with."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    for start in (8, *range(16, size - 3, 4)):
        found = _BRANDS.get(head[start : start + 4])
        if found is not None:
            return found
    return "video/mp4"


def _of_text(head: bytes) -> str | None:
    text = head.removeprefix(_MARK)
    if text.startswith(b"WEBVTT"):
        return "text/vtt"
    if _SUBTITLES.match(text):
        return "application/x-subrip"
    found = _MARKUP.match(text)
    if found is not None:
        return "image/svg+xml" if b"svg" in found.group(1).lower() else _of_markup(found.group(1), text)
    return None


def _of_markup(tag: bytes, text: bytes) -> str:
    if tag.lower() != b"?xml":
        return "text/html"
    return "image/svg+xml" if b"<svg" in text[:1024].lower() else "application/xml"


def is_text(head: bytes, *, whole: bool) -> bool:
    """Whether bytes are readable text in UTF-8. Unless they are the `whole` file, they may end within a character."""
    if not head or _CONTROL.search(head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return not whole and error.start >= len(head) - 3 and error.reason == "unexpected end of data"
    return True


_RATES = ((11025, 12000, 8000), (0, 0, 0), (22050, 24000, 16000), (44100, 48000, 32000))
_BITS = {
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


def mpeg_header(data: bytes) -> tuple[int, int, int] | None:
    """Bytes, samples and samples a second of the MPEG audio frame (layer II or III) that begins here."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3)
    bits, rate = data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or layer not in (2, 3) or bits in (0, 15) or rate == 3:
        return None
    generation = 1 if version == 3 else 2
    hertz = _RATES[version][rate]
    samples = 576 if layer == 3 and generation == 2 else 1152
    size = samples // 8 * _BITS[generation, layer][bits - 1] * 1000 // hertz + (data[2] >> 1 & 1)
    return size, samples, hertz


def adts_header(data: bytes) -> tuple[int, int, int] | None:
    """Bytes, samples and samples a second of the AAC frame that begins here."""
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
        return None
    rate = data[2] >> 2 & 15
    size = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    if rate >= len(_ADTS_RATES) or size < 7:
        return None
    return size, 1024 * ((data[6] & 3) + 1), _ADTS_RATES[rate]


def mpeg_frame(head: bytes, offset: int) -> tuple[int, int, int] | None:
    """The frame at `offset`, if another one follows it or the bytes end there: two bytes alone prove little."""
    return _followed(head, offset, mpeg_header(head[offset : offset + 4]), 4)


def adts_frame(head: bytes, offset: int) -> tuple[int, int, int] | None:
    """As `mpeg_frame`, for AAC."""
    return _followed(head, offset, adts_header(head[offset : offset + 7]), 7)


def _followed(head: bytes, offset: int, found: tuple[int, int, int] | None, width: int) -> tuple[int, int, int] | None:
    if found is None:
        return None
    following = head[offset + found[0] : offset + found[0] + width]
    again = mpeg_header(following) if width == 4 else adts_header(following)
    return found if again is not None or len(following) < width else None
