"""What ffprobe, or the banner of ffmpeg itself, tells of a file."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import msgspec

_DURATION = re.compile(r"Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
_VIDEO = re.compile(r"Stream #\d+:\d+.*?: Video: (?P<rest>.*)")
_AUDIO = re.compile(r"Stream #\d+:\d+.*?: Audio: ")
_SIZE = re.compile(r"\b(\d{2,5})x(\d{2,5})\b")
_FPS = re.compile(r"\b(\d+(?:\.\d+)?k?) (?:fps|tbr)\b")
_ROTATION = re.compile(r"(?:rotation of|rotate\s*:) *(-?\d+(?:\.\d+)?)")
_STILL_FORMATS = frozenset({"image2", "png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe"})
_NTSC = 1001


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """A media file: `width` and `height` as shown (after rotation), None without a picture; `duration` in seconds, None of
    a still picture or where nothing says so; `alpha` that pictures may be transparent."""

    duration: float | None = None
    width: int | None = None
    height: int | None = None
    fps: Fraction | None = None
    audio: bool = False
    still: bool = False
    alpha: bool = False
    frames: int | None = None

    @property
    def picture(self) -> bool:
        """Whether there is something to see."""
        return self.width is not None and self.height is not None


def read_ffprobe(told: bytes) -> Probe:
    """From `ffprobe -of json -show_format -show_streams`. Raises msgspec.DecodeError."""
    value: dict[str, Any] = msgspec.json.decode(told)
    streams = value.get("streams") or []
    container = value.get("format") or {}
    videos = [
        one for one in streams
        if one.get("codec_type") == "video" and not (one.get("disposition") or {}).get("attached_pic")
    ]  # fmt: skip
    audio = any(one.get("codec_type") == "audio" for one in streams)
    still = bool(set(str(container.get("format_name")).split(",")) & _STILL_FORMATS)
    lasts = _number(container.get("duration"))
    if not videos:
        return Probe(duration=lasts, audio=audio)
    first = videos[0]
    wide, high = first.get("width"), first.get("height")
    turned = [one.get("rotation") for one in first.get("side_data_list") or () if "rotation" in one]
    angle = _number(turned[0] if turned else (first.get("tags") or {}).get("rotate")) or 0
    if round(abs(angle)) % 180 == 90:
        wide, high = high, wide
    frames = _number(first.get("nb_frames"))
    return Probe(
        duration=None if still else _number(first.get("duration")) or lasts,
        width=wide or None, height=high or None,
        fps=None if still else _rate(first.get("avg_frame_rate")) or _rate(first.get("r_frame_rate")),
        audio=audio, still=still, alpha=_has_alpha(str(first.get("pix_fmt"))),
        frames=None if frames is None else int(frames),
    )  # fmt: skip


def read_banner(told: str) -> Probe:
    """From what `ffmpeg -i FILE` writes on its standard error."""
    lasts = _DURATION.search(told)
    duration = int(lasts[1]) * 3600 + int(lasts[2]) * 60 + float(lasts[3]) if lasts else None
    audio = _AUDIO.search(told) is not None
    video = next((one for one in _VIDEO.finditer(told) if "attached pic" not in one["rest"]), None)
    size = _SIZE.search(video["rest"]) if video else None
    if video is None or size is None:
        return Probe(duration=duration, audio=audio)
    wide, high = int(size[1]), int(size[2])
    turned = _ROTATION.search(told)
    if turned is not None and round(abs(float(turned[1]))) % 180 == 90:
        wide, high = high, wide
    still = any(f"Input #0, {name}" in told for name in _STILL_FORMATS)
    rate = _FPS.search(video["rest"])
    return Probe(
        duration=None if still else duration, width=wide, height=high,
        fps=None if still or rate is None else nearest_rate(float(rate[1].replace("k", "000"))),
        audio=audio, still=still, alpha=_has_alpha(video["rest"]),
    )  # fmt: skip


def nearest_rate(number: float) -> Fraction:
    """Frames a second as the fraction that is meant: 29.97 is 30000/1001."""
    whole = Fraction(round(number))
    if abs(number - whole) < 0.005:
        return whole
    ntsc = Fraction(round(number * _NTSC / 1000) * 1000, _NTSC)
    return ntsc if abs(number - float(ntsc)) < 0.01 else Fraction(number).limit_denominator(1001)


def _rate(told: Any) -> Fraction | None:
    try:
        rate = Fraction(str(told))
    except (ValueError, ZeroDivisionError):
        return None
    return rate.limit_denominator(_NTSC) if 0 < rate <= 1000 else None


def _number(told: Any) -> float | None:
    try:
        number = float(told)
    except (TypeError, ValueError):
        return None
    return number if number == number else None  # noqa: PLR0124 - NaN


def _has_alpha(pixels: str) -> bool:
    return re.search(r"\b(rgba|bgra|argb|abgr|yuva\w*|gbrap\w*|ya8|ya16\w*|pal8|rgba64\w*)", pixels) is not None
