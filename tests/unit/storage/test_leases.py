"""Leases of budgets on both databases: together they never exceed a budget, and nothing that a worker held is lost."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from polyroute.storage import leases as leasing
from polyroute.storage.database import Database, open_database
from polyroute.storage.leases import LeaseBank, end_leases
from polyroute.storage.writer import RowWriter
from polyroute.types.budgets import Charge
from support.budget_samples import budget, declare, leases, window
from support.ledger_records import settled

DAY = 0


def bank(database: Database, folder: Path, name: str = "w1") -> LeaseBank:
    return LeaseBank(database, folder, name)


def test_a_lease_is_granted_whole_or_in_part_or_not_at_all(either: Database, tmp_path: Path) -> None:
    all_of_it = budget(dollars="0.00000001")  # 100 units
    declare(either, all_of_it)
    one = bank(either, tmp_path)
    assert one.lease(all_of_it, DAY, 60, 10).granted == 60
    assert one.lease(all_of_it, DAY, 60, 10).granted == 10, "what was wanted is not there, what is needed is"
    refused = one.lease(all_of_it, DAY, 60, 31)
    assert refused.granted == 0
    assert (refused.state.spent, refused.state.leased, refused.state.own) == (0, 70, 70)
    one.give_back(("all", DAY), 50)
    assert one.lease(all_of_it, DAY, 31, 31).granted == 31
    one.close()
    assert window(either) == (0, 0)
    assert leases(either) == {}


def test_many_workers_at_once_never_lease_more_than_there_is(either: Database, tmp_path: Path) -> None:
    small = budget(dollars="0.0000001")  # 1000 units
    declare(either, small)
    banks = [bank(either, tmp_path, f"w{number}") for number in range(8)]
    granted: list[int] = []

    def ask(one: LeaseBank) -> None:
        for _ in range(25):
            granted.append(one.lease(small, DAY, 9, 9).granted)

    threads = [threading.Thread(target=ask, args=(one,)) for one in banks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 999, "111 leases of 9, and not one more"
    assert window(either) == (0, 999)
    for one in banks:
        one.close()
    assert window(either) == (0, 0)


def test_charges_go_from_the_lease_to_what_is_spent_once(either: Database, tmp_path: Path) -> None:
    small = budget(dollars="0.0000001")
    declare(either, small)
    one = bank(either, tmp_path)
    one.lease(small, DAY, 500, 500)
    writer = RowWriter(either, tmp_path)
    records = [settled(f"req_{number}", charges=[Charge("all", DAY, 40, 30, "w1")]) for number in range(3)]
    writer.write(records)
    assert window(either) == (120, 410)
    assert leases(either) == {"w1": 410}
    writer.write(records)  # the journal is replayed
    writer.write([*records, settled("req_new", charges=[Charge("all", DAY, 5)])])
    assert window(either) == (125, 410)
    writer.close()
    one.close()
    assert window(either) == (125, 0)


def test_a_charge_whose_lease_was_ended_is_spent_all_the_same(either: Database, tmp_path: Path) -> None:
    small = budget(dollars="0.0000001")
    declare(either, small)
    one = bank(either, tmp_path)
    one.lease(small, DAY, 100, 100)
    driver = either.connect()
    assert end_leases(driver, "w1") == 1
    driver.close()
    writer = RowWriter(either, tmp_path)
    writer.write([settled(charges=[Charge("all", DAY, 70, 70, "w1")])])
    writer.close()
    assert window(either) == (70, 0)
    assert one.renew([("all", DAY)])["all", DAY].own == 0
    one.close()


def test_leases_expire_when_nobody_renews_them(
    either: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = budget(dollars="0.0000001")
    declare(either, small)
    gone = bank(either, tmp_path / "elsewhere", "gone")
    alive = bank(either, tmp_path / "here", "alive")
    gone.lease(small, DAY, 800, 800)
    alive.lease(small, DAY, 100, 100)
    assert alive.lease(small, DAY, 200, 200).granted == 0
    monkeypatch.setattr(leasing, "LEASE_SECONDS", -1.0)
    gone.renew([])  # its last word: by now its lease has expired
    monkeypatch.setattr(leasing, "LEASE_SECONDS", 120.0)
    assert alive.renew([("all", DAY)])["all", DAY].leased == 100
    assert alive.lease(small, DAY, 900, 900).granted == 900
    alive.close()
    gone.close()
    assert window(either) == (0, 0)


def test_a_worker_that_died_gives_its_lease_back_once_its_journal_is_gone(either: Database, tmp_path: Path) -> None:
    small = budget(dollars="0.0000001")
    declare(either, small)
    dead = bank(either, tmp_path, "1-dead")
    dead.lease(small, DAY, 1000, 1000)
    alive = bank(either, tmp_path, "2-alive")
    assert leases(either) == {"1-dead": 1000}, "it is alive"
    journal = tmp_path / "1-dead-000001.journal"
    journal.write_bytes(b"")
    kill(dead)
    bank(either, tmp_path, "3-early").close()
    assert leases(either) == {"1-dead": 1000}, "its journal is still to be replayed"
    journal.unlink()
    bank(either, tmp_path, "4-late").close()
    assert leases(either) == {}
    assert alive.lease(small, DAY, 1000, 1000).granted == 1000
    alive.close()
    assert [path.name for path in tmp_path.glob("*.leases")] == []


def kill(one: LeaseBank) -> None:
    """As the operating system does: its lock is given back, and nothing else."""
    os.close(one._lock)
    one._disconnect()


class Leases(RuleBasedStateMachine):
    """Three workers who lease, charge, give back, die and come again, against a model in plain numbers."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.database = open_database(f"sqlite:///{self.folder}/polyroute.db")
        self.writer = RowWriter(self.database, self.folder)
        self.budget = budget(dollars="0.0000001")
        self.held = {"a": 0, "b": 0, "c": 0}
        self.spent = 0
        self.count = 0

    @initialize()
    def begin(self) -> None:
        driver = self.database.connect()
        for table in ("requests", "budget_windows", "budget_leases", "budgets"):
            driver.execute(f"DELETE FROM {table}")
        driver.close()
        declare(self.database, self.budget)
        self.banks = {name: LeaseBank(self.database, self.folder, name) for name in self.held}

    @rule(name=st.sampled_from("abc"), wanted=st.integers(1, 600), needed=st.integers(1, 300))
    def lease(self, name: str, wanted: int, needed: int) -> None:
        free = 1000 - self.spent - sum(self.held.values())
        grant = self.banks[name].lease(self.budget, DAY, wanted, needed)
        most = max(wanted, needed)
        assert grant.granted == (most if most <= free else needed if needed <= free else 0)
        self.held[name] += grant.granted

    @rule(name=st.sampled_from("abc"), bound=st.integers(1, 300), cost=st.integers(0, 400))
    def charge(self, name: str, bound: int, cost: int) -> None:
        if bound > self.held[name]:
            return
        used = min(bound, cost)
        self.count += 1
        self.writer.write([settled(f"req_{self.count}", charges=[Charge("all", DAY, cost, used, name)])])
        self.held[name] -= used
        self.spent += cost

    @rule()
    def replay(self) -> None:
        if self.count:
            self.writer.write([settled(f"req_{self.count}", charges=[Charge("all", DAY, 77, 7, "a")])])

    @rule(name=st.sampled_from("abc"), amount=st.integers(1, 300))
    def give_back(self, name: str, amount: int) -> None:
        self.banks[name].give_back(("all", DAY), amount)
        if amount <= self.held[name]:
            self.held[name] -= amount

    @rule(name=st.sampled_from("abc"))
    def die_and_come_again(self, name: str) -> None:
        kill(self.banks[name])
        self.banks[name] = LeaseBank(self.database, self.folder, f"{name}")
        driver = self.database.connect()
        end_leases(driver, name)
        driver.close()
        self.held[name] = 0

    @invariant()
    def the_books_agree(self) -> None:
        assert window(self.database) == (self.spent, sum(self.held.values()))
        assert leases(self.database) == {name: self.held[name] for name in leases(self.database)}

    def teardown(self) -> None:
        for one in getattr(self, "banks", {}).values():
            one.close()
        assert window(self.database) == (self.spent, 0)
        self.writer.close()
        self.database.close()


def test_leases_and_charges_agree_with_the_books_whatever_happens(tmp_path: Path) -> None:
    Leases.folder = tmp_path
    machine = settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Leases, settings=machine)  # type: ignore[no-untyped-call]
