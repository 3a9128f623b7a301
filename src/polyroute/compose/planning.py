"""A timeline and what its inputs are → which frame begins where. All that follows counts in frames, so that parts and whole
agree however odd the lengths of the clips are."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import msgspec

from polyroute.compose.probing import Probe, nearest_rate
from polyroute.compose.timeline import clip_names, wrong
from polyroute.types.compose import PICTURE_FORMATS, SOUND_FORMATS, Clip, Overlay, Timeline, Track

SAMPLE_RATE = 48_000
_TOLERANCE = 0.1
"""Seconds by which a cut may exceed what a container says of its length: containers round."""
_STILL_SECONDS = 3.0
_USUAL_RATE = Fraction(30)
_FASTEST = Fraction(60)
_SMALLEST = (2, 2)
_SOUND_ONLY_SIZE = (1280, 720)

Source = str | int


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How much one timeline may be: seconds of result, pixels of a frame, files."""

    seconds: float = 3600.0
    pixels: int = 3840 * 2160
    inputs: int = 64


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A clip (None: nothing but background) of `frames`, of which the first `overlap` are shared with the one before.
    `used` is for how many seconds of the input it reads."""

    clip: Clip | None
    probe: Probe
    frames: int
    overlap: int = 0
    used: float | None = None


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """An overlay from frame `first` up to, not with, `last`."""

    overlay: Overlay
    probe: Probe
    first: int
    last: int


class Sound(msgspec.Struct, frozen=True, kw_only=True):
    """A track, in seconds of the result."""

    track: Track
    at: float
    length: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a filter graph is compiled from. `thumbnails` are frames."""

    timeline: Timeline
    width: int
    height: int
    fps: Fraction
    segments: tuple[Segment, ...]
    windows: tuple[Window, ...]
    sounds: tuple[Sound, ...]
    frames: int
    audible: bool
    thumbnails: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """How long the result is."""
        return float(self.frames / self.fps)

    @property
    def picture(self) -> bool:
        """Whether frames are made at all."""
        return self.timeline.format not in SOUND_FORMATS

    @property
    def film(self) -> bool:
        """Whether the result is a video."""
        return self.timeline.format not in SOUND_FORMATS | PICTURE_FORMATS


def plan_timeline(timeline: Timeline, probes: Mapping[Source, Probe], bounds: Bounds | None = None) -> Plan:
    """The plan. `timeline` is one that `parse_timeline` gave, `probes` has all its sources.

    Raises PolyrouteError (invalid_request) naming the field of what overlaps, or exceeds its input or the timeline.
    """
    bounds = bounds or Bounds()
    probed = [probes[clip.source] for clip in timeline.clips]
    count = len(timeline.clips) + len(timeline.overlays) + len(timeline.audio)
    if count > bounds.inputs:
        raise wrong("timeline", f"has {count} parts; at most {bounds.inputs} are possible")
    wide, high = _size(timeline, probed)
    if wide * high > bounds.pixels:
        raise wrong(
            "timeline.width", f"times 'timeline.height' is {wide * high}; at most {bounds.pixels} pixels are possible"
        )
    fps = _rate(timeline, probed)
    segments = _segments(timeline, probed, fps, bounds)
    frames = sum(segment.frames - segment.overlap for segment in segments)
    if timeline.duration is not None:
        wanted = round(timeline.duration * fps)
        if wanted < frames:
            raise wrong(
                "timeline.duration", f"is {timeline.duration:g}; the clips alone last {float(frames / fps):.3f} seconds"
            )
        if wanted > frames:
            segments.append(Segment(clip=None, probe=Probe(), frames=wanted - frames))
            frames = wanted
    seconds = float(frames / fps)
    if seconds > bounds.seconds:
        raise wrong("timeline", f"lasts {seconds:.1f} seconds; at most {bounds.seconds:g} are possible")
    for name in ("fade_in", "fade_out"):
        if getattr(timeline, name) > seconds:
            raise wrong(f"timeline.{name}", f"is {getattr(timeline, name):g}; the timeline lasts {seconds:.3f} seconds")
    windows = [
        _window(f"timeline.overlays[{number}]", overlay, probes, fps, frames)
        for number, overlay in enumerate(timeline.overlays)
    ]
    sounds = [
        _sound(f"timeline.audio[{number}]", track, probes[track.source], seconds)
        for number, track in enumerate(timeline.audio)
    ]
    audible = _is_audible(timeline, segments, windows, sounds)
    plan = Plan(
        timeline=timeline, width=wide, height=high, fps=fps, segments=tuple(segments), windows=tuple(windows),
        sounds=tuple(sounds), frames=frames, audible=audible, thumbnails=_thumbnails(timeline, fps, frames),
    )  # fmt: skip
    if not plan.picture and not audible:
        raise wrong("timeline.format", f"is {timeline.format}, which is sound; no clip or track has any")
    return plan


