"""Sizes, shapes and lengths as one provider offers them, nearest to what was asked for (media.md 22.6); pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

_CLASSES = {"0.25": 0.25, "0.5k": 0.25, "1k": 1.0, "1 mp": 1.0, "2k": 4.0, "4k": 16.0}
_MEGAPIXEL = 1024 * 1024
_SAME_SHAPE = 0.03
"""Proportions whose logarithms differ by less are the same one, rounded to pixels in two ways."""


def ratio_of(text: str) -> float | None:
    """`16:9` (or `1280x720`) as a number; None for what is no ratio."""
    width, _, height = text.lower().replace("x", ":").partition(":")
    try:
        found = float(width) / float(height)
    except (ValueError, ZeroDivisionError):
        return None
    return found if found > 0 and math.isfinite(found) else None


def shape_of(width: int, height: int) -> str:
    """Pixels as a ratio in lowest terms."""
    divisor = math.gcd(width, height)
    return f"{width // divisor}:{height // divisor}"


def nearest_shape(wanted: float, offered: Collection[str]) -> str:
    """The offered ratio (or size) that is nearest in proportion; those that are no ratio (`auto`) do not count."""
    known = [(abs(math.log(ratio / wanted)), text) for text in offered if (ratio := ratio_of(text)) is not None]
    return min(known)[1]


def nearest_size(width: int, height: int, offered: Collection[str]) -> str:
    """The offered size that is nearest in proportion, and then in area."""

    def distance(text: str) -> tuple[float, float]:
        w, _, h = text.lower().replace(":", "x").partition("x")
        return abs(math.log(int(w) / int(h) * height / width)), abs(math.log(int(w) * int(h) / (width * height)))

    return min((text for text in offered if ratio_of(text) is not None), key=distance)


def nearest_frame(ratio: float | None, area: float | None, offered: Sequence[str]) -> str:
    """Of the offered sizes in pixels, that which comes nearest in proportion and then in area (square pixels); where one of
    them is not asked for, the first one's. Those that are no size do not count.

    >>> nearest_frame(9 / 16, 1920 * 1080, ["1280:720", "720:1280", "1080:1920"])
    '1080:1920'
    """
    sizes = {text: _sides(text) for text in offered if ratio_of(text) is not None}
    first = next(iter(sizes.values()))
    wanted = first[0] / first[1] if ratio is None else ratio
    space = first[0] * first[1] if area is None else area
    far = {text: abs(math.log(width / height / wanted)) for text, (width, height) in sizes.items()}
    near = [text for text in sizes if far[text] <= min(far.values()) + _SAME_SHAPE]
    return min(near, key=lambda text: abs(math.log(sizes[text][0] * sizes[text][1] / space)))


def is_same_shape(ratio: float, size: str) -> bool:
    """Whether a size has this proportion, but for the rounding to pixels.

    >>> is_same_shape(4 / 3, "1104:832"), is_same_shape(4 / 3, "1280:720")
    (True, False)
    """
    found = ratio_of(size)
    return found is not None and abs(math.log(found / ratio)) <= _SAME_SHAPE


def _sides(text: str) -> tuple[int, int]:
    width, _, height = text.lower().replace("x", ":").partition(":")
    return int(width), int(height)


def area_of(resolution: str, ratio: float) -> float | None:
    """Square pixels of a class of size (`720p` by the shorter side, `2K` by megapixels) in a proportion; None for what is
    neither."""
    lower = resolution.strip().lower()
    if lower.endswith("p") and lower[:-1].isdecimal():
        return int(lower[:-1]) ** 2 * max(ratio, 1 / ratio)
    return _CLASSES[lower] * _MEGAPIXEL if lower in _CLASSES else None


def size_of_shape(ratio: float, megapixels: float = 1.0, multiple: int = 16) -> tuple[int, int]:
    """Pixels of about so many megapixels in a proportion, both sides a multiple."""
    area = megapixels * _MEGAPIXEL
    width = max(round(math.sqrt(area * ratio) / multiple), 1) * multiple
    height = max(round(math.sqrt(area / ratio) / multiple), 1) * multiple
    return width, height


def megapixels_of(resolution: str | None) -> float:
    """A resolution class of images, 1 megapixel where nothing is said."""
    return _CLASSES.get((resolution or "").strip().lower(), 1.0)


def resolution_of(width: int, height: int) -> str:
    """The usual name of a picture's shorter side: 720p for 1280x720."""
    return f"{min(width, height)}p"


def nearest_resolution(width: int, height: int, offered: Collection[str]) -> str:
    """The offered class that a size comes nearest to: by the shorter side for `720p`, by area for `2K`; the usual name of
    the shorter side where nothing is offered."""
    if not offered:
        return resolution_of(width, height)

    def distance(text: str) -> float:
        lower = text.lower()
        if lower.endswith("p") and lower[:-1].isdigit():
            return abs(math.log(int(lower[:-1]) / min(width, height)))
        return abs(math.log(megapixels_of(text) * _MEGAPIXEL / (width * height)))

    return min(offered, key=distance)


def nearest_number(wanted: float, offered: Sequence[float]) -> float:
    """The least that is not below what was asked for, else the most there is."""
    enough = [value for value in offered if value >= wanted - 1e-9]
    return min(enough) if enough else max(offered)
