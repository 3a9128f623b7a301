"""Statistics of providers: attempts count, and only what tells of the provider."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from polyroute.ports import ProviderStats
from polyroute.storage.database import Database, open_database
from polyroute.storage.stats import LedgerStats, _query
from polyroute.storage.writer import RowWriter
from polyroute.types.errors import ErrorKind
from polyroute.types.records import RequestRecord
from support.ledger_records import attempt, settled


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(f"sqlite:///{tmp_path}/ledger.db")


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


def test_the_statistics_are_answered_from_the_index(database: Database) -> None:
    driver = database.connect()
    text, parameters = _query(driver, False)
    plan = " ".join(row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {text}", parameters).fetchall())
    driver.close()
    assert "USING COVERING INDEX ix_attempts_statistics" in plan