def _size(timeline: Timeline, probed: list[Probe]) -> tuple[int, int]:
    if timeline.width is not None and timeline.height is not None:
        return timeline.width, timeline.height
    sizes = [(one.width, one.height) for one in probed if one.width is not None and one.height is not None]
    wide, high = max(sizes, key=lambda size: size[0] * size[1], default=_SOUND_ONLY_SIZE)
    return max(wide - wide % 2, _SMALLEST[0]), max(high - high % 2, _SMALLEST[1])


def _rate(timeline: Timeline, probed: list[Probe]) -> Fraction:
    if timeline.fps is not None:
        return nearest_rate(timeline.fps)
    return min(max((one.fps for one in probed if one.fps), default=_USUAL_RATE), _FASTEST)


def _segments(timeline: Timeline, probed: list[Probe], fps: Fraction, bounds: Bounds) -> list[Segment]:
    """Ends are rounded to whole frames on the clock of the whole, so that roundings do not add up."""
    found: list[Segment] = []
    clock, ends = Fraction(0), 0
    for name, clip, probe in zip(clip_names(timeline), timeline.clips, probed, strict=True):
        if not probe.picture and timeline.format not in SOUND_FORMATS:
            raise wrong(f"{name}.source", f"is sound alone and has no picture to put into {timeline.format}")
        used = clip_seconds(name, clip, probe)
        length = Fraction(used) / Fraction(clip.speed).limit_denominator(10_000)
        if clip.at is not None:
            gap = round(Fraction(clip.at) * fps) - ends
            if gap < 0:
                raise wrong(
                    f"{name}.at",
                    f"is {clip.at:g}; the clip before lasts until {float(ends / fps):.3f}, and clips cannot overlap",
                )
            clock = Fraction(clip.at)
            if clock > bounds.seconds:
                raise wrong(f"{name}.at", f"is {clip.at:g}; a timeline lasts at most {bounds.seconds:g} seconds")
            if gap:
                found.append(Segment(clip=None, probe=Probe(), frames=gap))
                ends += gap
        overlap = 0
        if clip.transition is not None:
            overlap = max(round(Fraction(clip.transition.duration) * fps), 1)
            clock -= overlap / fps
        clock += length
        frames = max(round(clock * fps) - ends + overlap, 1)
        room = min(found[-1].frames - found[-1].overlap if found else 0, frames)
        if clip.transition is not None and overlap >= room:
            raise wrong(
                f"{name}.transition.duration",
                f"is {clip.transition.duration:g}; it must be shorter than both clips, of which one has "
                f"{float(room / fps):.3f} seconds left",
            )
        seconds = float(frames / fps)
        for field in ("fade_in", "fade_out"):
            if getattr(clip, field) > seconds + 1e-6:
                raise wrong(f"{name}.{field}", f"is {getattr(clip, field):g}; the clip lasts {seconds:.3f} seconds")
        found.append(Segment(clip=clip, probe=probe, frames=frames, overlap=overlap, used=used))
        ends += frames - overlap
    return found


