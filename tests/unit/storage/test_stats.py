"""Statistics of providers: attempts count, and only what tells of the provider."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from polyroute.ports import ProviderStats
from polyroute.storage.database import Database
from polyroute.storage.stats import LedgerStats
from polyroute.storage.writer import RowWriter
from polyroute.types.errors import ErrorKind
from polyroute.types.records import RequestRecord
from support.ledger_records import attempt, settled


def stats(database: Database, *records: RequestRecord, simulated: bool = False) -> dict[tuple[str, str], ProviderStats]:
    writer = RowWriter(database, Path())
    writer.write(records)
    writer.close()
    return {(row.category, row.provider): row for row in LedgerStats(database, simulated=simulated).provider_stats()}


def failed(number: int, provider: str, kind: ErrorKind | None) -> object:
    return attempt(number, provider, outcome="failed", error_kind=kind, duration_ms=9000.0)


def test_a_fallback_is_a_failure_of_the_one_and_a_success_of_the_other(database: Database) -> None:
    found = stats(
        database,
        settled("a", attempts=[failed(1, "openai", ErrorKind.UNAVAILABLE), attempt(2, "aimlapi")]),
        settled("b", attempts=[attempt(1, "aimlapi", duration_ms=240.0)]),
    )
    openai, aimlapi = found["TEXT", "openai"], found["TEXT", "aimlapi"]
    assert (openai.requests, openai.successes, openai.failures, openai.avg_time) == (1, 0, 1, None)
    assert (aimlapi.requests, aimlapi.successes, aimlapi.failures, aimlapi.avg_time) == (2, 2, 0, 180.0)
    assert aimlapi.total_cost == pytest.approx(2 * 0.0000198)
    assert openai.total_cost == 0.0


@pytest.mark.parametrize(
    ("kind", "failures"),
    [
        (ErrorKind.UNAVAILABLE, 1),
        (ErrorKind.RATE_LIMITED, 1),
        (ErrorKind.TIMEOUT, 1),
        (ErrorKind.CREDENTIAL_REJECTED, 1),
        (ErrorKind.INVALID_REQUEST, 0),
        (ErrorKind.CONTENT_FILTERED, 0),
        (ErrorKind.CONTEXT_TOO_LONG, 0),
        (ErrorKind.INTERNAL, 0),
        (None, 1),
    ],
)
def test_only_the_providers_own_faults_are_its_failures(
    database: Database, kind: ErrorKind | None, failures: int
) -> None:
    found = stats(database, settled(status="FAILED", cost_usd=None, attempts=[failed(1, "openai", kind)]))
    assert (found["TEXT", "openai"].requests, found["TEXT", "openai"].failures) == (failures, failures)


def test_a_cancelled_attempt_costs_but_does_not_count(database: Database) -> None:
    found = stats(
        database,
        settled(status="CANCELLED", attempts=[attempt(outcome="cancelled", cost_usd=Decimal("0.5"))]),
    )["TEXT", "aimlapi"]
    assert (found.requests, found.total_cost) == (0, 0.5)


def test_unknown_cost_is_not_zero(database: Database) -> None:
    found = stats(
        database,
        settled("a", cost_usd=None, attempts=[attempt(provider="x")]),
        settled("b", cost_usd=None, attempts=[attempt(provider="y")]),
        settled("c", cost_usd=Decimal(2), attempts=[attempt(provider="y")]),
    )
    assert (found["TEXT", "x"].total_cost, found["TEXT", "x"].unpriced) == (None, 1)
    assert (found["TEXT", "y"].total_cost, found["TEXT", "y"].unpriced) == (2.0, 1)


def test_operations_gather_in_their_category(database: Database) -> None:
    found = stats(
        database,
        settled("a", operation="chat"),
        settled("b", operation="embed"),
        settled("c", operation="speech"),
        settled("d", operation="transcription"),
        settled("e", operation="image"),
        settled("f", operation="telepathy"),
    )
    assert {key[0]: row.requests for key, row in found.items()} == {"TEXT": 2, "AUDIO": 2, "IMAGE": 1}


def test_simulated_attempts_are_left_out_unless_asked_for(database: Database) -> None:
    assert stats(database, settled("a", simulated=True)) == {}
    assert stats(database, settled("b", simulated=True), simulated=True)["TEXT", "aimlapi"].requests == 2


def test_the_statistics_read_the_totals_and_not_the_rows(database: Database) -> None:
    stats(database, settled("a"), settled("b", cost_usd=None, attempts=[failed(1, "openai", ErrorKind.TIMEOUT)]))
    before = LedgerStats(database).provider_stats()
    driver = database.connect()
    driver.execute("DELETE FROM attempts")
    driver.close()
    assert LedgerStats(database).provider_stats() == before != []


def test_a_request_that_is_written_twice_counts_once(database: Database) -> None:
    first = stats(database, *[settled(f"req_{number}") for number in range(70)])["TEXT", "aimlapi"]
    again = stats(database, *[settled(f"req_{number}") for number in range(60, 80)])["TEXT", "aimlapi"]
    assert (first.requests, again.requests) == (70, 80)
    assert again.total_cost == pytest.approx(80 * 0.0000198)
    driver = database.connect()
    assert driver.execute("SELECT COUNT(*) FROM attempts").fetchone() == (80,)
    driver.close()


def test_totals_agree_with_the_attempts_that_they_count(database: Database) -> None:
    stats(
        database,
        settled("a", created_at=1_790_000_000.0, attempts=[attempt(started_at=1_789_999_999.0), attempt(2, "piapi")]),
        settled("b", attempts=[attempt(started_at=1_790_100_000.0, cost_usd=Decimal("0.1"))]),
        settled("c", attempts=[attempt(started_at=1_790_100_001.0, cost_usd=Decimal("0.2"))]),
    )
    driver = database.connect()
    columns = (
        "day, provider, CAST(SUM(attempts) AS BIGINT), CAST(SUM(priced) AS BIGINT), SUM(cost_usd), SUM(duration_ms)"
    )
    summed = driver.execute(f"SELECT {columns} FROM attempt_totals GROUP BY 1, 2 ORDER BY 1, 2").fetchall()
    columns = "CAST(date(started_at) AS TEXT), provider, COUNT(*), COUNT(cost_usd), SUM(cost_usd), SUM(duration_ms)"
    counted = driver.execute(f"SELECT {columns} FROM attempts GROUP BY 1, 2 ORDER BY 1, 2").fetchall()
    driver.close()
    assert [row[:4] for row in summed] == [row[:4] for row in counted]
    assert [[float(sums) for sums in row[4:]] for row in summed] == [
        pytest.approx([float(sums) for sums in row[4:]]) for row in counted
    ]
    assert len(summed) == 3
