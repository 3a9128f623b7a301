"""The one connection through which a process changes its jobs: off the event loop, and back after the database was away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from polyroute.storage.database import Database, Driver, StorageError
from polyroute.types.errors import ErrorKind, PolyrouteError

log = logging.getLogger("polyroute.jobs")

T = TypeVar("T")

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_LOST = (
    "OperationalError",
    "InterfaceError",
    "AdminShutdown",
    "CrashShutdown",
    "CannotConnectNow",
    "ConnectionTimeout",
)
"""Names of what the drivers raise when the database is away, busy or broke the connection."""


class JobConnection:
    """Runs transactions one after the other in a thread of its own. Each of them may be run again after a connection broke
    in the middle of it, so it must be one that can be: the same change twice is the change once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._driver: Driver | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jobs")
        self._closed = False
        self._away = False

    async def run(self, change: Callable[[Driver], T], *, patience: float) -> T:
        """Run one transaction (or read) and give what it gives. While the database is away it is tried again for `patience`
        seconds. Raises PolyrouteError(unavailable) after that, and what `change` raises."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + patience, _FIRST_PAUSE
        while True:
            try:
                found = await loop.run_in_executor(self._thread, self._once, change)
            except Exception as error:
                if not is_away(error):
                    raise
                if loop.time() + pause > until or self._closed:
                    raise PolyrouteError(
                        ErrorKind.UNAVAILABLE, "The database of jobs cannot be reached; try again in a moment.",
                        retry_after=1.0,
                    ) from error  # fmt: skip
                if not self._away:
                    self._away = True
                    log.warning("the database of jobs is away (%s); trying until it is back", type(error).__name__)
            else:
                self._away = False
                return found
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _once(self, change: Callable[[Driver], T]) -> T:
        if self._driver is None:
            self._driver = self._database.connect()
        driver = self._driver
        try:
            with driver.transaction():
                return change(driver)
        except Exception as error:
            if is_away(error):
                self._driver = None
                with suppress(Exception):
                    driver.close()
            raise

    def close(self) -> None:
        """Close the connection when what is under way is done."""
        self._closed = True
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def _close(self) -> None:
        if self._driver is not None:
            with suppress(Exception):
                self._driver.close()
            self._driver = None


def is_away(error: BaseException) -> bool:
    """Whether the database is away for now: down, starting, or too busy to answer in time."""
    cause = getattr(error, "orig", None)
    if isinstance(cause, BaseException):  # SQLAlchemy's wrapping
        error = cause
    if isinstance(error, StorageError | PolyrouteError):
        return False
    return any(kind.__name__ in _LOST for kind in type(error).__mro__)
