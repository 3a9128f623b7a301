"""Slices of budgets in memory, over a bank in plain numbers: nothing is admitted beyond it, nothing stays behind."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Mapping, Sequence

import pytest

from polyroute.engine.budgets import Budgets
from polyroute.ports import Call, Options
from polyroute.ports.budgets import WindowKey
from polyroute.types.budgets import Budget, BudgetBook, Grant, WindowState
from polyroute.types.operations import Dialect, Operation
from support.budget_samples import budget


class Vault:
    """The database of all workers."""

    def __init__(self, limit: int) -> None:
        self.limit, self.spent, self.own = limit, 0, dict[str, int]()
        self.lock = threading.Lock()

    @property
    def leased(self) -> int:
        return sum(self.own.values())

    def charge(self, worker: str, spent: int, held: int) -> None:
        """As the ledger's writer does."""
        with self.lock:
            self.spent += spent
            self.own[worker] -= held


class FakeBank:
    """Implements `ports.BudgetBank` over a vault."""

    def __init__(self, vault: Vault, budgets: Sequence[Budget], worker: str = "w1") -> None:
        self.vault, self.budgets, self.worker = vault, budgets, worker
        self.trips = 0
        self.away = False
        self.exhausted: list[str] = []

    def read(self, revision: int | None) -> BudgetBook | None:
        return (
            None if revision == 1 else BudgetBook(revision=1, budgets=tuple(self.budgets), teams={"alice": "research"})
        )

    def lease(self, budget: Budget, window: int, wanted: int, needed: int) -> Grant:
        self.trips += 1
        if self.away:
            raise OSError("the database is away")
        vault = self.vault
        with vault.lock:
            free = vault.limit - vault.spent - vault.leased
            granted = wanted if wanted <= free else needed if needed <= free else 0
            vault.own[self.worker] = vault.own.get(self.worker, 0) + granted
            return Grant(granted, self._state())

    def give_back(self, key: WindowKey, amount: int) -> None:
        with self.vault.lock:
            self.vault.own[self.worker] -= amount

    def renew(self, keys: Sequence[WindowKey]) -> Mapping[WindowKey, WindowState]:
        with self.vault.lock:
            return {key: self._state() for key in keys}

    def tell_exhausted(self, budget: Budget, window: int, message: str) -> None:
        self.exhausted.append(message)

    def close(self) -> None:
        with self.vault.lock:
            self.vault.own[self.worker] = 0

    def _state(self) -> WindowState:
        return WindowState(self.vault.spent, self.vault.leased, self.vault.own.get(self.worker, 0))


def call(user: str | None = None) -> Call:
    return Call(
        id="req_1", operation=Operation.CHAT, dialect=Dialect.OPENAI_CHAT, model="text", stream=False, body=b"{}",
        content_type=b"", options=Options(user=user),
    )  # fmt: skip


async def opened(vault: Vault, *, worker: str = "w1", **changes: object) -> tuple[Budgets, FakeBank]:
    bank = FakeBank(vault, [budget(limit=vault.limit, window="total", **changes)], worker)
    budgets = Budgets(bank, interval=3600)
    await budgets.start()
    return budgets, bank


async def closed(budgets: Budgets) -> None:
    await budgets.stop()
    await budgets.close()


