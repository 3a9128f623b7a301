"""Figures over the ledger for operators, and its rows: what the operators' API asks of storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, Protocol

import msgspec

from polyroute.types.usage import Price

Interval = Literal["minute", "hour", "day", "total"]

DIMENSIONS = ("provider", "model", "route", "key", "user", "team", "operation", "tag")
"""What figures can be grouped and filtered by. `tag` groups by name and value, `tag:NAME` by the values of one tag."""


class SeriesQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which figures. Moments are seconds since the epoch; `filters` has the allowed values by dimension, or by `status`;
    a tag's are `NAME:VALUE`, and there may be one. `baseline` is the rate card to compare the cost with."""

    since: float
    until: float
    interval: Interval = "hour"
    group_by: tuple[str, ...] = ()
    filters: Mapping[str, Sequence[str]] = {}
    time_zone: str = "UTC"
    baseline: Price | None = None


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in milliseconds; None where nothing was measured."""

    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


class Savings(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests of known cost would have cost at a baseline, and how many could not be compared. None where
    nothing could."""

    baseline_usd: Decimal | None
    saved_usd: Decimal | None
    compared: int
    not_compared: int


class SeriesPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one bucket and one group. `start` is ISO, in the time zone that was asked for; None for a total.
    `cost_usd` is that of requests whose cost is known, None when it is known of none that was served; `unpriced` counts the
    rest. Latency and time to first token are those of completed requests."""

    start: str | None
    group: dict[str, str | None]
    requests: int
    completed: int
    failed: int
    cancelled: int
    errors: dict[str, int]
    attempt_errors: dict[str, int]
    fallbacks: int
    fallback_rate: float | None
    latency_ms: Percentiles
    ttft_ms: Percentiles
    tokens: dict[str, int]
    images: int
    media_seconds: float
    characters: int
    cost_usd: Decimal | None
    unpriced: int
    estimated: int
    savings: Savings | None


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Figures by time and group. `since` and `until` are what was really covered: whole buckets. Figures of before
    `incomplete_before` are no longer kept in this detail, at least not all; None when all are."""

    since: str
    until: str
    interval: Interval
    time_zone: str
    incomplete_before: str | None
    points: list[SeriesPoint]
    total: SeriesPoint


class AnalyticsReader(Protocol):
    """Figures over any number of requests; blocking, called from worker threads."""

    def series(self, query: SeriesQuery) -> Series:
        """Raises ValueError, saying what is wrong with the query."""


class RequestQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests, newest first. `filters` has the wanted value by column; `after` is where an earlier page ended."""

    since: float
    until: float
    filters: Mapping[str, str] = {}
    after: tuple[str, str] | None = None
    limit: int = 50


class RequestPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some requests, as columns by name, without content; `after` is for the next page, None at the end."""

    rows: list[dict[str, Any]]
    after: tuple[str, str] | None


class RequestReader(Protocol):
    """Rows of the ledger; blocking, called from worker threads."""

    def page(self, query: RequestQuery) -> RequestPage:
        """Some requests."""

    def request(self, request_id: str) -> dict[str, Any] | None:
        """One request with all its columns and its `attempts`; None when the database has none of that id (yet)."""

    def export(self, table: str, form: str, since: float, until: float) -> Iterator[bytes]:
        """Rows as bytes, `requests` or `attempts` as `csv` or `jsonl`. Raises ValueError, saying what is wrong, before the
        first."""
