"""Notifications: one row each, however many workers notice the same."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from polyroute.storage.database import Driver

_INSERT = (
    "INSERT INTO notifications (id, created_at, kind, subject, message, data, spread) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING"
)


def insert_notification(
    driver: Driver, key: str, kind: str, subject: str, message: str, data: Mapping[str, Any]
) -> bool:
    """Write a notification down unless there is one of this key; whether it is new. Part of a transaction, if one is open."""
    values = (
        key, driver.timestamp(time.time()), kind, subject, message, msgspec.json.encode(data).decode(), False,
    )  # fmt: skip
    return driver.execute(driver.sql(_INSERT), values).rowcount == 1
