"""Answers of /v1/responses, kept so that a caller can go on from one by its id."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from polyroute.ports import KeptResponse
from polyroute.storage.database import Database, Driver

_SECONDS_A_DAY = 86_400
_PRUNE_EVERY = 500
"""Answers that are kept between two looks for those that are out of date."""


class ResponseKeeper:
    """Implements `ports.ResponseStore` over a database; blocking, for worker threads. An answer belongs to the key that
    asked for it, and goes `days` after it came."""

    def __init__(self, database: Database, days: int) -> None:
        self.days = days
        self._database = database
        self._driver: Driver | None = None
        self._lock = threading.Lock()
        self._kept = 0

    def get(self, identifier: str, key_id: str | None) -> KeptResponse | None:
        """The answer, unless it is another key's, is out of date, or was never kept."""
        with self._using() as driver:
            row = driver.execute(
                driver.sql("SELECT response, items, key_id FROM responses WHERE id = ? AND expires_at > ?"),
                (identifier, driver.timestamp(time.time())),
            ).fetchone()
        if row is None or row[2] != key_id:
            return None
        return KeptResponse(identifier, row[0].encode(), row[1].encode())

    def keep(self, kept: KeptResponse, key_id: str | None) -> None:
        """Keep an answer; one of the same id is replaced."""
        with self._using() as driver:
            now = time.time()
            driver.execute(
                driver.sql(
                    "INSERT INTO responses (id, key_id, expires_at, response, items) VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT (id) DO UPDATE SET key_id = excluded.key_id, expires_at = excluded.expires_at, "
                    "response = excluded.response, items = excluded.items"
                ),
                (
                    kept.id,
                    key_id,
                    driver.timestamp(now + self.days * _SECONDS_A_DAY),
                    kept.response.decode(),
                    kept.items.decode(),
                ),
            )
            if self._kept % _PRUNE_EVERY == 0:
                driver.execute(driver.sql("DELETE FROM responses WHERE expires_at <= ?"), (driver.timestamp(now),))
            self._kept += 1

    def forget(self, identifier: str, key_id: str | None) -> bool:
        """Delete an answer; False when this key has none of that id."""
        if self.get(identifier, key_id) is None:
            return False
        with self._using() as driver:
            return driver.execute(driver.sql("DELETE FROM responses WHERE id = ?"), (identifier,)).rowcount > 0

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    @contextmanager
    def _using(self) -> Iterator[Driver]:
        """The connection, whole: one that broke meanwhile, with its server, is replaced."""
        with self._lock:
            if self._driver is not None and not self._driver.works:
                self._drop()
            self._driver = self._driver or self._database.connect()
            try:
                yield self._driver
            except Exception:
                self._drop()
                raise

    def _drop(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            with suppress(Exception):  # a connection that broke may also fail to close
                driver.close()
