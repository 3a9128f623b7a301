"""Budgets on the path of a request: which apply, what they hold for it, and what they are charged in the end.

Where no budget exists the gateway has none of this. Else a request reserves the most that it may cost from slices in
memory before each target is asked; only a slice that is too small waits for the database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from polyroute.engine.slices import Slice
from polyroute.ports import Call
from polyroute.ports.budgets import BudgetBank
from polyroute.routing.windows import window_at
from polyroute.types.budgets import Budget, BudgetBook, Grant, WindowState

log = logging.getLogger("polyroute.budgets")

ROUND = 0.5
"""Seconds between two rounds."""
_LEASE_LIFE = 100.0
"""Seconds after a round during which a lease is surely ours: leases last 120."""
_LONGEST_IDLE = 4
"""Rounds after which a slice that nobody uses is given back."""
_FORGOTTEN = 1200
"""Rounds after which a slice that nobody used is forgotten."""
_MOST_KNOWN = 4096
_UNTOUCHED = WindowState()
Outcome = TypeVar("Outcome")
Subject = tuple[str | None, str | None, str]


class Budgets:
    """All budgets as one worker sees them. Made once; `start` must run in the loop that serves."""

    def __init__(
        self, bank: BudgetBank, *, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic,
        interval: float = ROUND, on_change: Callable[[bool], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._bank = bank
        self._clock = clock
        self._monotonic = monotonic
        self._interval = interval
        self._on_change = on_change
        self._thread = ThreadPoolExecutor(1, "polyroute-budgets")
        self._revision: int | None = None
        self._by_scope: dict[tuple[str, str | None], list[Budget]] = {}
        self._teams: dict[str, str] = {}
        self._known: dict[Subject, tuple[Budget, ...]] = {}
        self._slices: dict[str, Slice] = {}
        self._closing: list[Slice] = []
        self._tasks: set[asyncio.Task[object]] = set()
        self._rounds: asyncio.Task[None] | None = None
        self._reachable = True

    @property
    def worker(self) -> str:
        """This worker's name in charges."""
        return self._bank.worker

    # ---------------------------------------------------------------- life

    async def start(self) -> None:
        """Know all budgets before the first request, and begin with the rounds."""
        await self.round()
        self._rounds = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop asking; `close` follows when the ledger has been written."""
        if self._rounds is not None:
            self._rounds.cancel()
            with suppress(asyncio.CancelledError):
                await self._rounds
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    async def close(self) -> None:
        """Give every lease back."""
        await self._ask(self._bank.close)
        self._thread.shutdown()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.round()
            except Exception as error:  # noqa: BLE001 - whatever a driver raises: slices go on until they expire
                if self._reachable:
                    self._reachable = False
                    log.warning("budgets cannot be brought up to date (%s); what is leased goes on", error)
            else:
                if not self._reachable:
                    self._reachable = True
                    log.warning("budgets are up to date again")

    async def round(self) -> None:
        """Hear of changed budgets, keep the leases, give back what is not needed."""
        book = await self._ask(self._bank.read, self._revision)
        if book is not None:
            self._adopt(book)
        slices = [*self._slices.values(), *self._closing]
        if not slices and not self._by_scope:
            return
        now = self._monotonic()
        states = await self._ask(self._bank.renew, [one.key for one in slices])
        for one in slices:
            if one.leasing is None:
                one.look(states.get(one.key, _UNTOUCHED), now + _LEASE_LIFE)
        for one in slices:
            surplus = (
                one.surplus(self._clock(), longest_idle=_LONGEST_IDLE) if one not in self._closing else one.available
            )
            if surplus > 0:
                one.available -= surplus
                await self._ask(self._bank.give_back, one.key, surplus)
        for one in list(self._slices.values()):
            if one.idle >= _FORGOTTEN and not one.reserved and one.available <= 0:
                del self._slices[one.budget.id]
        self._closing = [one for one in self._closing if one.reserved or one.available > 0 or one.leasing is not None]

    def _adopt(self, book: BudgetBook) -> None:
        self._revision = book.revision
        self._teams = book.teams
        self._known.clear()
        self._by_scope = {}
        budgets = {budget.id: budget for budget in book.budgets}
        for budget in budgets.values():
            self._by_scope.setdefault((budget.scope, budget.subject), []).append(budget)
        for identifier, one in list(self._slices.items()):
            now = budgets.get(identifier)
            # Of a budget that has less now, more may lie here than it still has.
            if now is None or now.limit < one.budget.limit or _calendar(now) != _calendar(one.budget):
                self._retire(one)
            else:
                one.budget = now
        self._on_change(bool(budgets))

    def _retire(self, one: Slice) -> None:
        if self._slices.get(one.budget.id) is one:
            del self._slices[one.budget.id]
        self._closing.append(one)

    # ---------------------------------------------------------------- requests

    def slices_for(self, call: Call, route: str) -> list[Slice]:
        """The current windows of all budgets that a call counts against."""
        key = call.key
        user = (None if key is None else key.user_id) or call.options.user
        now = self._clock()
        return [
            self._slice(budget, now)
            for budget in self._budgets_of((None if key is None else key.id, user, route), call)
        ]

    def _budgets_of(self, subject: Subject, call: Call) -> tuple[Budget, ...]:
        known = self._known.get(subject)
        if known is None:
            key, user, route = subject
            team = None if user is None else self._teams.get(user)
            name = None if call.key is None else call.key.name
            places = [
                ("installation", None),
                ("team", team),
                ("user", user),
                ("key", key),
                ("key", name),
                ("route", route),
            ]
            found = {
                budget.id: budget
                for scope, one in places
                if scope == "installation" or one is not None
                for budget in self._by_scope.get((scope, one), ())
            }
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[subject] = tuple(found.values())
        return known

    def _slice(self, budget: Budget, now: float) -> Slice:
        one = self._slices.get(budget.id)
        if one is not None:
            if now < one.end:
                return one
            self._retire(one)
        start, end = window_at(budget.window, budget.time_zone, now)
        one = self._slices[budget.id] = Slice(budget, start, end)
        return one

    async def know(self, slices: Iterable[Slice]) -> None:
        """Look at windows whose soft limits decide, before the first request does. Without the database they are as new."""
        unknown = [one for one in slices if not one.known and (not one.budget.hard or one.budget.soft_action != "warn")]
        if not unknown:
            return
        try:
            states = await self._ask(self._bank.renew, [one.key for one in unknown])
        except Exception as error:  # noqa: BLE001 - whatever a driver raises: the next round knows more
            log.warning("budgets cannot be looked at: %s", error)
            return
        for one in unknown:
            if not one.known:
                one.state, one.known = states.get(one.key, _UNTOUCHED), True

    async def acquire(self, one: Slice, units: int) -> bool:
        """Reserve units of a slice, asking the database where it has too few. False when the budget has no more.

        Raises whatever the database does.
        """
        if one.take(units, self._monotonic()):
            if one.available < units * 4 and one.leasing is None and not one.scarce:
                self._begin_lease(one, units)  # ahead of those that come
            return True
        one.waiting += units
        try:
            while True:
                task, own = one.leasing, False
                if task is None:
                    task, own = self._begin_lease(one, units), True
                grant = await asyncio.shield(task)
                if one.take(units, self._monotonic()):
                    return True
                if grant is None:
                    if own:
                        raise ConnectionError("the database cannot be asked")
                elif own and not grant.granted:
                    return False
        finally:
            one.waiting -= units

    def _begin_lease(self, one: Slice, units: int) -> asyncio.Task[Grant | None]:
        """A task of its own: a caller who leaves must not take what was granted along."""
        task = asyncio.get_running_loop().create_task(self._lease(one, units))
        one.leasing = task
        self._keep(task)
        return task

    async def _lease(self, one: Slice, units: int) -> Grant | None:
        """None when the database cannot be asked."""
        now = self._monotonic()
        # A lease that was not renewed in time may have been ended, and what is available with it.
        needed = max(units - one.available, 1) if now < one.alive_until else units
        try:
            grant = await self._ask(self._bank.lease, one.budget, one.start, one.wish(needed), needed)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises
            log.warning("budget '%s' cannot be leased from: %s", one.budget.id, error)
            return None
        finally:
            one.leasing = None
        one.receive(grant, now + _LEASE_LIFE)
        return grant

    def tell_exhausted(self, one: Slice, message: str) -> None:
        """Notify operators, once in a window."""
        if not one.told:
            one.told = True
            self._keep(asyncio.get_running_loop().create_task(self._tell(one, message)))

    async def _tell(self, one: Slice, message: str) -> None:
        try:
            await self._ask(self._bank.tell_exhausted, one.budget, one.start, message)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises: the next refusal tries again
            one.told = False
            log.warning("a notification could not be written: %s", error)

    # ---------------------------------------------------------------- the thread

    def _keep(self, task: asyncio.Task[Outcome]) -> None:
        kept: asyncio.Task[object] = task
        self._tasks.add(kept)
        kept.add_done_callback(self._tasks.discard)

    async def _ask(self, question: Callable[..., Outcome], *values: object) -> Outcome:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: question(*values))


def _calendar(budget: Budget) -> tuple[str, str]:
    return budget.window, budget.time_zone
