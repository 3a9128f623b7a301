"""How moments and money look inside the database."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from polyroute.pricing import COST_SCALE

MONEY_SCALE = COST_SCALE
"""Decimal places of an amount in USD."""


def timestamp_text(seconds: float) -> str:
    """Seconds since the epoch → `2026-11-20 21:12:48.123456`, UTC: sorts as text, and SQLite's date functions read it."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


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
