"""How moments and money look inside the database."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

from polyroute.pricing import COST_SCALE

MONEY_SCALE = COST_SCALE
"""Decimal places of an amount in USD."""


def timestamp_text(seconds: float) -> str:
    """Seconds since the epoch → `2026-11-20 21:12:48.123456`, UTC: sorts as text, and SQLite's date functions read it."""
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_second_text(whole)}.{micros:06}"


@lru_cache(maxsize=256)  # requests come close together
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat(" ", "seconds")


def day_text(seconds: float) -> str:
    """Seconds since the epoch → the day, `2026-11-20`, UTC."""
    return _day_text(int(seconds // 86_400))


@lru_cache(maxsize=64)
def _day_text(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


def timestamp_value(seconds: float) -> datetime:
    """Seconds since the epoch → an aware datetime, for drivers that take one."""
    return datetime.fromtimestamp(seconds, UTC)


def parse_timestamp(text: str) -> datetime:
    """The moment that `timestamp_text` wrote."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def money_text(amount: Decimal) -> str:
    """An amount without an exponent, as both databases read it."""
    return format(amount, "f")


def moment_seconds(moment: str | datetime) -> float:
    """A moment as either driver gives it → seconds since the epoch."""
    return (parse_timestamp(moment) if isinstance(moment, str) else moment).timestamp()