def clip_seconds(name: str, clip: Clip, probe: Probe) -> float:
    """How much of its input a clip uses. Raises PolyrouteError when that is more than there is."""
    if probe.still:
        if clip.start or clip.end is not None:
            raise wrong(
                f"{name}.start", "and 'end' are for videos and sound; the length of a picture is its 'duration'"
            )
        return clip.duration or _STILL_SECONDS
    lasts = probe.duration
    if lasts is None:
        if clip.end is None and clip.duration is None:
            raise wrong(f"{name}.end", "is required: the input does not say how long it is")
        return clip.duration if clip.end is None and clip.duration is not None else (clip.end or 0.0) - clip.start
    if clip.start >= lasts:
        raise wrong(f"{name}.start", f"is {clip.start:g}; the input lasts {lasts:.3f} seconds")
    field = "end" if clip.end is not None else "duration"
    end = clip.end if clip.end is not None else clip.start + clip.duration if clip.duration is not None else lasts
    if end > lasts + _TOLERANCE:
        raise wrong(f"{name}.{field}", f"is {getattr(clip, field):g}; the input lasts {lasts:.3f} seconds")
    return min(end, lasts) - clip.start


def _window(name: str, overlay: Overlay, probes: Mapping[Source, Probe], fps: Fraction, frames: int) -> Window:
    whole = float(frames / fps)
    probe = Probe() if overlay.source is None else probes[overlay.source]
    if overlay.source is not None and not probe.picture:
        raise wrong(f"{name}.source", "is sound alone and has no picture; sound goes into 'timeline.audio'")
    if overlay.start >= whole:
        raise wrong(f"{name}.start", f"is {overlay.start:g}; the timeline lasts {whole:.3f} seconds")
    end = whole if overlay.end is None else overlay.end
    if end > whole + _TOLERANCE:
        raise wrong(f"{name}.end", f"is {end:g}; the timeline lasts {whole:.3f} seconds")
    if overlay.source is not None and not probe.still and probe.duration is not None:
        if overlay.end is not None and end - overlay.start > probe.duration + _TOLERANCE:
            raise wrong(
                f"{name}.end",
                f"is {end:g}; from {overlay.start:g} on, the input lasts until {overlay.start + probe.duration:.3f}",
            )
        end = min(end, overlay.start + probe.duration)
    first = round(overlay.start * fps)
    last = min(max(round(end * fps), first + 1), frames)
    return Window(overlay=overlay, probe=probe, first=min(first, last - 1), last=last)


def _sound(name: str, track: Track, probe: Probe, whole: float) -> Sound:
    if not probe.audio:
        raise wrong(f"{name}.source", "has no sound")
    if track.at >= whole:
        raise wrong(f"{name}.at", f"is {track.at:g}; the timeline lasts {whole:.3f} seconds")
    lasts = probe.duration
    if lasts is not None:
        for field, value in (("start", track.start), ("end", track.end)):
            if value is not None and (value > lasts + _TOLERANCE or (field == "start" and value >= lasts)):
                raise wrong(f"{name}.{field}", f"is {value:g}; the input lasts {lasts:.3f} seconds")
    room = whole - track.at
    end = track.end if track.end is not None else lasts
    length = room if end is None or track.loop else min(end - track.start, room)
    for field in ("fade_in", "fade_out"):
        if getattr(track, field) > length + 1e-6:
            raise wrong(f"{name}.{field}", f"is {getattr(track, field):g}; the track sounds for {length:.3f} seconds")
    return Sound(track=track, at=track.at, length=length)


def _is_audible(timeline: Timeline, segments: list[Segment], windows: list[Window], sounds: list[Sound]) -> bool:
    if timeline.mute or timeline.format in PICTURE_FORMATS:
        return False
    return (
        bool(sounds)
        or any(segment.clip is not None and segment.probe.audio for segment in segments)
        or any(window.probe.audio and window.overlay.volume for window in windows)
    )


def _thumbnails(timeline: Timeline, fps: Fraction, frames: int) -> tuple[int, ...]:
    wanted = timeline.thumbnails
    if wanted is None:
        return (0,) if timeline.format in PICTURE_FORMATS else ()
    if timeline.format in SOUND_FORMATS:
        raise wrong("timeline.thumbnails", f"are pictures, and {timeline.format} has none")
    if not wanted.at:
        count = wanted.count or 1
        return tuple(frames * (2 * number + 1) // (2 * count) for number in range(count))
    found = []
    for number, moment in enumerate(wanted.at):
        frame = int(Fraction(moment) * fps)
        if frame >= frames:
            raise wrong(
                f"timeline.thumbnails.at[{number}]", f"is {moment:g}; the timeline lasts {float(frames / fps):.3f} seconds"
            )  # fmt: skip
        found.append(frame)
    return tuple(found)
