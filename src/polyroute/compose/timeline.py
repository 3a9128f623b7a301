"""A caller's JSON → a Timeline, with every mistake that can be seen without looking at the inputs."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from polyroute.types.compose import PICTURE_FORMATS, Clip, Overlay, Thumbnails, Timeline, Track, Transition
from polyroute.types.errors import ErrorKind, PolyrouteError

_PATH = re.compile(r"^(?P<what>.*) - at `(?:key in )?\$(?P<path>.*)`$", re.DOTALL)
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_COLORS = frozenset({
    "black", "white", "red", "green", "blue", "yellow", "orange", "purple", "gray", "grey", "silver", "maroon", "navy",
    "teal", "olive", "lime", "aqua", "cyan", "fuchsia", "magenta", "pink", "brown", "gold", "beige", "coral", "crimson",
    "indigo", "ivory", "khaki", "lavender", "salmon", "tan", "turquoise", "violet",
})  # fmt: skip


_HOLDERS = {
    "clips": Clip, "prepend": Clip, "append": Clip, "overlays": Overlay, "audio": Track, "thumbnails": Thumbnails,
    "transition": Transition,
}  # fmt: skip


def _choices(path: str) -> tuple[str, ...]:
    """The words that a field of a timeline takes, where it takes only some."""
    *holders, name = re.findall(r"\w*[a-z]\w*", path)
    kind = _HOLDERS.get(holders[-1], Timeline) if holders else Timeline
    hint = get_type_hints(kind).get(name)
    return next((get_args(one) for one in (hint, *get_args(hint)) if get_origin(one) is Literal), ())


def wrong(param: str, message: str) -> PolyrouteError:
    """The error of a field in a timeline."""
    return PolyrouteError(ErrorKind.INVALID_REQUEST, f"'{param}' {message}.", param=param)


def parse_timeline(value: Any) -> Timeline:
    """The timeline, with `prepend` and `append` put into `clips`.

    Raises PolyrouteError (invalid_request) naming the field, its value and what is possible.
    """
    if not isinstance(value, dict):
        raise wrong("timeline", "must be an object with 'clips'")
    try:
        timeline = msgspec.convert(value, Timeline)
    except msgspec.ValidationError as error:
        raise _named(value, str(error)) from error
    clips = (*timeline.prepend, *timeline.clips, *timeline.append)
    if not clips:
        raise wrong("timeline.clips", "is empty; at least one clip is needed")
    names = clip_names(timeline)
    for name, clip in zip(names, clips, strict=True):
        _check_clip(name, clip)
    if clips[0].transition is not None:
        raise wrong(f"{names[0]}.transition", "belongs to the first clip, which has none before it")
    for number, overlay in enumerate(timeline.overlays):
        _check_overlay(f"timeline.overlays[{number}]", overlay)
    for number, track in enumerate(timeline.audio):
        _check_track(f"timeline.audio[{number}]", track)
    if (timeline.width is None) != (timeline.height is None):
        raise wrong("timeline.width", "and 'timeline.height' are given together or not at all")
    for side in ("width", "height"):
        pixels = getattr(timeline, side)
        if pixels is not None and pixels % 2:
            raise wrong(f"timeline.{side}", f"is {pixels}; it must be even")
    _check_color("timeline.background", timeline.background)
    if timeline.thumbnails is not None and timeline.thumbnails.at and timeline.thumbnails.count is not None:
        raise wrong("timeline.thumbnails", "has both 'at' and 'count'; one of them is possible")
    if timeline.mute and timeline.format not in (*PICTURE_FORMATS, "mp4", "mov", "webm"):
        raise wrong("timeline.mute", f"leaves nothing of {timeline.format}, which is sound alone")
    return msgspec.structs.replace(timeline, clips=clips, prepend=(), append=())


def clip_names(timeline: Timeline) -> list[str]:
    """What callers call each clip, in the order in which they are shown."""
    return [
        f"timeline.{part}[{number}]"
        for part in ("prepend", "clips", "append")
        for number in range(len(getattr(timeline, part)))
    ]


def _check_clip(name: str, clip: Clip) -> None:
    _check_range(name, clip.start, clip.end)
    if clip.end is not None and clip.duration is not None:
        raise wrong(f"{name}.duration", "is for pictures, 'end' for videos and sound; only one of them is possible")
    if clip.transition is not None and clip.at is not None:
        raise wrong(f"{name}.at", "cannot be given with a transition, which says when the clip begins")


def _check_range(name: str, start: float, end: float | None) -> None:
    if end is not None and end <= start:
        raise wrong(f"{name}.end", f"is {end:g}; it must be after 'start', which is {start:g}")


def _check_overlay(name: str, overlay: Overlay) -> None:
    if (overlay.source is None) == (overlay.text is None):
        raise wrong(name, "needs exactly one of 'source' and 'text'")
    _check_range(name, overlay.start, overlay.end)
    _check_color(f"{name}.color", overlay.color)
    if overlay.box is not None:
        _check_color(f"{name}.box", overlay.box)


def _check_track(name: str, track: Track) -> None:
    _check_range(name, track.start, track.end)


def _check_color(name: str, color: str) -> None:
    if not color.startswith("#") and color.lower() not in _COLORS:
        raise wrong(name, f"is {color!r}; possible are #rrggbb and {', '.join(sorted(_COLORS))}")


def _named(value: Any, told: str) -> PolyrouteError:
    """msgspec's words about a value, with the field as callers know it and what it holds."""
    found = _PATH.match(told)
    if found is None:
        return wrong("timeline", f"is not possible: {told}")
    what, path = found["what"], found["path"]
    held: Any = value
    for step in _STEP.finditer(path):
        try:
            held = held[step[1]] if step[1] else held[int(step[2])]
        except (KeyError, IndexError, TypeError):
            held = None
    unknown = re.match(r"Object contains unknown field `(.*)`", what)
    if unknown is not None:
        return wrong(f"timeline{path}.{unknown[1]}", "is no field of a timeline")
    missing = re.match(r"Object missing required field `(.*)`", what)
    if missing is not None:
        return wrong(f"timeline{path}.{missing[1]}", "is required")
    shown = msgspec.json.encode(held).decode()
    if what.startswith("Invalid enum value") and (choices := _choices(path)):
        return wrong(f"timeline{path}", f"is {shown[:80]}; possible are {', '.join(choices)}")
    return wrong(f"timeline{path}", f"is {shown[:80]}: {what[:1].lower()}{what[1:].replace('`', '')}")
