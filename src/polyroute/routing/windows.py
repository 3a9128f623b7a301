"""The windows of budgets on the calendar of a time zone; pure, and right when clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from polyroute.types.budgets import WindowKind

BEGINNING = 0
"""Where the one window of `total` begins."""


@lru_cache(maxsize=256)
def load_zone(name: str) -> ZoneInfo | None:
    """A time zone by its IANA name; None when there is none of that name."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        return None


def window_at(kind: WindowKind, zone: str, now: float) -> tuple[int, int | None]:
    """The window that holds a moment: its first second, and the first one after it (None: it never ends), since the epoch.

    Windows begin at midnight of the zone, weeks on Monday; where clocks skip midnight, with the first moment of the day.
    """
    if kind == "total":
        return BEGINNING, None
    place = load_zone(zone) or ZoneInfo("UTC")
    first = _first_day(kind, datetime.fromtimestamp(now, place).date())
    start, end = _midnight(first, place), _midnight(_next(kind, first), place)
    while now < start:  # a day that begins twice, or not at midnight
        first = _first_day(kind, first - timedelta(days=1))
        start, end = _midnight(first, place), start
    while now >= end:
        first = _next(kind, first)
        start, end = end, _midnight(_next(kind, first), place)
    return start, end


def iso_moment(seconds: float, zone: str) -> str:
    """Seconds since the epoch → `2026-12-01T00:00:00+07:00`, on the clocks of a zone."""
    return datetime.fromtimestamp(seconds, load_zone(zone) or UTC).isoformat(timespec="seconds")


def _first_day(kind: WindowKind, day: date) -> date:
    if kind == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if kind == "month" else day


def _next(kind: WindowKind, first: date) -> date:
    if kind == "month":
        return (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    return first + timedelta(days=7 if kind == "week" else 1)


def _midnight(day: date, place: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=place).timestamp())
