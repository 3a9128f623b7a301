"""Budgets for tests, small enough to read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from polyroute.storage.budgets import sync_budgets
from polyroute.storage.database import Database
from polyroute.types.budgets import UNIT, Budget


def budget(identifier: str = "all", dollars: str = "1", **changes: Any) -> Budget:
    """A hard daily budget of the installation, unless `changes` says otherwise."""
    values: dict[str, Any] = {
        "id": identifier, "scope": "installation", "subject": None, "amount": Decimal(dollars), "currency": "USD",
        "limit": int(Decimal(dollars) * UNIT), "window": "day",
    }  # fmt: skip
    return Budget(**(values | changes))


def declare(database: Database, *budgets: Budget) -> None:
    """As the configuration would."""
    sync_budgets(database, budgets, {})


def window(database: Database, identifier: str = "all", start: int = 0) -> tuple[int, int]:
    """What a window has spent, and what workers hold of it."""
    driver = database.connect()
    try:
        row = driver.execute(
            driver.sql("SELECT spent, leased FROM budget_windows WHERE budget_id = ? AND starts_at = ?"),
            (identifier, start),
        ).fetchone()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))
    finally:
        driver.close()


def leases(database: Database) -> dict[str, int]:
    """What each worker holds, over all budgets."""
    driver = database.connect()
    try:
        return {
            row[0]: int(row[1])
            for row in driver.execute("SELECT worker, SUM(amount) FROM budget_leases GROUP BY worker").fetchall()
        }
    finally:
        driver.close()
