"""Counting the rollups anew from the requests, while the gateway goes on.

One hour at a time is deleted and counted again in a transaction that keeps other writers out for as long, so that whoever
reads or writes meanwhile sees whole figures. Hours of which requests were pruned are left as they are: what they add up to is
known from the rollups alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from polyroute.storage.database import Database, Driver
from polyroute.storage.marks import ROLLUPS_COUNTED, ROWS_PRUNED_BEFORE, read_mark, read_moment, set_mark
from polyroute.storage.rollups import DAY, HOUR, MINUTE, QUARTER, SUMS, RollupWriter
from polyroute.storage.values import parse_timestamp
from polyroute.types.records import AttemptRecord, RequestRecord

_FIELDS = (
    "id",
    "created_at",
    "operation",
    "status",
    "requested_model",
    "dialect",
    "user_id",
    "key_id",
    "route",
    "actual_provider",
    "actual_model",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "images",
    "seconds",
    "characters",
    "usage_estimated",
    "cost_usd",
    "latency_ms",
    "ttft_ms",
    "error_kind",
    "simulated",
    "tags",
    "team_id",
)
_SELECT = (
    f"SELECT {','.join(_FIELDS)} FROM requests WHERE created_at >= ? AND created_at < ? "  # noqa: S608 - names of our own
    "ORDER BY created_at, id"
)
_ATTEMPTS = (
    "SELECT request_id, number, provider, model, outcome, attempts.error_kind FROM requests JOIN attempts ON request_id = id "
    "WHERE requests.created_at >= ? AND requests.created_at < ? ORDER BY requests.created_at, request_id, number"
)
_TO_DAYS = (
    f"INSERT INTO rollups (level,start,series,{','.join(SUMS)}) "  # noqa: S608 - names of our own
    f"SELECT {DAY}, CAST(? AS BIGINT), series, {','.join(f'CAST(SUM({name}) AS BIGINT)' for name in SUMS)} FROM rollups "
    f"WHERE level = {HOUR} AND start >= ? AND start < ? GROUP BY series"
)


class Recounting:
    """Counts rollups anew. `minutes_after`: buckets of a minute are made for what is later than this moment only."""

    def __init__(self, database: Database, *, minutes_after: float = 0.0) -> None:
        self._database = database
        self._minutes_after = minutes_after

    def needed(self) -> bool:
        """Whether the database has requests that the rollups never counted."""
        driver = self._database.connect()
        try:
            return read_mark(driver, ROLLUPS_COUNTED) is None
        finally:
            driver.close()

    def run(
        self, *, keep_on: Callable[[], bool] = lambda: True, tell: Callable[[float, float], None] | None = None
    ) -> int:
        """Count everything that is there; how many requests were counted. Ends early, to be begun anew another time, when
        `keep_on` says no; `tell` hears of each day and the last one."""
        driver = self._database.connect()
        try:
            return self._run(driver, keep_on, tell)
        finally:
            driver.close()

    def _run(self, driver: Driver, keep_on: Callable[[], bool], tell: Callable[[float, float], None] | None) -> int:
        counted = 0
        first = _first_moment(driver)
        pruned = read_moment(driver, ROWS_PRUNED_BEFORE)
        # A day of which some requests are gone keeps the figures that it has.
        begin = None if first is None else int(max(first // DAY, -(-pruned // DAY))) * DAY
        end = time.time() + HOUR  # clocks of other machines
        day = begin
        while day is not None and day < end:
            for hour in range(day, day + DAY, HOUR):
                if not keep_on():
                    return counted
                counted += self._count_hour(driver, hour)
            with driver.transaction():
                _keep_others_out(driver)
                driver.execute(driver.sql("DELETE FROM rollups WHERE level = ? AND start = ?"), (DAY, day))
                driver.execute(driver.sql(_TO_DAYS), (day, day, day + DAY))
            if tell is not None:
                tell(float(day), end)
            day = _next_day(driver, day + DAY)
        with driver.transaction():
            set_mark(driver, ROLLUPS_COUNTED, repr(time.time()))
        return counted

    def _count_hour(self, driver: Driver, hour: int) -> int:
        counted = 0
        writer = RollupWriter(driver)
        levels = (MINUTE, QUARTER, HOUR) if hour + HOUR > self._minutes_after else (QUARTER, HOUR)
        with driver.transaction():
            _keep_others_out(driver)
            driver.execute(
                driver.sql("DELETE FROM rollups WHERE level IN (?, ?, ?) AND start >= ? AND start < ?"),
                (MINUTE, QUARTER, HOUR, hour, hour + HOUR),
            )
            writer.begin()
            for minute in range(hour, hour + HOUR, QUARTER):
                records = _records(driver, minute, minute + QUARTER)
                writer.add(records)
                counted += len(records)
            writer.write(levels)
        return counted


def _next_day(driver: Driver, day: int) -> int | None:
    """The next day that has requests or rollups; None when there is none."""
    later = driver.execute(
        driver.sql("SELECT MIN(created_at) FROM requests WHERE created_at >= ?"), (driver.timestamp(day),)
    ).fetchone()[0]
    counted = driver.execute(
        driver.sql("SELECT MIN(start) FROM rollups WHERE level = ? AND start >= ?"), (DAY, day)
    ).fetchone()[0]
    moments = [int(_seconds(later) // DAY) * DAY] if later is not None else []
    return min([*moments, *([int(counted)] if counted is not None else [])], default=None)


def _first_moment(driver: Driver) -> float | None:
    row = driver.execute("SELECT MIN(created_at) FROM requests").fetchone()
    return None if row is None or row[0] is None else _seconds(row[0])


def _keep_others_out(driver: Driver) -> None:
    """SQLite's write lock does so already."""
    if driver.kind == "postgresql":
        driver.execute("LOCK TABLE rollups IN SHARE ROW EXCLUSIVE MODE")


def _records(driver: Driver, begin: int, end: int) -> list[RequestRecord]:
    """Requests of a short time, as far as their rollups need them."""
    span = (driver.timestamp(begin), driver.timestamp(end))
    attempts = _attempts(driver, span)
    return [_record(row, attempts) for row in driver.execute(driver.sql(_SELECT), span).fetchall()]


def _attempts(driver: Driver, span: tuple[Any, Any]) -> dict[str, list[AttemptRecord]]:
    found: dict[str, list[AttemptRecord]] = {}
    for request_id, number, provider, model, outcome, kind in driver.execute(driver.sql(_ATTEMPTS), span).fetchall():
        found.setdefault(request_id, []).append(
            AttemptRecord(
                number=number, provider=provider, model=model, started_at=0.0, outcome=outcome, error_kind=kind
            )
        )
    return found


def _record(row: tuple[Any, ...], attempts: dict[str, list[AttemptRecord]]) -> RequestRecord:
    values: dict[str, Any] = dict(zip(_FIELDS, row, strict=True))
    cost, tags = values["cost_usd"], values["tags"]
    values["created_at"] = _seconds(values["created_at"])
    values["cost_usd"] = None if cost is None else Decimal(str(cost))
    values["simulated"] = bool(values["simulated"])
    values["usage_estimated"] = bool(values["usage_estimated"])
    values["tags"] = {} if not tags else msgspec.json.decode(tags) if isinstance(tags, str) else tags
    return RequestRecord(**values, attempts=attempts.get(values["id"], []))


def _seconds(moment: Any) -> float:
    if isinstance(moment, datetime):
        return moment.timestamp()
    return parse_timestamp(str(moment)).timestamp()
