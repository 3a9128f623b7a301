"""A timeline: clips one after another, what lies over them, what sounds beside them, and how it is written. Times are in
seconds, sizes in pixels; unknown fields are errors.

A `source` is the id of an artifact or file, a URL, a data URI, or a number: the place of an input in the request's `inputs`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Moment = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Length = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Fade = Annotated[float, msgspec.Meta(ge=0, le=60)]
Rate = Annotated[float, msgspec.Meta(ge=0.1, le=10)]
Volume = Annotated[float, msgspec.Meta(ge=0, le=10)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Side = Annotated[int, msgspec.Meta(ge=2, le=8192)]
Source = Annotated[str, msgspec.Meta(min_length=1)] | Annotated[int, msgspec.Meta(ge=0, le=63)]
Color = Annotated[str, msgspec.Meta(pattern=r"^(#[0-9a-fA-F]{6}|[a-zA-Z]{3,20})$")]

Fit = Literal["contain", "cover", "stretch", "blur"]
Format = Literal["mp4", "mov", "webm", "mp3", "wav", "m4a", "flac", "ogg", "png", "jpeg"]
SOUND_FORMATS = frozenset({"mp3", "wav", "m4a", "flac", "ogg"})
PICTURE_FORMATS = frozenset({"png", "jpeg"})
TransitionKind = Literal[
    "fade", "dissolve", "fadeblack", "fadewhite", "wipeleft", "wiperight", "slideleft", "slideright", "slideup",
    "slidedown", "circleopen", "circleclose",
]  # fmt: skip
Corner = Literal[
    "top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right"
]  # fmt: skip


class Transition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a clip takes over from the one before: both are seen for `duration`, by which the whole becomes shorter."""

    kind: TransitionKind = "fade"
    duration: Length = 0.5


class Clip(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A video, a picture or a sound. `start` to `end` is what is used of it, None its end; `duration` is for how long a
    picture is shown. `at` is when it begins, after the clip before unless said. `volume` 0 is silent."""

    source: Source
    start: Moment = 0.0
    end: Length | None = None
    duration: Length | None = None
    at: Moment | None = None
    speed: Rate = 1.0
    volume: Volume = 1.0
    fit: Fit | None = None
    fade_in: Fade = 0.0
    fade_out: Fade = 0.0
    transition: Transition | None = None


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pixels from the left and the top edge to the overlay's corner."""

    x: Annotated[int, msgspec.Meta(ge=0, le=8192)]
    y: Annotated[int, msgspec.Meta(ge=0, le=8192)]


class Overlay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something over the clips from `start` to `end` (None: to the end): a picture or video (`source`), or `text`. Later
    ones lie above earlier ones. `width` up to 1 is a share of the picture's width, above it pixels; None is the overlay's own.
    `font_size` in pixels. `volume` is that of a video's own sound."""

    source: Source | None = None
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)] | None = None
    start: Moment = 0.0
    end: Length | None = None
    position: Corner | Place = "center"
    margin: Annotated[int, msgspec.Meta(ge=0, le=4096)] = 16
    width: Annotated[float, msgspec.Meta(gt=0, le=8192)] | None = None
    opacity: Share = 1.0
    fade_in: Fade = 0.0
    fade_out: Fade = 0.0
    volume: Volume = 0.0
    font_size: Annotated[int, msgspec.Meta(ge=4, le=1000)] | None = None
    color: Color = "white"
    box: Color | None = None


class Track(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sound beside the clips, beginning `at`; what is longer than the timeline is cut off. `mix` adds it, `replace` takes the
    place of the clips' own sound, `duck` grows quieter while anything else is heard. `loop` repeats it to the end."""

    source: Source
    at: Moment = 0.0
    start: Moment = 0.0
    end: Length | None = None
    volume: Volume = 1.0
    fade_in: Fade = 0.0
    fade_out: Fade = 0.0
    loop: bool = False
    mode: Literal["mix", "replace", "duck"] = "mix"


class Thumbnails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Single pictures of the result: `at` those moments, or `count` of them evenly spread."""

    at: Annotated[tuple[Moment, ...], msgspec.Meta(max_length=20)] = ()
    count: Annotated[int, msgspec.Meta(ge=1, le=20)] | None = None
    width: Side | None = None
    format: Literal["jpeg", "png"] = "jpeg"


class Timeline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is put together. `prepend` and `append` are clips before and after `clips`. `width` and `height` are the largest
    clip's unless said, `fps` the fastest clip's. `duration` longer than the clips is filled with `background`. `loudness` in
    LUFS. `format` of sound gives the sound alone, one of pictures the thumbnails alone."""

    clips: Annotated[tuple[Clip, ...], msgspec.Meta(max_length=60)] = ()
    prepend: Annotated[tuple[Clip, ...], msgspec.Meta(max_length=60)] = ()
    append: Annotated[tuple[Clip, ...], msgspec.Meta(max_length=60)] = ()
    overlays: Annotated[tuple[Overlay, ...], msgspec.Meta(max_length=40)] = ()
    audio: Annotated[tuple[Track, ...], msgspec.Meta(max_length=20)] = ()
    width: Side | None = None
    height: Side | None = None
    fps: Annotated[float, msgspec.Meta(ge=1, le=120)] | None = None
    fit: Fit = "contain"
    background: Color = "black"
    duration: Length | None = None
    fade_in: Fade = 0.0
    fade_out: Fade = 0.0
    volume: Volume = 1.0
    mute: bool = False
    loudness: Annotated[float, msgspec.Meta(ge=-70, le=-5)] | None = None
    thumbnails: Thumbnails | None = None
    format: Format = "mp4"

    def sources(self) -> tuple[str | int, ...]:
        """Every source, each once, in the order of the timeline."""
        listed = (
            *(clip.source for clip in self.clips),
            *(overlay.source for overlay in self.overlays if overlay.source is not None),
            *(track.source for track in self.audio),
        )
        return tuple(dict.fromkeys(listed))
