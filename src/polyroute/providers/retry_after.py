"""How long a provider asks us to wait, in all the forms in which providers say it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from polyroute.ports import Headers

LONGEST = 86_400.0
"""Longer waits than a day are cut to it."""

_GO_DURATION = re.compile(
    r"^(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?$"
)
_IN_TEXT = re.compile(
    r"(?:retry|try again|wait)\D{0,30}?\b(?:in|after|for)\s+"
    r"(\d+(?:\.\d+)?(?:ms|h|m|s|\s*seconds?|\s*minutes?)?(?:\d+(?:\.\d+)?m?s)*)",
    re.IGNORECASE,
)
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e12


def retry_after(headers: Headers, body_delay: float | None, text: str, clock: Callable[[], float]) -> float | None:
    """Seconds to wait, None when nothing usable is said. `body_delay` is what the body says in a field of its own; dates
    count from the answer's own Date, else from `clock` (seconds since the epoch)."""
    values = {name.decode("latin-1"): value.decode("latin-1").strip() for name, value in headers}
    now = _now(values, clock)
    found = _number(values.get("retry-after-ms"), scale=1e-3)
    if found is None:
        found = _retry_after_header(values.get("retry-after"), now)
    if found is None:
        found = body_delay
    if found is None:
        found = _from_text(text)
    if found is None:
        found = _from_resets(values, now)
    return None if found is None else min(found, LONGEST)


def _now(values: dict[str, str], clock: Callable[[], float]) -> Callable[[], float]:
    def now() -> float:
        return _date(values.get("date", "")) or clock()

    return now


def _number(value: str | None, *, scale: float = 1.0) -> float | None:
    try:
        number = float(value) * scale if value else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) and number >= 0 else None


def _date(value: str) -> float | None:
    """An HTTP date as seconds since the epoch."""
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _retry_after_header(value: str | None, now: Callable[[], float]) -> float | None:
    if not value:
        return None
    number = _number(value)
    if number is not None or value.startswith("-"):
        return number
    moment = _date(value)
    return max(moment - now(), 0.0) if moment is not None else go_duration(value)


def go_duration(value: str) -> float | None:
    """`1h2m3s`, `2m59.56s`, `12ms` as seconds."""
    found = _GO_DURATION.match(value)
    if not value or found is None:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def _from_text(text: str) -> float | None:
    """ "Please retry in 37.2s", "try again in 2m59.56s", "retry after 6 seconds"."""
    found = _IN_TEXT.search(text)
    if found is None:
        return None
    value = found.group(1).lower()
    number, unit = re.match(r"([\d.]*)\s*(.*)", value).groups()  # type: ignore[union-attr]  # matches everything
    if unit in {"", "second", "seconds"}:
        return _number(number.rstrip("."))
    if unit in {"minute", "minutes"}:
        return _number(number, scale=60)
    return go_duration(value)


def _from_resets(values: dict[str, str], now: Callable[[], float]) -> float | None:
    """The longest reset among the limits that are used up; where none is said to be used up, the shortest of all."""
    spent: list[float] = []
    others: list[float] = []
    for name, value in values.items():
        if "ratelimit" not in name or "reset" not in name:
            continue
        wait = _reset(value, now)
        if wait is None or wait <= 0:
            continue
        remaining = values.get(name.replace("reset", "remaining"))
        if remaining == "0":
            spent.append(wait)
        elif remaining is None:
            others.append(wait)
    return max(spent) if spent else min(others, default=None)


def seconds_until(value: str, clock: Callable[[], float]) -> float | None:
    """A reset in any form (seconds, a duration, a date, epoch seconds or milliseconds) as seconds from now, at least 0 and
    at most LONGEST; None when it is none of them."""
    try:
        found = _reset(value, clock)
    except (ValueError, OverflowError):
        return None
    return None if found is None else min(max(found, 0.0), LONGEST)


def _reset(value: str, now: Callable[[], float]) -> float | None:
    number = _number(value)
    if number is not None:
        if number >= _EPOCH_MILLISECONDS:
            return number / 1000 - now()
        return number - now() if number >= _EPOCH_SECONDS else number
    duration = go_duration(value)
    if duration is not None:
        return duration
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now()
