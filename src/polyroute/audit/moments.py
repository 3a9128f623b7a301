"""Moments of the command line, with errors in the commands' own way."""

from __future__ import annotations

from datetime import UTC, datetime

from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.moments import parse_moment


def read_moment(text: str, now: datetime) -> datetime:
    """`7d` ago, or a day or time in UTC such as `2026-11-01`. Raises PolyrouteError in words."""
    try:
        return datetime.fromtimestamp(parse_moment(text, now.timestamp()), UTC)
    except ValueError as error:
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, str(error)) from error