@pytest.mark.parametrize("seed", range(5))
async def test_workers_at_once_admit_no_more_than_there_is_and_leave_nothing_held(seed: int) -> None:
    chance, vault = random.Random(seed), Vault(100_000)
    workers = [await opened(vault, worker=f"w{number}") for number in range(3)]
    admitted = 0

    async def request(budgets: Budgets, bank: FakeBank) -> None:
        nonlocal admitted
        bound = chance.randint(1, 1500)
        [one] = budgets.slices_for(call(), "text")
        if not await budgets.acquire(one, bound):
            return
        admitted += 1
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(0)
        cost = chance.randint(0, bound)
        used = one.settle(bound, cost)
        vault.charge(bank.worker, cost, used)
        assert vault.spent <= vault.limit

    async with asyncio.TaskGroup() as group:
        for _ in range(600):
            budgets, bank = chance.choice(workers)
            group.create_task(request(budgets, bank))
            if chance.random() < 0.05:
                await budgets.round()
    assert vault.spent + vault.leased <= vault.limit
    assert admitted > 60
    for budgets, _ in workers:
        for _ in range(8):  # nobody asks any more
            await budgets.round()
    assert vault.leased == 0
    for budgets, _ in workers:
        await closed(budgets)


async def test_most_requests_need_no_round_trip() -> None:
    vault = Vault(10**9)
    budgets, bank = await opened(vault)
    [one] = budgets.slices_for(call(), "text")
    for _ in range(1000):
        assert await budgets.acquire(one, 100)
        vault.charge("w1", 40, one.settle(100, 40))
    assert bank.trips < 40
    await closed(budgets)


async def test_a_caller_who_leaves_while_it_waits_takes_nothing_along() -> None:
    vault = Vault(1000)
    budgets, _ = await opened(vault)
    [one] = budgets.slices_for(call(), "text")
    waiting = asyncio.create_task(budgets.acquire(one, 700))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await budgets.acquire(one, 700), "what was granted to it is there for others"
    one.settle(700, 0)
    await closed(budgets)


async def test_a_database_that_is_away_refuses_only_what_is_not_leased() -> None:
    vault = Vault(10_000_000)
    budgets, bank = await opened(vault)
    [one] = budgets.slices_for(call(), "text")
    assert await budgets.acquire(one, 100)
    bank.away = True
    assert await budgets.acquire(one, 100), "the slice goes on"
    with pytest.raises(ConnectionError):
        await budgets.acquire(one, 5_000_000)
    bank.away = False
    assert await budgets.acquire(one, 5_000_000)
    await closed(budgets)


async def test_a_lease_that_somebody_ended_is_not_taken_from() -> None:
    vault = Vault(10_000)
    budgets, _ = await opened(vault)
    [one] = budgets.slices_for(call(), "text")
    assert await budgets.acquire(one, 100)
    vault.own["w1"], vault.spent = 0, 9_990  # others spent it
    await budgets.round()
    assert not await budgets.acquire(one, 100)
    await closed(budgets)


async def test_a_window_that_is_over_gives_way_to_the_next() -> None:
    now = 1_790_000_000.0
    vault = Vault(1000)
    bank = FakeBank(vault, [budget(limit=1000, window="day")])
    budgets = Budgets(bank, clock=lambda: now, interval=3600)
    await budgets.start()
    [today] = budgets.slices_for(call(), "text")
    assert await budgets.acquire(today, 600)
    now += 86_400
    [tomorrow] = budgets.slices_for(call(), "text")
    assert tomorrow.start == today.start + 86_400
    assert tomorrow is not today
    today.settle(600, 0)  # a request that began yesterday counts there
    await budgets.round()
    assert vault.leased == 0
    await closed(budgets)


async def test_budgets_apply_by_user_team_and_route() -> None:
    vault = Vault(1000)
    scopes = [("user", "alice"), ("team", "research"), ("route", "text"), ("user", "bob"), ("installation", None)]
    bank = FakeBank(vault, [budget(f"{scope}-{name}", scope=scope, subject=name) for scope, name in scopes])
    budgets = Budgets(bank, interval=3600)
    await budgets.start()

    def names(user: str | None, route: str) -> set[str]:
        return {one.budget.id for one in budgets.slices_for(call(user), route)}

    assert names("alice", "text") == {"user-alice", "team-research", "route-text", "installation-None"}
    assert names("bob", "other") == {"user-bob", "installation-None"}
    assert names(None, "other") == {"installation-None"}
    await closed(budgets)
