"""The workers of one machine tell each other what they know: breakers, benched credentials, use of limits, health, drills.

Twice a second each says what it has learned and hears what the others have; what was said outlives a restart. Times go out
in seconds since the epoch and come in on the event loop's clock, which is what breakers and limits run on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from polyroute.engine.drills import Drill
from polyroute.engine.gateway import Gateway
from polyroute.engine.health import HealthRecorder
from polyroute.routing.breaker import BreakerSnapshot
from polyroute.routing.credentials import Bench
from polyroute.routing.health import ProviderWindows
from polyroute.routing.limits import Limiter, Minute, Minutes, Spent
from polyroute.types.exchange import Shared, StateExchange
from polyroute.types.health import Totals

log = logging.getLogger("polyroute.sharing")

INTERVAL = 0.5
"""Seconds between two rounds."""
_SLACK = 0.05
"""Seconds that the clocks of two processes may be apart: a state is later only when it is so by more."""


_FIRST = 0.001


class Facts(msgspec.Struct, kw_only=True):
    """What one worker says. Times are seconds since the epoch; `benches` and `load` (active, queued) are by provider."""

    breakers: dict[str, BreakerSnapshot] = msgspec.field(default_factory=dict)
    benches: dict[str, dict[str, Bench]] = msgspec.field(default_factory=dict)
    spent: dict[str, Spent] = msgspec.field(default_factory=dict)
    load: dict[str, tuple[int, int]] = msgspec.field(default_factory=dict)
    refusals: dict[str, int] = msgspec.field(default_factory=dict)
    windows: dict[str, ProviderWindows] = msgspec.field(default_factory=dict)
    totals: Totals = msgspec.field(default_factory=Totals)
    minutes: dict[str, Minutes] = msgspec.field(default_factory=dict)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Facts)
_drills = msgspec.json.Decoder(list[Drill])


class Sharing:
    """Keeps one gateway in step with the other workers. `start` must run in the loop that serves."""

    def __init__(
        self, gateway: Gateway, recorder: HealthRecorder, exchange: StateExchange, *, interval: float = INTERVAL
    ) -> None:
        self._gateway = gateway
        self._recorder = recorder
        self._exchange = exchange
        self._interval = interval
        self._offset = 0.0
        self._said: bytes | None = None
        self._counted: dict[tuple[str, str], Spent] = {}
        self._heard: set[str] = set()
        self._recent: dict[str, list[tuple[float, int, int]]] = {}
        self._fed: set[int] = set()
        self._task: asyncio.Task[None] | None = None
        self._joined = False
        self._lock = asyncio.Lock()
        self.others: list[tuple[bool, Facts]] = []
        """What the others said last, and whether each is present."""

    # ---------------------------------------------------------------- rounds

    async def start(self) -> None:
        """Take over what earlier runs and other workers know, and begin with the rounds."""
        self._offset = time.time() - asyncio.get_running_loop().time()
        try:
            before = await asyncio.to_thread(self._exchange.join)
            self._joined = True
        except OSError as error:
            log.warning("this worker goes on alone: %s", error)
            return
        own = None if before is None else _read(before)
        if own is not None:
            self._recorder.resume(own.windows, own.totals)
            self._gateway.limits.refusals.update(own.refusals)
            self._adopt(own)
            self._resume_limits(own)
        self._gateway.limits.introduce = self._introduce
        await self.round()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Say what is known by now, for the next run, and leave."""
        if self._task is not None:
            self._task.cancel()
        if self._joined:
            self._recorder.count()
            data = _encoder.encode(self.facts())
            await asyncio.to_thread(self._exchange.tell, data)
            await asyncio.to_thread(self._exchange.leave)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.round()
            except Exception:
                log.exception("a round of sharing failed; the next one follows")

    async def round(self) -> None:
        """Count, sweep, say, hear."""
        async with self._lock:
            await self._round()

    async def _round(self) -> None:
        now = asyncio.get_running_loop().time()
        self._recorder.count()
        self._gateway.breakers.sweep(now)
        for provider in self._gateway.runtime.providers.values():
            if not provider.access.pool.eased:
                provider.access.pool.sweep(now)
        data = _encoder.encode(self.facts())
        changed, self._said = data != self._said, data
        heard, board = await asyncio.to_thread(self._trade, data if changed else None)
        self._take(heard, board)

    def _trade(self, data: bytes | None) -> tuple[list[tuple[Shared, Facts | None]], bytes]:
        """The blocking part of a round."""
        self._exchange.tell(data)
        return [(shared, _read(shared.data)) for shared in self._exchange.hear()], self._exchange.read_board()

    def _take(self, heard: list[tuple[Shared, Facts | None]], board: bytes) -> None:
        self.others = [(shared.present, facts) for shared, facts in heard if facts is not None]
        for _, facts in self.others:
            self._adopt(facts)
        self._count_elsewhere([(shared, facts) for shared, facts in heard if facts is not None])
        self._gateway.drills = _running(board, time.time())

    # ---------------------------------------------------------------- out and in

    def facts(self) -> Facts:
        """What this worker knows."""
        gateway, now, offset = self._gateway, asyncio.get_running_loop().time(), self._offset
        providers = gateway.runtime.providers
        return Facts(
            breakers={key: _shifted(one, offset) for key, one in gateway.breakers.snapshots().items()},
            benches={
                name: {key: _moved(bench, offset) for key, bench in benches.items()}
                for name, provider in providers.items()
                if not provider.access.pool.eased and (benches := provider.access.pool.benches(now))
            },
            spent={name: limiter.spent(now) for name, limiter in self._limiters()},
            load={
                name: (load.active, load.queued)
                for name, provider in providers.items()
                if (load := provider.access.load).active or load.queued
            },
            refusals=dict(gateway.limits.refusals),
            windows=self._recorder.windows,
            totals=self._recorder.totals,
            minutes={
                name: _on_clock(kept, offset)
                for name, limiter in self._limiters()
                if (kept := limiter.kept(now)) != (None, None)
            },
        )

    def _resume_limits(self, own: Facts) -> None:
        """The running minute goes on where the earlier run of this worker left it."""
        now = asyncio.get_running_loop().time()
        earlier = {name: _on_clock(minutes, -self._offset) for name, minutes in own.minutes.items()}
        for name, limiter in self._limiters():
            if name in earlier:
                limiter.resume(earlier.pop(name), now)
        self._gateway.limits.earlier = earlier

    def _limiters(self) -> Iterator[tuple[str, Limiter]]:
        yield from self._gateway.limits.limiters.items()
        for name, provider in self._gateway.runtime.providers.items():
            if provider.access.limiter is not None:
                yield f"provider {name}", provider.access.limiter
            for state in provider.access.pool.states:
                if state.limiter is not None:
                    yield f"credential {name} {state.key}", state.limiter

    def _adopt(self, facts: Facts) -> None:
        now, offset = asyncio.get_running_loop().time(), self._offset
        known = self._gateway.breakers.snapshots()
        later = {}
        for key, snapshot in facts.breakers.items():
            shifted = _shifted(snapshot, -offset)
            if _is_later(shifted, known.get(key)):
                later[key] = shifted
        if later:
            self._gateway.breakers.adopt(later, now)
        for name, benches in facts.benches.items():
            provider = self._gateway.runtime.providers.get(name)
            if provider is not None:
                moved = {key: _moved(bench, -offset) for key, bench in benches.items()}
                provider.access.pool.adopt(moved, now, _SLACK)

    def _count_elsewhere(self, heard: list[tuple[Shared, Facts]]) -> None:
        """What other workers let through counts here as well. A limiter that is new here is told of their last minute."""
        now = asyncio.get_running_loop().time()
        fresh: dict[str, tuple[int, int]] = {}
        under_way: dict[str, int] = {}
        for shared, facts in heard:
            first = shared.name not in self._heard
            self._heard.add(shared.name)
            for name, spent in facts.spent.items():
                before = self._counted.get((shared.name, name), spent if first else Spent())
                if spent.requests < before.requests:  # it began anew
                    before = Spent()
                self._counted[shared.name, name] = spent
                requests, tokens = fresh.get(name, (0, 0))
                fresh[name] = (requests + spent.requests - before.requests, tokens + spent.tokens - before.tokens)
                if shared.present:
                    under_way[name] = under_way.get(name, 0) + spent.under_way
        for name, (requests, tokens) in fresh.items():
            if requests or tokens:
                self._recent.setdefault(name, []).append((now, requests, tokens))
        self._recent = {
            name: kept for name, rows in self._recent.items() if (kept := [row for row in rows if row[0] > now - 60.0])
        }
        limiters = dict(self._limiters())
        for name, limiter in limiters.items():
            if id(limiter) in self._fed:
                limiter.count_elsewhere(*fresh.get(name, (0, 0)), under_way.get(name, 0), now)
            else:
                self._introduce(name, limiter, now)
        self._fed = {id(limiter) for limiter in limiters.values()}

    def _introduce(self, name: str, limiter: Limiter, now: float) -> None:
        """Tell a limiter that is new here of the others' last minute."""
        rows = [row for row in self._recent.get(name, ()) if row[0] > now - 60.0]
        under_way = sum(facts.spent[name].under_way for here, facts in self.others if here and name in facts.spent)
        limiter.count_elsewhere(sum(row[1] for row in rows), sum(row[2] for row in rows), under_way, now)
        self._fed.add(id(limiter))

    # ---------------------------------------------------------------- drills

    async def start_drill(self, drill: Drill) -> None:
        """Rehearse, in every worker from its next round on. Raises OSError."""
        await asyncio.to_thread(put_drill, self._exchange, drill)
        await self.round()

    async def end_drills(self, provider: str | None) -> int:
        """End a provider's drill, or all; how many were running. Raises OSError."""
        ended = await asyncio.to_thread(remove_drills, self._exchange, provider)
        await self.round()
        return ended


