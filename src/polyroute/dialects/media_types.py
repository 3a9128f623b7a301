"""Media types of inline data: told by its first bytes, by a URL's ending, or by an audio format's name."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import urlsplit

from polyroute.mediainfo import sniff

_TOLD = frozenset((
    "image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "application/pdf", "audio/wav",
))  # fmt: skip
"""Media types that providers take inline, and that few bytes prove."""
_HEAD = 64
"""Characters of base64 that are looked at."""
_ENDINGS = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "heic": "image/heic", "heif": "image/heif", "pdf": "application/pdf", "txt": "text/plain", "html": "text/html",
    "csv": "text/csv", "md": "text/markdown", "mp3": "audio/mp3", "wav": "audio/wav", "mp4": "video/mp4",
    "mov": "video/mov", "webm": "video/webm",
}  # fmt: skip
_AUDIO = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "l16": "pcm16", "x-aac": "aac", "x-flac": "flac"}


def sniff_media_type(data: str) -> str | None:
    """The media type of base64 data by its first bytes; None when they are unknown."""
    start = data[:_HEAD]
    try:
        found = sniff(base64.b64decode(start[: len(start) // 4 * 4]))
    except (binascii.Error, ValueError):
        return None
    return found if found in _TOLD else None


def media_type_of_url(url: str) -> str | None:
    """The media type that a URL's ending suggests."""
    try:
        name = urlsplit(url).path.rpartition("/")[2]
    except ValueError:
        return None
    return _ENDINGS.get(name.rpartition(".")[2].lower()) if "." in name else None


def audio_format(media_type: str) -> str:
    """The canonical name of an audio media type: "audio/mpeg" is "mp3"."""
    subtype = media_type.partition("/")[2].partition(";")[0].strip().lower()
    return _AUDIO.get(subtype, subtype)


def audio_media_type(name: str | None) -> str:
    """The media type of an audio format: "mp3" is "audio/mp3"."""
    return {"pcm16": "audio/l16", None: "audio/wav"}.get(name, f"audio/{name}")
