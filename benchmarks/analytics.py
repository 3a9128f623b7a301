"""`python -m benchmarks.analytics`: how long the figures take over a ledger of ten million requests.

The ledger is made with SQL in a folder that `--folder` names (about 5 GB; one that is there already is used again), its
rollups by the same code that `polyroute db rollups --rebuild` runs, and the totals of attempts by one statement.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polyroute.ports.analytics import SeriesQuery
from polyroute.storage.analytics import LedgerAnalytics
from polyroute.storage.database import Database, open_database
from polyroute.storage.pruning import Retention
from polyroute.storage.recounting import Recounting
from polyroute.storage.stats import LedgerStats

_DAY = 86_400
_BLOCK = 250_000
_BAR = 50.0
"""Milliseconds: what the providers' figures may take."""

_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
_PROVIDER = (
    "CASE i % 7 WHEN 0 THEN 'openai' WHEN 1 THEN 'anthropic' WHEN 2 THEN 'groq' WHEN 3 THEN 'xai' ELSE 'openrouter' END"
)
_MOMENT = "strftime('%Y-%m-%d %H:%M:%f', {begin} + i * {step}, 'unixepoch') || '000'"
_REQUESTS = (
    _NUMBERS
    + "INSERT INTO requests (id, created_at, operation, status, requested_model, dialect, stream, user_id, key_id, "
    "model_id, route, policy, actual_provider, actual_model, finish_reason, input_tokens, output_tokens, usage_estimated, "
    "cost_usd, cost_origin, latency_ms, ttft_ms, http_status, error_kind, simulated) "
    "SELECT printf('req_%012x', i), {moment}, CASE WHEN i % 20 = 0 THEN 'image' ELSE 'chat' END, "
    "CASE WHEN i % 50 = 0 THEN 'FAILED' ELSE 'COMPLETED' END, 'text', 'openai_chat', i % 2, 'user_' || (i * 7919 % 20), "
    "'key_' || (i * 7919 % 20), 'chat:text', CASE WHEN i % 20 = 0 THEN 'picture' ELSE 'text' END, 'priority', "
    "CASE WHEN i % 50 = 0 THEN NULL ELSE {provider} END, CASE WHEN i % 50 = 0 THEN NULL ELSE 'model-' || (i % 7) END, "
    "'stop', 100 + i % 900, 10 + i % 300, 0, CASE WHEN i % 50 = 0 OR i % 11 = 0 THEN NULL ELSE (i % 1000) * 0.000001 END, "
    "'priced', 200 + i * 31 % 4000, CASE WHEN i % 2 THEN 50 + i * 17 % 500 END, 200, "
    "CASE WHEN i % 50 = 0 THEN 'unavailable' END, 0 FROM n"
)
_ATTEMPTS = (
    _NUMBERS
    + "INSERT INTO attempts (request_id, number, provider, model, operation, simulated, started_at, duration_ms, "
    "outcome, http_status, error_kind, input_tokens, output_tokens, cost_usd) "
    "SELECT printf('req_%012x', i), 1, {provider}, 'model-' || (i % 7), CASE WHEN i % 20 = 0 THEN 'image' ELSE 'chat' END, "
    "0, {moment}, 200 + i * 31 % 4000, CASE WHEN i % 50 = 0 THEN 'failed' ELSE 'served' END, 200, "
    "CASE WHEN i % 50 = 0 THEN 'unavailable' END, 100 + i % 900, 10 + i % 300, "
    "CASE WHEN i % 50 = 0 OR i % 11 = 0 THEN NULL ELSE (i % 1000) * 0.000001 END FROM n"
)
_TOTALS = (
    "INSERT INTO attempt_totals SELECT substr(started_at, 1, 10), operation, provider, outcome, COALESCE(error_kind, ''), "
    "simulated, COUNT(*), COUNT(cost_usd), COALESCE(SUM(cost_usd), 0), SUM(duration_ms) FROM attempts GROUP BY 1, 2, 3, 4, 5, 6"
)


def make_ledger(folder: Path, requests: int, days: int) -> Database:
    """A ledger of so many requests over the last days."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"ledger-{requests}-{days}.db"
    known = file.exists()
    database = open_database(f"sqlite:///{file}")
    if known:
        return database
    tell(f"making {requests:,} requests …")
    driver = database.connect()
    driver.execute("PRAGMA synchronous=OFF")
    begin = (int(time.time()) // _DAY - days + 1) * _DAY
    moment = _MOMENT.format(begin=begin, step=days * _DAY / requests)
    for template in (_REQUESTS, _ATTEMPTS):
        statement = template.format(moment=moment, provider=_PROVIDER)
        for start in range(0, requests, _BLOCK):
            with driver.transaction():
                driver.execute(statement, (start, min(start + _BLOCK, requests)))
    with driver.transaction():
        driver.execute(_TOTALS)
    driver.close()
    began = time.process_time()
    counted = Recounting(database, minutes_after=time.time() - 2 * _DAY).run()
    seconds = time.process_time() - began
    tell(f"counted {counted:,} requests anew in {seconds:.0f} s of CPU ({counted / max(seconds, 1e-9):,.0f} a second)")
    return database


def measure(what: str, ask: Callable[[], Any], bar: float | None = None) -> None:
    """A line with the median and the slowest of eleven, the first one (cold) apart."""
    times = []
    for _ in range(11):
        began = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began) * 1000)
    first, *rest = times
    told = "" if bar is None else f" | ≤ {bar:g} ms: {'yes' if statistics.median(rest) <= bar else 'NO'}"
    print(
        f"{what:<58} | first {first:8.1f} ms | median {statistics.median(rest):8.1f} | slowest {max(rest):8.1f}{told}"
    )


def measure_stats(folder: Path, requests: int) -> float:
    """Milliseconds, median of eleven, for the providers' statistics over so many requests of a week."""
    folder.mkdir()
    database = make_ledger(folder, requests, 7)
    stats, times = LedgerStats(database), []
    for _ in range(11):
        began = time.perf_counter()
        assert stats.provider_stats()
        times.append((time.perf_counter() - began) * 1000)
    database.close()
    return statistics.median(times)


def main() -> None:
    """Make the ledger, ask, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=90)
    chosen = parser.parse_args()
    database = make_ledger(chosen.folder, chosen.requests, chosen.days)
    stats = LedgerStats(database)
    measure("providers' stats, cost, recommended", stats.provider_stats, _BAR)
    analytics = LedgerAnalytics(database, Retention())
    now = time.time()
    for what, query in (
        ("last day by hour", SeriesQuery(since=now - _DAY, until=now, interval="hour")),
        ("last hour by minute", SeriesQuery(since=now - 3600, until=now, interval="minute")),
        ("30 days by day", SeriesQuery(since=now - 30 * _DAY, until=now, interval="day")),
        (
            "30 days by day and provider, Europe/Berlin",
            SeriesQuery(
                since=now - 30 * _DAY, until=now, interval="day", group_by=("provider",), time_zone="Europe/Berlin"
            ),
        ),
        ("90 days in all by user", SeriesQuery(since=now - 90 * _DAY, until=now, interval="total", group_by=("user",))),
    ):
        measure(f"analytics: {what}", lambda query=query: analytics.series(query))  # type: ignore[misc] # a bound default
    database.close()


def tell(words: str) -> None:
    """How far it is."""
    sys.stderr.write(words + "\n")


if __name__ == "__main__":
    main()
