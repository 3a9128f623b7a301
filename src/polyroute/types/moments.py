"""Moments and spans of time as people write them; the present is an argument."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_span(text: str) -> float:
    """`90d`, `36h`, `2w` → seconds. Raises ValueError, saying what is wanted."""
    match = _SPAN.fullmatch(text.strip())
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"{text!r} is no span of time: write a number and s, m, h, d or w, as in 90d")
    return float(match[1]) * _SECONDS[match[2]]


def parse_moment(text: str, now: float) -> float:
    """A span before now (`7d`), `now`, a day or an ISO moment (UTC unless it says otherwise) → seconds since the epoch.
    Raises ValueError, saying what is wanted."""
    stripped = text.strip()
    if stripped == "now":
        return now
    if _SPAN.fullmatch(stripped):
        return now - parse_span(stripped)
    try:
        moment = datetime.fromisoformat(stripped)
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no moment: write 7d (that long ago), 2026-11-20, or 2026-11-20T21:00:00+01:00"
        ) from None
