"""How providers are doing, from what became of their attempts: counts by the minute, latencies in logarithmic buckets.

Everything can be merged with what another worker saw, stored, and read again. Times are seconds since the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

from polyroute.types.health import Buckets, Health, LastError, Percentiles, Uptime

WINDOWS: Mapping[str, int] = {"5m": 300, "1h": 3600, "24h": 86_400}
"""What uptime is given for: seconds by name."""

_FINE, _COARSE = 60, 900
"""Seconds of a slot within the last hour, and before."""
_LEAST_MS = 1.0
_PER_DOUBLING = 4
"""A bucket is 19 % wide, so a percentile is known to within a tenth."""
_MOST_BUCKETS = 96
_TO_MIDDLE: float = 2.0 ** (-0.5 / _PER_DOUBLING)
_MINIMUM = 5
"""Attempts before a success rate says something."""

SERVED, FAILED, OTHER = 0, 1, 2
"""What an attempt says of its provider; the third is nothing: the caller's mistake, or the caller left."""


def bucket_of(milliseconds: float) -> int:
    """The number of a latency's bucket; the last takes all that is longer."""
    if milliseconds <= _LEAST_MS:
        return 0
    return min(int(math.log2(milliseconds / _LEAST_MS) * _PER_DOUBLING) + 1, _MOST_BUCKETS)


def bucket_end(number: int) -> float:
    """The milliseconds at which a bucket ends."""
    return float(_LEAST_MS * 2.0 ** (number / _PER_DOUBLING))


class Slot(msgspec.Struct, array_like=True):
    """What happened within one minute (or quarter of an hour, without latencies)."""

    start: int
    served: int = 0
    failed: int = 0
    latency: Buckets = msgspec.field(default_factory=dict)
    ttft: Buckets = msgspec.field(default_factory=dict)


class ProviderWindows(msgspec.Struct, array_like=True):
    """The last day of one provider: minutes of the last hour, quarters before, oldest first; and its newest failure."""

    fine: list[Slot] = msgspec.field(default_factory=list)
    coarse: list[Slot] = msgspec.field(default_factory=list)
    last_error: LastError | None = None

    def add(
        self, now: float, meaning: int, *, latency: int | None = None, ttft: int | None = None, count: int = 1
    ) -> None:
        """`count` attempts ended alike. `latency` and `ttft` are buckets."""
        if meaning == OTHER:
            return
        slot = self._slot(now)
        if meaning == FAILED:
            slot.failed += count
            return
        slot.served += count
        if latency is not None:
            slot.latency[latency] = slot.latency.get(latency, 0) + count
        if ttft is not None:
            slot.ttft[ttft] = slot.ttft.get(ttft, 0) + count

    def _slot(self, now: float) -> Slot:
        start = int(now) // _FINE * _FINE
        if not self.fine or self.fine[-1].start < start:
            self.fine.append(Slot(start))
            self._age(now)
        return self.fine[-1]

    def _age(self, now: float) -> None:
        """Fold minutes that are more than an hour old into quarters, and forget what is more than a day old."""
        while self.fine and self.fine[0].start + _FINE <= now - 3600:
            old = self.fine.pop(0)
            start = old.start // _COARSE * _COARSE
            if not self.coarse or self.coarse[-1].start < start:
                self.coarse.append(Slot(start))
            self.coarse[-1].served += old.served
            self.coarse[-1].failed += old.failed
        while self.coarse and self.coarse[0].start + _COARSE <= now - 86_400:
            self.coarse.pop(0)


def uptime(parts: Iterable[ProviderWindows], seconds: int, now: float) -> Uptime:
    """What all workers together saw of a provider within the last so many seconds."""
    served = failed = 0
    for part in parts:
        for width, slots in ((_FINE, part.fine), (_COARSE, part.coarse)):
            for slot in slots:
                if slot.start + width > now - seconds:
                    served += slot.served
                    failed += slot.failed
    attempts = served + failed
    rate = round(100.0 * served / attempts, 3) if attempts else None
    return Uptime(attempts=attempts, failures=failed, success_rate=rate)


def percentiles(parts: Iterable[ProviderWindows], now: float, *, ttft: bool = False) -> Percentiles:
    """Of the last hour."""
    merged: Buckets = {}
    for part in parts:
        for slot in part.fine:
            if slot.start + _FINE > now - 3600:
                for number, count in (slot.ttft if ttft else slot.latency).items():
                    merged[number] = merged.get(number, 0) + count
    return Percentiles(p50=_percentile(merged, 0.5), p95=_percentile(merged, 0.95), p99=_percentile(merged, 0.99))


def _percentile(buckets: Buckets, share: float) -> float | None:
    """The middle (by ratio) of the bucket in which the wanted one lies."""
    total = sum(buckets.values())
    if not total:
        return None
    wanted, seen = share * total, 0
    for number in sorted(buckets):
        seen += buckets[number]
        if seen >= wanted:
            return round(bucket_end(number) * _TO_MIDDLE, 1)
    return None


def newest_error(parts: Iterable[ProviderWindows]) -> LastError | None:
    """The newest that any worker saw."""
    errors = [part.last_error for part in parts if part.last_error is not None]
    return max(errors, key=lambda error: error.at, default=None)


def judge(
    recent: Uptime, *, open_breakers: int, other_breakers: int, credentials: int, benched: int, drilled: bool
) -> tuple[Health, tuple[str, ...]]:
    """A provider's health and the reasons. `open_breakers` are those of the provider itself that let nothing through,
    `other_breakers` all others that are not closed; `recent` is the uptime of five minutes."""
    bad: list[str] = []
    doubtful: list[str] = []
    if open_breakers:
        bad.append(f"{open_breakers} breaker(s) of the provider are open")
    if credentials and benched >= credentials:
        bad.append("none of its credentials can be used")
    elif benched:
        doubtful.append(f"{benched} of {credentials} credentials are benched")
    if other_breakers:
        doubtful.append(f"{other_breakers} breaker(s) are not closed")
    rate = recent.success_rate
    if rate is not None and recent.attempts >= _MINIMUM and rate < 95.0:
        told = f"{rate:g} % of {recent.attempts} attempts within five minutes succeeded"
        (bad if rate < 50.0 else doubtful).append(told)
    if drilled:
        doubtful.append("a fault is rehearsed")
    health: Health = "unhealthy" if bad else "degraded" if doubtful else "healthy"
    return health, (*bad, *doubtful)
