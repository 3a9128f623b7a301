"""The ledger's upkeep while the gateway runs: counts what the rollups never counted, and deletes what is out of date.

One process of all that share a database does it at a time; the others find it done.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from polyroute.storage.database import Database
from polyroute.storage.locks import try_lock
from polyroute.storage.pruning import Pruned, Pruning, Retention
from polyroute.storage.recounting import Recounting

logger = logging.getLogger(__name__)

UPKEEP_SECONDS = 600.0
"""How often a process looks whether there is anything to do."""

_FIRST_LOOK = 5.0
"""Seconds after the start, which has better things to do."""
_ADVISORY_LOCK = 0x706F6C7A  # any number that only we use
_SECONDS_A_DAY = 86_400.0


class Upkeep:
    """A thread that looks after the ledger from time to time."""

    def __init__(
        self,
        database: Database,
        retention: Retention,
        *,
        every: float = UPKEEP_SECONDS,
        first: float = _FIRST_LOOK,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._retention = retention
        self._every = every
        self._first = first
        self._clock = clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="polyroute-upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the batch that is under way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def run_once(self) -> Pruned | None:
        """Do what there is to do; None when another process is at it."""
        with alone(self._database) as mine:
            if not mine:
                return None
            recounting = recounting_of(self._database, self._retention, self._clock())
            if recounting.needed():
                logger.info("the rollups do not count all requests yet: counting them")
                counted = recounting.run(keep_on=self._goes_on)
                logger.info("%d requests were counted", counted)
            return Pruning(self._database, self._clock(), keep_on=self._goes_on, pause=self._stop.wait).run(
                self._retention
            )

    def _run(self) -> None:
        wait = self._first
        while not self._stop.wait(wait):
            wait = self._every
            try:
                self.run_once()
            except Exception as error:  # noqa: BLE001 - a database that is away comes back; the next round finds it
                logger.warning("the ledger's upkeep failed, it is tried again later: %s", str(error).strip())

    def _goes_on(self) -> bool:
        return not self._stop.is_set()


def recounting_of(database: Database, retention: Retention, now: float) -> Recounting:
    """Counts anew what is worth counting under a retention."""
    minutes = retention.minutes
    return Recounting(database, minutes_after=0.0 if minutes is None else now - minutes * _SECONDS_A_DAY)


@contextmanager
def alone(database: Database) -> Iterator[bool]:
    """Whether no other process is at the upkeep of this database; none comes to it within the block."""
    if database.path is not None:
        descriptor = os.open(database.path.with_name(database.path.name + ".upkeep"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield try_lock(descriptor)
        finally:
            os.close(descriptor)
        return
    driver = database.connect()
    try:
        yield bool(driver.execute(f"SELECT pg_try_advisory_lock({_ADVISORY_LOCK})").fetchone()[0])
    finally:
        driver.close()  # which gives the lock back
