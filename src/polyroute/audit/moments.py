"""Spans of time as people write them on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from polyroute.types.errors import ErrorKind, PolyrouteError

_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_moment(text: str, now: datetime) -> datetime:
    """`7d` ago, or a day or time in UTC such as `2026-11-01`. Raises PolyrouteError in words."""
    found = _SPAN.fullmatch(text.strip())
    if found is not None:
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise PolyrouteError(
            ErrorKind.INVALID_REQUEST, f"{text[:40]!r} is no time: write 7d, 12h, or a day such as 2026-11-01"
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
