"""Slices of budgets that workers lease: never more together than a budget still has, and given back by those who die.

A lease is one row for a worker and a window; `budget_windows.leased` is the sum of a window's leases. Charges move what was
spent from a lease to `spent` when requests are written (`charges.py`). A worker that is gone has left its journal, which the
next start on its machine replays first, and a lock file beside it that nobody holds any more: then its leases are ended at
once. Those of a machine that does not come back end when they expire.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from polyroute.ports.budgets import WindowKey
from polyroute.storage.budgets import read_book
from polyroute.storage.database import Database, Driver
from polyroute.storage.locks import try_lock
from polyroute.storage.notices import insert_notification
from polyroute.types.budgets import Budget, BudgetBook, Grant, WindowState

Outcome = TypeVar("Outcome")

logger = logging.getLogger(__name__)

LEASE_SECONDS = 120.0
"""How long a lease lasts that its worker does not renew."""
_SUFFIX = ".leases"
_LOOK_SECONDS = 2.0
"""How often to look for workers that are gone."""

_OPEN = "INSERT INTO budget_windows (budget_id, starts_at, spent, leased) VALUES (?, ?, 0, 0) ON CONFLICT DO NOTHING"
_LEASE = (
    "UPDATE budget_windows SET leased = leased + ? WHERE budget_id = ? AND starts_at = ? "
    "AND spent + leased + ? <= (SELECT max_units FROM budgets WHERE id = ?) RETURNING spent, leased"
)
"""The one atomic statement that admits: either the budget has that much, or no row changes."""
_NOTE = (
    "INSERT INTO budget_leases (worker, budget_id, starts_at, amount, expires_at) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (worker, budget_id, starts_at) DO UPDATE SET amount = budget_leases.amount + excluded.amount, "
    "expires_at = excluded.expires_at RETURNING amount"
)
_LOWER = "UPDATE budget_windows SET leased = leased - ? WHERE budget_id = ? AND starts_at = ?"
_TAKE = (
    "UPDATE budget_leases SET amount = amount - ? WHERE worker = ? AND budget_id = ? AND starts_at = ? AND amount >= ?"
)


class LeaseBank:
    """Implements `ports.BudgetBank` over a database. Used by one thread at a time; connects anew after an error."""

    def __init__(self, database: Database, folder: Path, writer: str | None = None) -> None:
        self._database = database
        self._folder = folder
        self._driver: Driver | None = None
        self.worker = writer or f"{os.getpid()}-{secrets.token_hex(4)}"
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{self.worker}{_SUFFIX}"
        self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try_lock(self._lock)
        self._looked = 0.0
        self._look_for_the_dead()

    # ---------------------------------------------------------------- ports.BudgetBank

    def read(self, revision: int | None) -> BudgetBook | None:
        """All budgets, or None when nothing changed since that revision."""
        return self._run(lambda driver: read_book(driver, revision))

    def lease(self, budget: Budget, window: int, wanted: int, needed: int) -> Grant:
        """Up to `wanted` units, at least `needed`, or nothing."""
        return self._run(lambda driver: self._lease(driver, budget, window, wanted, needed))

    def give_back(self, key: WindowKey, amount: int) -> None:
        """Units that this worker does not need. A lease that expired has nothing to give."""

        def run(driver: Driver) -> None:
            with driver.transaction():
                self._touch(driver, key)
                if driver.execute(driver.sql(_TAKE), (amount, self.worker, *key, amount)).rowcount:
                    driver.execute(driver.sql(_LOWER), (amount, *key))

        self._run(run)

    def renew(self, keys: Sequence[WindowKey]) -> Mapping[WindowKey, WindowState]:
        """Keep this worker's leases from expiring, end those that did, and look at windows."""
        return self._run(lambda driver: self._renew(driver, keys))

    def tell_exhausted(self, budget: Budget, window: int, message: str) -> None:
        """Notify, once in a window, that requests are refused."""
        data = {
            "budget": budget.id, "scope": budget.scope, "subject": budget.subject, "window_start": window,
            "amount": f"{budget.amount} {budget.currency}",
        }  # fmt: skip
        key = f"budget.exhausted:{budget.id}:{window}"
        self._run(lambda driver: insert_notification(driver, key, "budget.exhausted", budget.id, message, data))

    def close(self) -> None:
        """Give everything back and leave."""
        try:
            self._run(lambda driver: end_leases(driver, self.worker))
        except Exception as error:  # noqa: BLE001 - whatever a driver raises: what is left expires
            logger.warning(
                "this worker's leases of budgets could not be given back (%s); they expire by themselves", error
            )
        else:
            self._path.unlink(missing_ok=True)
        os.close(self._lock)
        self._disconnect()

    # ---------------------------------------------------------------- statements

    def _lease(self, driver: Driver, budget: Budget, window: int, wanted: int, needed: int) -> Grant:
        key = (budget.id, window)
        with driver.transaction():
            driver.execute(driver.sql(_OPEN), key)
            for amount in dict.fromkeys((max(wanted, needed), needed)):
                rows = driver.execute(driver.sql(_LEASE), (amount, *key, amount, budget.id)).fetchall()
                if rows:
                    note = (self.worker, *key, amount, time.time() + LEASE_SECONDS)
                    own = driver.execute(driver.sql(_NOTE), note).fetchall()[0][0]
                    return Grant(amount, WindowState(int(rows[0][0]), int(rows[0][1]), int(own)))
            return Grant(0, self._look(driver, [key]).get(key, WindowState()))

    def _renew(self, driver: Driver, keys: Sequence[WindowKey]) -> Mapping[WindowKey, WindowState]:
        now = time.time()
        if time.monotonic() >= self._looked + _LOOK_SECONDS:
            self._look_for_the_dead()
        driver.execute(
            driver.sql("UPDATE budget_leases SET expires_at = ? WHERE worker = ?"), (now + LEASE_SECONDS, self.worker)
        )
        expired = driver.execute(
            driver.sql("SELECT DISTINCT worker FROM budget_leases WHERE expires_at < ?"), (now,)
        ).fetchall()
        for (worker,) in expired:
            end_leases(driver, worker, before=now)
        return self._look(driver, keys)

    def _look(self, driver: Driver, keys: Sequence[WindowKey]) -> dict[WindowKey, WindowState]:
        found = {}
        for key in keys:
            row = driver.execute(
                driver.sql(
                    "SELECT w.spent, w.leased, COALESCE(l.amount, 0) FROM budget_windows w LEFT JOIN budget_leases l "
                    "ON l.budget_id = w.budget_id AND l.starts_at = w.starts_at AND l.worker = ? "
                    "WHERE w.budget_id = ? AND w.starts_at = ?"
                ),
                (self.worker, *key),
            ).fetchone()
            if row is not None:
                found[key] = WindowState(int(row[0]), int(row[1]), int(row[2]))
        return found

    @staticmethod
    def _touch(driver: Driver, key: WindowKey) -> None:
        """Lock a window's row before its leases, as every other transaction does."""
        driver.execute(driver.sql(_LOWER), (0, *key))

    # ---------------------------------------------------------------- the dead

    def _look_for_the_dead(self) -> None:
        """End the leases of workers on this machine that are gone and whose journals the database has all of."""
        self._looked = time.monotonic()
        for path in self._folder.glob(f"*{_SUFFIX}"):
            if path == self._path:
                continue
            worker = path.name.removesuffix(_SUFFIX)
            with suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDWR)
                try:
                    if try_lock(descriptor) and not any(self._folder.glob(f"{worker}-*.journal")):
                        self._run(partial(end_leases, worker=worker))
                        path.unlink(missing_ok=True)
                finally:
                    os.close(descriptor)

    # ---------------------------------------------------------------- the connection

    def _run(self, work: Callable[[Driver], Outcome]) -> Outcome:
        driver = self._driver = self._driver or self._database.connect()
        try:
            return work(driver)
        except BaseException:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            with suppress(Exception):  # a connection that broke may also fail to close
                driver.close()


def end_leases(driver: Driver, worker: str, before: float | None = None) -> int:
    """Give back all that a worker holds (or, with `before`, what expired by then); how many leases that ended."""
    rows = driver.execute(
        driver.sql("SELECT budget_id, starts_at FROM budget_leases WHERE worker = ? AND expires_at < ?"),
        (worker, 1e18 if before is None else before),
    ).fetchall()
    ended = 0
    for key in sorted((str(row[0]), int(row[1])) for row in rows):
        with driver.transaction():
            driver.execute(driver.sql(_LOWER), (0, *key))  # the window's row is locked before its leases
            gone = driver.execute(
                driver.sql(
                    "DELETE FROM budget_leases WHERE worker = ? AND budget_id = ? AND starts_at = ? AND expires_at < ? "
                    "RETURNING amount"
                ),
                (worker, *key, 1e18 if before is None else before),
            ).fetchall()
            if gone:
                driver.execute(driver.sql(_LOWER), (int(gone[0][0]), *key))
                ended += 1
    return ended
