"""What a job makes: the description of a file, small enough to remember, and the bytes that it stands for."""

from __future__ import annotations

from typing import Literal

import msgspec

from polyroute.sandbox.media.film import film
from polyroute.sandbox.media.stills import still
from polyroute.sandbox.media.tracks import CONTENT_TYPES, track

_EXTENSIONS = {"jpeg": "jpg", "opus": "ogg"}
_SECONDS_A_WORD = 0.3
_LONGEST_SECONDS = 600.0


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A file that can be made again at any time. `form` is png, jpeg, webp, svg, mp4, or a key of the sound formats."""

    kind: Literal["image", "video", "audio"]
    form: str
    seed: str = ""
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    frames_a_second: float = 24.0
    sound: bool = True
    rate: int = 24_000
    kbits: int = 64

    @property
    def content_type(self) -> str:
        """The media type."""
        if self.kind == "image":
            return {"svg": "image/svg+xml"}.get(self.form, f"image/{self.form}")
        return "video/mp4" if self.kind == "video" else CONTENT_TYPES[self.form]

    @property
    def extension(self) -> str:
        """The end of a file name, without the dot."""
        return _EXTENSIONS.get(self.form, self.form)

    def content(self) -> bytes:
        """The file."""
        if self.kind == "image":
            return still(self.seed, self.width, self.height, self.form)
        if self.kind == "video":
            return film(self.seed, self.width, self.height, self.seconds, self.frames_a_second, self.sound)
        return track(self.seconds, self.form, self.rate, self.kbits)


def image(seed: str, width: int, height: int, form: str = "png") -> Artifact:
    """A picture; `jpg` is read as `jpeg`."""
    form = form.lower().replace("jpg", "jpeg")
    return Artifact(kind="image", form=form, seed=seed, width=width, height=height)


def video(seed: str, width: int, height: int, seconds: float, fps: float = 24.0, *, sound: bool = True) -> Artifact:
    """A film, at most ten minutes long."""
    seconds = min(seconds, _LONGEST_SECONDS)
    return Artifact(
        kind="video",
        form="mp4",
        seed=seed,
        width=width,
        height=height,
        seconds=seconds,
        frames_a_second=fps,
        sound=sound,
    )


def audio(seconds: float, form: str = "mp3", rate: int = 44_100, kbits: int = 128) -> Artifact:
    """Sound, at most ten minutes long."""
    return Artifact(kind="audio", form=form, seconds=min(seconds, _LONGEST_SECONDS), rate=rate, kbits=kbits)


def speech_seconds(text: str, speed: float = 1.0) -> float:
    """How long the text takes to say."""
    return round(max(1, len(text.split())) * _SECONDS_A_WORD / max(speed, 0.1), 3)
