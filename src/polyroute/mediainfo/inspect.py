"""One file in, its facts out."""

from __future__ import annotations

from polyroute.mediainfo.boxes import Movie, read_movie
from polyroute.mediainfo.containers import is_webm, read_avi, read_matroska
from polyroute.mediainfo.images import image_sides
from polyroute.mediainfo.signatures import HEAD, is_text, sniff
from polyroute.mediainfo.sounds import sound_seconds
from polyroute.mediainfo.source import ByteSource
from polyroute.types.artifacts import MediaFacts, MediaFamily

_ENDINGS = {
    "image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp", "image/avif": "avif",
    "image/heic": "heic", "image/heif": "heif", "image/bmp": "bmp", "image/tiff": "tiff", "image/svg+xml": "svg",
    "video/mp4": "mp4", "video/quicktime": "mov", "video/webm": "webm", "video/x-matroska": "mkv",
    "video/x-msvideo": "avi", "video/3gpp": "3gp", "video/ogg": "ogv", "video/x-flv": "flv",
    "audio/mpeg": "mp3", "audio/wav": "wav", "audio/ogg": "ogg", "audio/flac": "flac", "audio/aac": "aac",
    "audio/mp4": "m4a", "audio/webm": "webm", "audio/aiff": "aiff", "audio/amr": "amr", "audio/pcm": "pcm",
    "audio/l16": "pcm", "audio/x-mulaw": "ulaw", "audio/basic": "ulaw",
    "text/vtt": "vtt", "application/x-subrip": "srt", "application/json": "json", "application/jsonl": "jsonl",
    "text/plain": "txt", "text/csv": "csv", "text/markdown": "md", "text/html": "html", "application/xml": "xml",
    "application/pdf": "pdf", "application/zip": "zip", "application/gzip": "gz",
}  # fmt: skip
_SAMPLES = frozenset(("audio/pcm", "audio/l16", "audio/x-mulaw", "audio/basic"))
_TEXTS = frozenset((
    "text/plain", "text/csv", "text/markdown", "text/vtt", "application/json", "application/jsonl", "application/x-subrip",
))  # fmt: skip
_SAME = {"application/x-ndjson": "application/jsonl", "text/srt": "application/x-subrip", "audio/x-pcm": "audio/pcm"}
_NOT_MEDIA = frozenset(("image/svg+xml", "text/html"))


_OTHER_NAMES = {"mp3": "mpeg", "wave": "wav", "jpg": "jpeg", "m4a": "mp4", "opus": "ogg"}


def shows(declared: str | None) -> bool:
    """Whether the bytes of such a file would show that they are one: what is declared so, and does not, is broken."""
    family, _, kind = (declared or "").partition(";")[0].strip().lower().partition("/")
    kind = kind.removeprefix("x-")
    told = f"{family}/{_OTHER_NAMES.get(kind, kind)}"
    return family in ("image", "audio", "video") and told in _ENDINGS and told not in _SAMPLES


def family_of(media_type: str) -> MediaFamily | None:
    """Image, audio, video or text; None for everything else, and for what a browser would run."""
    if media_type in _NOT_MEDIA:
        return None
    if media_type in _TEXTS:
        return "text"
    family = media_type.partition("/")[0]
    return family if family in ("image", "audio", "video", "text") else None  # type: ignore[return-value] # just compared


def ending_of(media_type: str) -> str:
    """The ending of file names, without a dot; `bin` for what is not known."""
    return _ENDINGS.get(media_type, "bin")


def inspect_media(source: ByteSource, declared: str | None = None) -> MediaFacts:
    """What a file is. `declared` decides only where bytes cannot: between kinds of text, and for bare samples."""
    head = source.read(0, HEAD)
    found = sniff(head)
    told, _, parameters = (declared or "").partition(";")
    told = told.strip().lower()
    told = _SAME.get(told, told)
    if found is None:
        return _without_signature(source, head, told, parameters)
    if found == "video/x-matroska":
        found = "video/webm" if is_webm(source) else found
        return _of_movie(found, read_matroska(source), "audio/webm" if found == "video/webm" else found)
    if found in ("video/mp4", "video/quicktime", "audio/mp4", "video/3gpp"):
        return _of_movie(found, read_movie(source), "audio/mp4")
    if found == "video/x-msvideo":
        return _of_movie(found, read_avi(source), found)
    if found == "audio/ogg" and b"\x80theora" in head[:64]:
        found = "video/ogg"
    sides = image_sides(found, source)
    width, height = sides if sides is not None else (None, None)
    return MediaFacts(
        media_type=found,
        family=family_of(found),
        width=width,
        height=height,
        duration_s=_rounded(sound_seconds(found, source)),
    )


def _of_movie(media_type: str, movie: Movie, without_pictures: str) -> MediaFacts:
    if movie.kinds and b"vide" not in movie.kinds:
        media_type = without_pictures
    return MediaFacts(
        media_type=media_type, family=family_of(media_type),
        width=movie.width, height=movie.height, duration_s=_rounded(movie.duration_s), fps=movie.fps,
    )  # fmt: skip


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _without_signature(source: ByteSource, head: bytes, told: str, parameters: str) -> MediaFacts:
    if told in _SAMPLES:
        return MediaFacts(media_type=told, family="audio", duration_s=_sample_seconds(source.size, told, parameters))
    if not is_text(head, whole=source.size <= len(head)):
        return MediaFacts(media_type="application/octet-stream", family=None)
    if told in _TEXTS:
        return MediaFacts(media_type=told, family="text")
    begins = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return MediaFacts(media_type="application/json" if begins in (b"{", b"[") else "text/plain", family="text")


def _sample_seconds(size: int, told: str, parameters: str) -> float | None:
    """Bare samples last as long as their declared rate says (`audio/l16;rate=24000;channels=1`)."""
    values = dict(part.strip().lower().partition("=")[::2] for part in parameters.split(";") if "=" in part)
    rate, channels = values.get("rate", ""), values.get("channels", "1")
    if not rate.isdecimal() or not channels.isdecimal() or not int(rate) or not int(channels):
        return None
    width = 1 if told in ("audio/x-mulaw", "audio/basic") else 2
    return _rounded(size / (int(rate) * int(channels) * width))
