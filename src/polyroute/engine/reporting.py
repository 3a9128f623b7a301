"""Health and metrics as all workers of this machine see them together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import msgspec

from polyroute.engine.gateway import Gateway
from polyroute.engine.runtime import LiveProvider
from polyroute.engine.services import ServiceDesk
from polyroute.engine.sharing import Facts, Sharing
from polyroute.routing.credentials import CredentialState
from polyroute.routing.health import WINDOWS, bucket_end, judge, newest_error, percentiles, uptime
from polyroute.types.health import (
    AttemptTotals,
    BreakerHealth,
    CredentialHealth,
    DrillHealth,
    HealthReport,
    LedgerHealth,
    Measured,
    ProviderHealth,
    Series,
    Totals,
)

_BOUNDS = tuple(range(13, 65, 4))
"""Of the fine buckets, those that metrics show: 8 ms, doubled up to a minute."""


class HealthDesk:
    """Answers operators. Every answer takes in what the other workers have said by then."""

    def __init__(
        self, gateway: Gateway, sharing: Sharing, ledger: Callable[[], LedgerHealth] | None = None,
        services: ServiceDesk | None = None,
    ) -> None:  # fmt: skip
        self._gateway = gateway
        self.sharing = sharing
        self._ledger = ledger
        self._services = services

    async def report(self) -> HealthReport:
        """The health of every provider that is on."""
        await self.sharing.round()
        report = self._report(self._facts())
        if self._services is None:
            return report
        return msgspec.structs.replace(report, services=await self._services.report())

    async def measure(self) -> Measured:
        """What metrics are made of."""
        await self.sharing.round()
        facts = self._facts()
        totals = Totals()
        refusals: dict[str, int] = {}
        for _, one in facts:
            _add(totals, one.totals)
            _sum(refusals, one.refusals)
        return Measured(
            report=self._report(facts),
            totals=totals,
            durations=tuple(_series(key, one) for key, one in sorted(_by_kind(totals).items())),
            first_tokens=tuple(_series(key, one) for key, one in sorted(totals.ttft.items())),
            refusals=refusals,
        )

    def release(self, provider: str) -> bool:
        """An operator's order: close a provider's breakers and bench none of its credentials. False when it is not on."""
        live = self._gateway.runtime.providers.get(provider)
        if live is None:
            return False
        now = asyncio.get_running_loop().time()
        for key in self._gateway.breakers.snapshots():
            if key.split(" ", 1)[0] == provider:
                self._gateway.breakers.reset(key, now)
        live.access.pool.release(now)
        return True

    def _facts(self) -> list[tuple[bool, Facts]]:
        return [(True, self.sharing.facts()), *self.sharing.others]

    def _report(self, facts: list[tuple[bool, Facts]]) -> HealthReport:
        now, clock = time.time(), asyncio.get_running_loop().time()
        return HealthReport(
            workers=sum(present for present, _ in facts),
            ledger=None if self._ledger is None else self._ledger(),
            providers=tuple(
                self._provider(live, facts, now, clock)
                for live in self._gateway.runtime.providers.values()
                if live.row.enabled
            ),
        )

    def _provider(
        self, live: LiveProvider, facts: list[tuple[bool, Facts]], now: float, clock: float
    ) -> ProviderHealth:
        name = live.row.name
        windows = [one.windows[name] for _, one in facts if name in one.windows]
        loads = [one.load[name] for present, one in facts if present and name in one.load]
        breakers = tuple(self._breakers(name, clock))
        credentials = tuple(_credential(state, clock) for state in live.access.pool.states)
        drill = self._gateway.drills.get(name)
        times = {window: uptime(windows, seconds, now) for window, seconds in WINDOWS.items()}
        closed_off = [one for one in breakers if one.state == "open" and one.name.count(" ") == 1]
        health, reasons = judge(
            times["5m"], open_breakers=len(closed_off), other_breakers=len(breakers) - len(closed_off),
            credentials=len(credentials), benched=sum(one.state == "benched" for one in credentials),
            drilled=drill is not None,
        )  # fmt: skip
        return ProviderHealth(
            provider=name, health=health, reasons=reasons, active=sum(load[0] for load in loads),
            queued=sum(load[1] for load in loads), uptime=times, latency_ms=percentiles(windows, now),
            ttft_ms=percentiles(windows, now, ttft=True), last_error=newest_error(windows), breakers=breakers,
            credentials=credentials,
            drill=None if drill is None else DrillHealth(
                fault=drill.described, operation=drill.operation, ends_in=round(max(drill.until - now, 0.0), 1)
            ),
            probe=self._gateway.probes.get(name),
        )  # fmt: skip

    def _breakers(self, provider: str, clock: float) -> Iterable[BreakerHealth]:
        for key, breaker in self._gateway.breakers.restricted.items():
            if key.split(" ", 1)[0] == provider and breaker.restricts(clock):
                state = "resting" if breaker.state == "closed" else breaker.state
                yield BreakerHealth(
                    name=key, state=state, cause=breaker.cause, openings=breaker.openings,
                    retry_in=round(max(breaker.until - clock, 0.0), 1),
                )  # fmt: skip


def _credential(state: CredentialState, clock: float) -> CredentialHealth:
    whole = state.bench("", clock)
    models = tuple(sorted(name for name in state.benches if name and clock < state.benches[name].until))
    bench = whole or max((state.benches[name] for name in models), key=lambda one: one.until, default=None)
    left = None if state.limiter is None else state.limiter.remaining(clock)
    told = int(state.left[0]) if state.left is not None and clock < state.left[1] else None
    return CredentialHealth(
        label=state.credential.label, state="benched" if whole else "limited" if models else "ready",
        reason=None if bench is None else bench.reason,
        benched_for=None if bench is None else round(bench.until - clock, 1), models=models,
        weight=state.share.weight,
        requests_left=told if left is None or left.requests is None else left.requests,
        tokens_left=None if left is None else left.tokens,
    )  # fmt: skip


def _by_kind(totals: Totals) -> dict[str, AttemptTotals]:
    """Durations by provider, operation and error kind."""
    found: dict[str, AttemptTotals] = {}
    for key, one in totals.attempts.items():
        provider, operation, _, kind = key.split("\t")
        _merge(found.setdefault(f"{provider}\t{operation}\t{kind}", AttemptTotals()), one)
    return found


def _series(key: str, one: AttemptTotals) -> Series:
    buckets: list[tuple[float | None, int]] = [
        (bucket_end(bound) / 1000.0, sum(count for number, count in one.latency.items() if number <= bound))
        for bound in _BOUNDS
    ]
    return Series(tuple(key.split("\t")), (*buckets, (None, one.count)), one.seconds)


def _add(totals: Totals, more: Totals) -> None:
    for mine, other in ((totals.attempts, more.attempts), (totals.ttft, more.ttft)):
        for key, one in other.items():
            _merge(mine.setdefault(key, AttemptTotals()), one)
    _sum(totals.tokens_in, more.tokens_in)
    _sum(totals.tokens_out, more.tokens_out)
    _sum(totals.requests, more.requests)
    totals.unmetered += more.unmetered
    for key, cost in more.cost_usd.items():
        totals.cost_usd[key] = totals.cost_usd.get(key, 0.0) + cost


def _merge(mine: AttemptTotals, other: AttemptTotals) -> None:
    mine.count += other.count
    mine.seconds += other.seconds
    for number, count in other.latency.items():
        mine.latency[number] = mine.latency.get(number, 0) + count


def _sum(mine: dict[str, int], other: dict[str, int]) -> None:
    for key, count in other.items():
        mine[key] = mine.get(key, 0) + count
