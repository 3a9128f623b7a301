"""What a model cannot be asked at all: more, longer, larger, or in another form than it makes.

Requests are fitted to what a model offers, so that they can go to several: the next longer length, the next size of about the
same proportion. That has its bounds: nobody wants a square for a panorama, or pays for five seconds of the sixty that were
ordered. Beyond them the model is refused, which makes it the next target's turn, or the caller's error. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import MediaRequest, Task

_PROPORTION = math.log(1.25)
_AREA = 2.0
_CLASS = 1.5
STRICT_CHOICES = frozenset({"format", "voice", "resolution"})
"""Intents of which another value than the one that was named makes another thing."""


def out_of_reach(name: str, value: object, possible: str) -> PolyrouteError:
    """The refusal of a field's value by a model, with what it takes."""
    shown = f"{value:g}" if isinstance(value, int | float) else repr(value)
    return PolyrouteError(ErrorKind.UNSUPPORTED, f"'{name}' is {shown}; possible {possible}.", param=name)


def check_most(name: str, asked: float, found: float, offered: Collection[float] = ()) -> None:
    """Refuse what is more than the most that there is; `found` is the nearest."""
    if found >= asked - 1e-9 or name not in ("n", "duration"):
        return
    listed = f"are {', '.join(f'{one:g}' for one in sorted(offered))}" if offered else f"is at most {found:g}"
    raise out_of_reach(name, asked, listed)


def check_choice(request: MediaRequest, name: str, value: object, offered: Collection[object]) -> None:
    """Refuse a named form, voice or class of size that is none of those that there are. Speech in `mp3` is what callers ask
    for who said nothing."""
    if name not in STRICT_CHOICES or (name == "format" and value == "mp3" and request.task is Task.SPEECH):
        return
    raise out_of_reach(name, value, f"are {', '.join(str(one) for one in offered)}")


def check_size(width: int, height: int, found: tuple[int, int], offered: str) -> None:
    """Refuse a size that was asked for and is far larger, or of another shape, than the nearest that there is."""
    wide, high = found
    too_large = width * height > _AREA * wide * high
    if too_large or abs(math.log(width / height * high / wide)) > _PROPORTION:
        raise PolyrouteError(
            ErrorKind.UNSUPPORTED, f"'size' is {width}x{height}; possible are {offered}.", param="width"
        )


def check_shape(name: str, asked: str, ratio: float, found: float, offered: Collection[str]) -> None:
    """Refuse a proportion that is far from all that there are."""
    if abs(math.log(ratio / found)) > _PROPORTION:
        raise out_of_reach(name, asked, f"are {', '.join(offered)}")


def check_class(width: int, height: int, found: str, offered: Collection[str]) -> None:
    """Refuse pixels that are far more than those of the largest class of a film's size (`720p`)."""
    lines = found.lower().removesuffix("p")
    if lines.isdigit() and min(width, height) > _CLASS * int(lines):
        raise PolyrouteError(
            ErrorKind.UNSUPPORTED, f"'size' is {width}x{height}; possible are {', '.join(offered)}.", param="width"
        )
