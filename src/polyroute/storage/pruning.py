"""Deleting what is older than it shall be kept, a few hundred rows at a time, so that the ledger's writer is never held up.

What requests add up to stays: rollups by the hour and by day, and the totals of attempts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from polyroute.storage.database import Database, Driver
from polyroute.storage.marks import (
    CONTENT_PRUNED_BEFORE,
    DECISIONS_PRUNED_BEFORE,
    ROWS_PRUNED_BEFORE,
    raise_moment,
    read_moment,
)
from polyroute.storage.rollups import HOUR, MINUTE, QUARTER

_BATCH = 500
"""Rows to a transaction."""
_PAUSE = 0.02
"""Seconds between two transactions, in which others come to write."""
_SECONDS_A_DAY = 86_400.0


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """For how long things are kept, in days; None is for ever."""

    rows: float | None = None
    content: float | None = None
    decisions: float | None = None
    minutes: float | None = 2.0
    quarters: float | None = 60.0
    hours: float | None = 400.0


class Pruned(msgspec.Struct, kw_only=True):
    """What was deleted, or would be: requests with their attempts, contents and decisions of requests that stay, rollups."""

    requests: int = 0
    attempts: int = 0
    contents: int = 0
    decisions: int = 0
    rollups: int = 0


class Pruning:
    """One round of deleting. `now` is in seconds since the epoch; `keep_on` is asked between two batches."""

    def __init__(
        self,
        database: Database,
        now: float,
        *,
        keep_on: Callable[[], bool] = lambda: True,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._database = database
        self._now = now
        self._keep_on = keep_on
        self._pause = pause or threading.Event().wait

    def run(self, retention: Retention) -> Pruned:
        """Delete what is out of date."""
        pruned = Pruned()
        driver = self._database.connect()
        try:
            if retention.rows is not None:
                self._rows(driver, self._cut(retention.rows), pruned)
            if retention.content is not None:
                pruned.contents = self._blank(driver, _CONTENT, self._cut(retention.content), CONTENT_PRUNED_BEFORE)
            if retention.decisions is not None:
                pruned.decisions = self._blank(
                    driver, _DECISION, self._cut(retention.decisions), DECISIONS_PRUNED_BEFORE
                )
            for level, days in _levels(retention):
                if days is not None:
                    pruned.rollups += self._rollups(driver, level, self._cut(days))
        finally:
            driver.close()
        return pruned

    def preview(self, retention: Retention) -> Pruned:
        """What `run` would delete."""
        pruned = Pruned()
        driver = self._database.connect()
        try:
            kept = 0.0
            if retention.rows is not None:
                kept = self._cut(retention.rows)
                pruned.requests = _count(driver, "SELECT COUNT(*) FROM requests WHERE created_at < ?", kept)
                pruned.attempts = _count(
                    driver,
                    "SELECT COUNT(*) FROM requests JOIN attempts ON request_id = id WHERE created_at < ?",
                    kept,
                )
            if retention.content is not None:
                pruned.contents = _count_filled(driver, _CONTENT, kept, self._cut(retention.content))
            if retention.decisions is not None:
                pruned.decisions = _count_filled(driver, _DECISION, kept, self._cut(retention.decisions))
            for level, days in _levels(retention):
                if days is not None:
                    statement = driver.sql("SELECT COUNT(*) FROM rollups WHERE level = ? AND start < ?")
                    pruned.rollups += driver.execute(statement, (level, int(self._cut(days)))).fetchone()[0]
        finally:
            driver.close()
        return pruned

    def _cut(self, days: float) -> float:
        return self._now - days * _SECONDS_A_DAY

    def _rows(self, driver: Driver, cut: float, pruned: Pruned) -> None:
        before = driver.timestamp(cut)
        choose = driver.sql("SELECT id FROM requests WHERE created_at < ? ORDER BY created_at LIMIT ?")
        # Before the first row goes: from here on, the rollups of that time cannot be counted anew.
        with driver.transaction():
            if driver.execute(choose, (before, 1)).fetchone() is not None:
                raise_moment(driver, ROWS_PRUNED_BEFORE, cut)
        while self._keep_on():
            with driver.transaction():
                chosen = [row[0] for row in driver.execute(choose, (before, _BATCH)).fetchall()]
                if chosen:
                    marks = ",".join("?" * len(chosen))
                    pruned.attempts += driver.execute(
                        driver.sql(f"DELETE FROM attempts WHERE request_id IN ({marks})"),  # noqa: S608 - marks only
                        chosen,
                    ).rowcount
                    pruned.requests += driver.execute(
                        driver.sql(f"DELETE FROM requests WHERE id IN ({marks})"),  # noqa: S608 - marks only
                        chosen,
                    ).rowcount
            if len(chosen) < _BATCH:
                return
            self._pause(_PAUSE)

    def _blank(self, driver: Driver, columns: tuple[str, ...], cut: float, mark: str) -> int:
        """Empty some columns of requests that are older; how many had anything there. Goes on where the last round ended."""
        done, at, last = 0, read_moment(driver, mark), ""
        blanks = ",".join(f"{name} = NULL" for name in columns)
        choose = driver.sql(
            f"SELECT created_at, id FROM requests WHERE created_at >= ? AND created_at < ? "  # noqa: S608 - our own names
            f"AND (created_at > ? OR id > ?) AND {_filled(columns)} = 1 ORDER BY created_at, id LIMIT ?"
        )
        moment, before = driver.timestamp(at), driver.timestamp(cut)
        while self._keep_on():
            rows: list[Any] = driver.execute(choose, (moment, before, moment, last, _BATCH)).fetchall()
            if rows:
                marks = ",".join("?" * len(rows))
                with driver.transaction():
                    done += driver.execute(
                        driver.sql(f"UPDATE requests SET {blanks} WHERE id IN ({marks})"),  # noqa: S608 - names of our own
                        [row[1] for row in rows],
                    ).rowcount
            if len(rows) < _BATCH:
                with driver.transaction():
                    raise_moment(driver, mark, cut - _SECONDS_A_DAY)  # the last day is looked at again: replays
                return done
            self._pause(_PAUSE)
            moment, last = rows[-1][0], rows[-1][1]
        return done

    def _rollups(self, driver: Driver, level: int, cut: float) -> int:
        """Delete whole buckets, oldest first."""
        done = 0
        oldest = driver.sql("SELECT MIN(start) FROM rollups WHERE level = ? AND start < ?")
        delete = driver.sql("DELETE FROM rollups WHERE level = ? AND start >= ? AND start < ?")
        while self._keep_on():
            with driver.transaction():
                begin = driver.execute(oldest, (level, int(cut))).fetchone()[0]
                if begin is None:
                    return done
                end = min(int(begin) + 10 * level, int(cut))
                done += driver.execute(delete, (level, int(begin), end)).rowcount
            self._pause(_PAUSE)
        return done


def _levels(retention: Retention) -> tuple[tuple[int, float | None], ...]:
    return ((MINUTE, retention.minutes), (QUARTER, retention.quarters), (HOUR, retention.hours))


_CONTENT = ("input_text", "output_text")
_DECISION = ("decision",)


def _filled(columns: tuple[str, ...]) -> str:
    return f"CASE WHEN {' OR '.join(f'{name} IS NOT NULL' for name in columns)} THEN 1 ELSE 0 END"


def _count(driver: Driver, statement: str, cut: float) -> int:
    return int(driver.execute(driver.sql(statement), (driver.timestamp(cut),)).fetchone()[0])


def _count_filled(driver: Driver, columns: tuple[str, ...], begin: float, end: float) -> int:
    statement = f"SELECT COALESCE(SUM({_filled(columns)}), 0) FROM requests WHERE created_at >= ? AND created_at < ?"  # noqa: S608
    return int(driver.execute(driver.sql(statement), (driver.timestamp(begin), driver.timestamp(end))).fetchone()[0])
