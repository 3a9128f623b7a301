"""Budgets on the path of a request: which apply, what they hold for it, and what they are charged in the end.

Where no budget exists the gateway has none of this. Else a request reserves the most that it may cost from slices in
memory before each target is asked; only a slice that is too small waits for the database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from typing import TypeVar

from polyroute.engine.admission import user_of
from polyroute.engine.slices import Slice
from polyroute.ports import Call
from polyroute.ports.budgets import BudgetBank
from polyroute.routing.windows import window_at
from polyroute.types.budgets import Budget, BudgetBook, BudgetLevel, Grant, WindowState
from polyroute.types.records import RequestRecord

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
_MOST_MEASURED = 1000
_MOST_DEARER = 100.0
_PATIENCE = 5.0
"""Seconds that a request waits for the database."""
_AWAY = 1.0
"""Seconds after a failed attempt during which the database is not asked for a request again."""
_UNTOUCHED = WindowState()
Outcome = TypeVar("Outcome")
Subject = tuple[str | None, str | None, str]


class Budgets:
    """All budgets as one worker sees them. Made once; `start` must run in the loop that serves."""

    def __init__(
        self, bank: BudgetBank, *, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic,
        interval: float = ROUND, on_change: Callable[[bool], None] = lambda _: None,
        counts: dict[str, int] | None = None,
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
        self._away_until = 0.0
        self.dearer: dict[tuple[str, str], float] = {}
        """By target, how many times its list price a provider was seen to charge."""
        self.counts: dict[str, int] = {} if counts is None else counts
        """Requests refused by each budget (`budget NAME`), and those that it could not check (`unchecked NAME`)."""

    @property
    def teams(self) -> Mapping[str, str]:
        """The team of each user that has one."""
        return self._teams

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
        user = user_of(call)
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
        if unknown:
            await self.look(unknown)

    async def look(self, slices: Sequence[Slice]) -> None:
        """Know windows as the database has them now; without it they stay as they are known."""
        try:
            states = await self._ask(self._bank.renew, [one.key for one in slices])
        except Exception as error:  # noqa: BLE001 - whatever a driver raises: the next round knows more
            log.warning("budgets cannot be looked at: %s", error)
            return
        for one in slices:
            if one.leasing is None:
                one.state, one.known = states.get(one.key, _UNTOUCHED), True

    def take(self, one: Slice, units: int) -> bool:
        """Reserve units of a slice where it has that many."""
        if not one.take(units, self._monotonic()):
            return False
        if one.available < units * 4 and one.leasing is None and not one.scarce:
            self._begin_lease(one, units)  # ahead of those that come
        return True

    async def acquire(self, one: Slice, units: int) -> bool:
        """Reserve units of a slice, asking the database where it has too few. False when the budget has no more.

        Raises ConnectionError when the database cannot be asked.
        """
        if self.take(one, units):
            return True
        one.waiting += units
        try:
            while True:
                task, own = one.leasing, False
                if self._monotonic() < self._away_until:
                    raise ConnectionError("the database cannot be asked")
                if task is None:
                    task, own = self._begin_lease(one, units), True
                try:
                    grant = await asyncio.wait_for(asyncio.shield(task), _PATIENCE)
                except TimeoutError:
                    self._away_until = self._monotonic() + _PATIENCE
                    raise ConnectionError(f"the database does not answer within {_PATIENCE:g} s") from None
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
            if self._away_until == 0.0:
                log.warning("budget '%s' cannot be leased from: %s", one.budget.id, error)
            self._away_until = self._monotonic() + _AWAY
            return None
        finally:
            one.leasing = None
        self._away_until = 0.0
        one.receive(grant, now + _LEASE_LIFE)
        return grant

    def tell_unchecked(self, one: Slice) -> None:
        """A request goes on though its budget cannot be asked: count it, and raise the alarm once."""
        name = f"unchecked {one.budget.id}"
        self.counts[name] = self.counts.get(name, 0) + 1
        if not one.unchecked:
            one.unchecked = True
            log.error(
                "UNCHECKED: requests are served beyond what budget '%s' leased before the database went away",
                one.budget.id,
            )

    def note_dearer(self, record: RequestRecord) -> None:
        """A request cost more than was held for it: where the provider reports more than its list price, hold more from
        now on."""
        cost, priced, provider, model = (
            record.cost_usd,
            record.priced_cost_usd,
            record.actual_provider,
            record.actual_model,
        )
        if cost is None or not priced or provider is None or model is None or cost <= priced:
            return
        factor, target = min(float(cost / priced), _MOST_DEARER), (provider, model)
        if factor > self.dearer.get(target, 1.0):
            self.dearer[target] = factor
            log.warning(
                "%s/%s charges %.2f times its list price: budgets hold that much from now on; providers.%s.mark_up would "
                "say so from the first request on", provider, model, factor, provider,
            )  # fmt: skip

    def tell_refused(self, identifier: str) -> None:
        """A caller was refused by this budget."""
        name = f"budget {identifier}"
        self.counts[name] = self.counts.get(name, 0) + 1

    async def measure(self) -> tuple[BudgetLevel, ...]:
        """How every budget stands, by the database; by what this worker knows where that is away."""
        now = self._clock()
        budgets = list(chain.from_iterable(self._by_scope.values()))[:_MOST_MEASURED]
        keys = {one.id: (one.id, window_at(one.window, one.time_zone, now)[0]) for one in budgets}
        known = {one.key: one.state for one in self._slices.values()}
        if self._monotonic() >= self._away_until:
            with suppress(Exception):  # whatever a driver raises: what is known is told
                known |= await asyncio.wait_for(self._ask(self._bank.look, list(keys.values())), _PATIENCE / 5)
        states = [(one, known.get(keys[one.id], _UNTOUCHED)) for one in budgets]
        return tuple(BudgetLevel(one, state.spent, state.leased) for one, state in states)

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
