"""Marks of how far the upkeep of a ledger has come, in the database itself."""

from __future__ import annotations

from polyroute.storage.database import Driver

ROLLUPS_COUNTED = "rollups_counted"
"""Present when the rollups count every request that the database has."""
ROWS_PRUNED_BEFORE = "rows_pruned_before"
"""Seconds since the epoch: requests that are older may have been deleted."""
CONTENT_PRUNED_BEFORE = "content_pruned_before"
"""Seconds since the epoch: requests that are older have no content any more."""
DECISIONS_PRUNED_BEFORE = "decisions_pruned_before"
"""Seconds since the epoch: requests that are older have no decision any more."""


def read_mark(driver: Driver, name: str) -> str | None:
    """The mark, None where there is none."""
    row = driver.execute(driver.sql("SELECT value FROM ledger_marks WHERE name = ?"), (name,)).fetchone()
    return None if row is None else str(row[0])


def read_moment(driver: Driver, name: str) -> float:
    """A mark that is a moment; 0.0 where there is none."""
    return float(read_mark(driver, name) or 0)


def set_mark(driver: Driver, name: str, value: str) -> None:
    """Set the mark."""
    driver.execute(
        driver.sql(
            "INSERT INTO ledger_marks (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        ),
        (name, value),
    )


def raise_moment(driver: Driver, name: str, moment: float) -> None:
    """Move a mark that is a moment forwards; never back."""
    if moment > read_moment(driver, name):
        set_mark(driver, name, repr(moment))