def put_drill(exchange: StateExchange, drill: Drill) -> None:
    """Write a drill on the board, in the place of one that its provider has. Raises OSError."""

    def change(board: bytes) -> bytes:
        others = [one for one in _running(board, time.time()).values() if one.provider != drill.provider]
        return msgspec.json.encode([*others, drill])

    exchange.change_board(change)


def remove_drills(exchange: StateExchange, provider: str | None) -> int:
    """Take a provider's drill, or all, off the board; how many were running. Raises OSError."""
    ended = 0

    def change(board: bytes) -> bytes:
        nonlocal ended
        running = list(_running(board, time.time()).values())
        left = [one for one in running if provider is not None and one.provider != provider]
        ended = len(running) - len(left)
        return msgspec.json.encode(left)

    exchange.change_board(change)
    return ended


def _running(board: bytes, now: float) -> Mapping[str, Drill]:
    if not board:
        return {}
    try:
        found: Iterable[Drill] = _drills.decode(board)
    except msgspec.MsgspecError:
        return {}
    return {drill.provider: drill for drill in found if drill.until > now}


def _read(data: bytes) -> Facts | None:
    """None for what another version, or nobody, wrote."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError):
        return None


def _shifted(snapshot: BreakerSnapshot, offset: float) -> BreakerSnapshot:
    """With its times on another clock; 0 means never on both. The event loop's clock begins with the machine: what changed
    before that changed at its beginning."""
    return msgspec.structs.replace(
        snapshot,
        until=snapshot.until + offset if snapshot.until else 0.0,
        changed_at=max(snapshot.changed_at + offset, _FIRST) if snapshot.changed_at else 0.0,
    )


def _on_clock(minutes: Minutes, offset: float) -> Minutes:
    """With their beginnings on another clock."""
    requests, tokens = (None if one is None else Minute(one.start + offset, one.count, one.before) for one in minutes)
    return requests, tokens


def _moved(bench: Bench, offset: float) -> Bench:
    return Bench(bench.reason, bench.since + offset, bench.until + offset, bench.times)


def _is_later(snapshot: BreakerSnapshot, known: BreakerSnapshot | None) -> bool:
    """Whether a state is news, and not our own told back to us by a clock that is a little off."""
    if known is None:
        return True
    if abs(snapshot.changed_at - known.changed_at) <= _SLACK:
        return snapshot.until > known.until + _SLACK
    return snapshot.changed_at > known.changed_at
