"""Clips, pictures and sounds made by the ffmpeg that is installed, and what ffprobe says of files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

FFMPEG = shutil.which("ffmpeg")
FFPROBE = shutil.which("ffprobe")


def make(target: Path, *arguments: str) -> Path:
    """Run ffmpeg with these arguments and `target` at their end."""
    assert FFMPEG is not None
    command = [FFMPEG, "-hide_banner", "-loglevel", "error", "-nostdin", "-y", *arguments, str(target)]
    subprocess.run(command, check=True, timeout=60)
    return target


def clip(
    target: Path, seconds: float, size: str = "320x180", rate: str = "25", *, tone: int | None = 440, sample_rate: int = 44_100,
    color: str | None = None,
) -> Path:  # fmt: skip
    """A moving test picture, or one colour, with a tone or without any sound."""
    picture = f"testsrc2=s={size}:r={rate}" if color is None else f"color=c={color}:s={size}:r={rate}"
    arguments = ["-f", "lavfi", "-i", picture]
    if tone is not None:
        arguments += ["-f", "lavfi", "-i", f"sine=frequency={tone}:sample_rate={sample_rate}"]
    coder = (
        ["-c:v", "libvpx", "-b:v", "400k"] if target.suffix == ".webm" else ["-c:v", "libx264", "-preset", "ultrafast"]
    )
    return make(target, *arguments, "-t", str(seconds), *coder, "-pix_fmt", "yuv420p")


def probe(path: Path) -> dict[str, Any]:
    """`video` and `audio` streams (with counted frames) and the `format`, as ffprobe tells them."""
    assert FFPROBE is not None
    command = [FFPROBE, "-v", "error", "-count_frames", "-of", "json", "-show_format", "-show_streams", str(path)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    streams = {one["codec_type"]: one for one in told["streams"]}
    return {"video": streams.get("video"), "audio": streams.get("audio"), "format": told["format"]}


def plays(path: Path) -> None:
    """Every frame can be decoded without one complaint."""
    assert FFMPEG is not None
    command = [FFMPEG, "-v", "error", "-nostdin", "-i", str(path), "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""


def color_at(path: Path, moment: float, x: int, y: int) -> tuple[int, int, int]:
    """The colour of one pixel at a moment."""
    assert FFMPEG is not None
    command = [
        FFMPEG, "-v", "error", "-nostdin", "-ss", str(moment), "-i", str(path), "-frames:v", "1", "-vf",
        f"format=rgb24,crop=1:1:{x}:{y}", "-f", "rawvideo", "-",
    ]  # fmt: skip
    content = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    return content[0], content[1], content[2]


def volume(path: Path, start: float = 0.0, seconds: float | None = None, band: int | None = None) -> float:
    """The mean volume of a stretch in decibels, of one frequency where `band` is given; -91 is silence."""
    assert FFMPEG is not None
    cut = ["-ss", str(start), *(["-t", str(seconds)] if seconds is not None else [])]
    only = f"bandpass=f={band}:width_type=h:w=40," if band is not None else ""
    command = [
        FFMPEG, "-hide_banner", "-nostdin", *cut, "-i", str(path), "-vn", "-af", f"{only}volumedetect", "-f", "null", "-"
    ]  # fmt: skip
    told = subprocess.run(command, capture_output=True, timeout=60, check=True).stderr.decode()
    return float(re.findall(r"mean_volume: (-?[\d.]+) dB", told)[-1])


def loudness(path: Path) -> float:
    """The integrated loudness in LUFS (EBU R 128)."""
    assert FFMPEG is not None
    command = [FFMPEG, "-hide_banner", "-nostdin", "-i", str(path), "-af", "ebur128", "-f", "null", "-"]
    told = subprocess.run(command, capture_output=True, timeout=60, check=True).stderr.decode()
    return float(re.findall(r"I:\s+(-?[\d.]+) LUFS", told)[-1])
