"""Sums of rollups as the figures that operators read."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from polyroute.ports.analytics import Percentiles, Savings, SeriesPoint
from polyroute.pricing import exact_cost
from polyroute.storage.histograms import BINS, percentile
from polyroute.storage.rollups import ATTEMPT_STATUS, COUNTS, amount_of
from polyroute.storage.values import MONEY_SCALE
from polyroute.types.usage import Price, Usage

_AT = {name: at for at, name in enumerate(COUNTS)}
_TOKENS = {
    "input": "input_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write_5m": "cache_write_5m_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
    "audio_input": "audio_input_tokens",
    "audio_output": "audio_output_tokens",
}
_LATENCY = slice(len(COUNTS), len(COUNTS) + BINS)
_TTFT = slice(len(COUNTS) + BINS, len(COUNTS) + 2 * BINS)
_WIDTH = len(COUNTS) + 2 * BINS


class Figures:
    """Sums over the series of one group: all of them, and apart those of completed requests and of known cost."""

    __slots__ = ("_by_status", "_completed", "_priced", "attempt_errors", "errors", "sums")

    def __init__(self) -> None:
        self.sums = [0] * _WIDTH
        self.errors: dict[str, int] = {}
        self.attempt_errors: dict[str, int] = {}
        self._by_status: dict[str, int] = {}
        self._completed = [0] * _WIDTH
        self._priced = [0] * _WIDTH

    def add(self, row: Sequence[Any]) -> None:
        """A status, an error kind, whether the cost is known, and the sums of all of these."""
        status, error_kind, priced = row[:3]
        added = [int(value) for value in row[3:]]
        if status == ATTEMPT_STATUS:
            failed = added[_AT["failed_attempts"]]
            self.attempt_errors[error_kind] = self.attempt_errors.get(error_kind, 0) + failed
            return
        requests = added[_AT["requests"]]
        self._by_status[status] = self._by_status.get(status, 0) + requests
        if error_kind:
            self.errors[error_kind] = self.errors.get(error_kind, 0) + requests
        self.sums = _plus(self.sums, added)
        if status == "COMPLETED":
            self._completed = _plus(self._completed, added)
        if priced:
            self._priced = _plus(self._priced, added)

    @property
    def requests(self) -> int:
        """All of them."""
        return self.sums[_AT["requests"]]

    def status(self, name: str) -> int:
        """Requests that ended so."""
        return self._by_status.get(name, 0)

    def count(self, name: str) -> int:
        """One of COUNTS."""
        return self.sums[_AT[name]]

    def cost(self) -> Decimal | None:
        """What is known of it; None when that is nothing, though something was served."""
        nothing_known = self._priced[_AT["requests"]] == 0 and self.count("unpriced") > 0
        return None if nothing_known else amount_of(self.count("cost_e10"))

    def latency(self) -> Percentiles:
        """Of completed requests."""
        return _percentiles(self._completed[_LATENCY], self._completed[_AT["latency_us"]])

    def ttft(self) -> Percentiles:
        """Of completed requests whose time to the first token was measured."""
        return _percentiles(self._completed[_TTFT], self._completed[_AT["ttft_us"]])

    def savings(self, baseline: Price) -> Savings:
        """Requests of known cost, at the baseline's rates for short prompts: sums do not tell how long each was."""
        sums, compared = self._priced, self._priced[_AT["requests"]]
        others = self.count("unpriced")
        unmetered = sums[_AT["unmetered"]]
        tokens: dict[str, Any] = {name: sums[_AT[column]] or None for name, column in _TOKENS.items()}
        usage = Usage(
            **tokens,
            images=sums[_AT["images"]] or None,
            seconds=sums[_AT["media_ms"]] / 1000 if sums[_AT["media_ms"]] else None,
            characters=sums[_AT["characters"]] or None,
        )
        plain = msgspec.structs.replace(baseline, tiers=(), request=None)
        exact = exact_cost(usage, plain) if compared and not unmetered else None
        if exact is None:
            return Savings(baseline_usd=None, saved_usd=None, compared=0, not_compared=compared + others)
        exact += (baseline.request or Decimal(0)) * compared
        there = exact.quantize(Decimal(1).scaleb(-MONEY_SCALE))
        here = amount_of(sums[_AT["cost_e10"]])
        return Savings(baseline_usd=there, saved_usd=there - here, compared=compared, not_compared=others)


def point(figures: Figures, start: str | None, group: dict[str, str | None], baseline: Price | None) -> SeriesPoint:
    """The figures as they are told."""
    requests = figures.requests
    return SeriesPoint(
        start=start,
        group=group,
        requests=requests,
        completed=figures.status("COMPLETED"),
        failed=figures.status("FAILED"),
        cancelled=figures.status("CANCELLED"),
        errors=dict(sorted(figures.errors.items())),
        attempt_errors=dict(sorted(figures.attempt_errors.items())),
        fallbacks=figures.count("fallbacks"),
        fallback_rate=round(figures.count("fallbacks") / requests, 6) if requests else None,
        latency_ms=figures.latency(),
        ttft_ms=figures.ttft(),
        tokens={name: figures.count(column) for name, column in _TOKENS.items()},
        images=figures.count("images"),
        media_seconds=figures.count("media_ms") / 1000,
        characters=figures.count("characters"),
        cost_usd=figures.cost(),
        unpriced=figures.count("unpriced"),
        estimated=figures.count("estimated"),
        savings=None if baseline is None else figures.savings(baseline),
    )


def _plus(left: Sequence[int], right: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(left, right, strict=True)]


def _percentiles(counts: Sequence[int], total_us: int) -> Percentiles:
    count = sum(counts)
    shares = {name: percentile(counts, share) for name, share in _SHARES}
    return Percentiles(
        mean=round(total_us / count / 1000, 3) if count else None,
        **{name: None if value is None else round(value, 3) for name, value in shares.items()},
    )


_SHARES = (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99))
