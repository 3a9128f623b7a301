"""The outbox of webhooks, and the feed of notifications."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from polyroute.ports.budgets import Delivery, Notification
from polyroute.storage.database import Database, Driver
from polyroute.storage.values import moment_seconds

CLAIM_SECONDS = 120.0
"""How long a delivery is left to the worker that took it; if it dies, another one tries again."""
_NOTICE_COLUMNS = "id, created_at, kind, subject, message, data, read_at"
_LOCKED = {"sqlite": "", "postgresql": " FOR UPDATE SKIP LOCKED"}


class DeliveryBox:
    """Implements `ports.Outbox` over a database; connects for each question."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def deliver(
        self, url: str, event: str, data: Mapping[str, Any], *, secret: str | None = None, identifier: str | None = None
    ) -> str:
        """Have an event delivered; gives the id that its receiver sees. Durable when it returns; with an identifier, once."""
        driver = self._database.connect()
        try:
            return _insert(driver, url, event, data, time.time(), secret, identifier)
        finally:
            driver.close()

    def spread(self, targets: Sequence[tuple[str, tuple[str, ...]]]) -> int:
        """Put notifications that were not looked at yet into the outbox, for each (URL, kinds that it wants)."""
        driver = self._database.connect()
        made = 0
        try:
            if (
                driver.execute(driver.sql("SELECT 1 FROM notifications WHERE spread = ? LIMIT 1"), (False,)).fetchone()
                is None
            ):
                return 0
            with driver.transaction():
                rows = driver.execute(
                    driver.sql(
                        f"SELECT {_NOTICE_COLUMNS} FROM notifications WHERE spread = ? ORDER BY created_at LIMIT 100"  # noqa: S608 - names of our own
                        + _LOCKED[driver.kind]
                    ),
                    (False,),
                ).fetchall()
                for row in rows:
                    notice = _notification(row)
                    for url, kinds in targets:
                        if not kinds or notice.kind.startswith(kinds):
                            data = {**notice.data, "subject": notice.subject, "message": notice.message}
                            _insert(driver, url, notice.kind, data, notice.created_at, None)
                            made += 1
                    driver.execute(driver.sql("UPDATE notifications SET spread = ? WHERE id = ?"), (True, notice.id))
        finally:
            driver.close()
        return made

    def claim(self, most: int) -> list[Delivery]:
        """Deliveries that are due; nobody else gets them for a while."""
        driver, now = self._database.connect(), time.time()
        try:
            rows = driver.execute(
                driver.sql("SELECT id FROM deliveries WHERE due_at <= ? ORDER BY due_at LIMIT ?"), (now, most)
            ).fetchall()
            found = []
            for (identifier,) in rows:
                taken = driver.execute(
                    driver.sql(
                        "UPDATE deliveries SET due_at = ?, tries = tries + 1 WHERE id = ? AND due_at <= ? "
                        "RETURNING url, payload, tries, secret"
                    ),
                    (now + CLAIM_SECONDS, identifier, now),
                ).fetchall()
                for url, payload, tries, secret in taken:
                    found.append(Delivery(id=identifier, url=url, payload=payload.encode(), tries=tries, secret=secret))
            return found
        finally:
            driver.close()

    def finish(self, delivery: Delivery, *, error: str | None, retry_in: float | None) -> None:
        """How it went: delivered (no error), to be tried again in so many seconds, or given up (None)."""
        driver, now = self._database.connect(), time.time()
        try:
            driver.execute(
                driver.sql("UPDATE deliveries SET due_at = ?, delivered_at = ?, error = ? WHERE id = ?"),
                (
                    None if error is None or retry_in is None else now + retry_in,
                    driver.timestamp(now) if error is None else None,
                    error,
                    delivery.id,
                ),
            )
        finally:
            driver.close()


def _insert(
    driver: Driver, url: str, event: str, data: Mapping[str, Any], at: float, secret: str | None,
    identifier: str | None = None,
) -> str:  # fmt: skip
    identifier = identifier or f"msg_{secrets.token_hex(12)}"
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    payload = msgspec.json.encode({"type": event, "timestamp": moment, "data": data}).decode()
    driver.execute(
        driver.sql(
            "INSERT INTO deliveries (id, created_at, url, secret, payload, tries, due_at) VALUES (?, ?, ?, ?, ?, 0, ?) "
            "ON CONFLICT DO NOTHING"
        ),
        (identifier, driver.timestamp(time.time()), url, secret, payload, time.time()),
    )
    return identifier


# ---------------------------------------------------------------- the feed


def list_notifications(driver: Driver, most: int, *, unread: bool) -> list[Notification]:
    """The newest first."""
    where = " WHERE read_at IS NULL" if unread else ""
    statement = f"SELECT {_NOTICE_COLUMNS} FROM notifications{where} ORDER BY created_at DESC, id LIMIT ?"  # noqa: S608 - names of our own
    return [_notification(row) for row in driver.execute(driver.sql(statement), (most,)).fetchall()]


def mark_read(driver: Driver, identifier: str) -> Notification | None:
    """Somebody has seen it; None when there is none of that id."""
    driver.execute(
        driver.sql("UPDATE notifications SET read_at = ? WHERE id = ? AND read_at IS NULL"),
        (driver.timestamp(time.time()), identifier),
    )
    statement = f"SELECT {_NOTICE_COLUMNS} FROM notifications WHERE id = ?"  # noqa: S608 - names of our own
    row = driver.execute(driver.sql(statement), (identifier,)).fetchone()
    return None if row is None else _notification(row)


def _notification(row: Sequence[Any]) -> Notification:
    identifier, created_at, kind, subject, message, data, read_at = row
    return Notification(
        id=identifier, created_at=moment_seconds(created_at), kind=kind, subject=subject, message=message,
        data=msgspec.json.decode(data), read_at=None if read_at is None else moment_seconds(read_at),
    )  # fmt: skip
