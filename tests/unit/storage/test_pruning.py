"""Deleting what is out of date: no more than that, in small batches, and what it added up to stays."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from polyroute.storage.database import Database
from polyroute.storage.pruning import Pruned, Pruning, Retention
from polyroute.storage.recounting import Recounting
from polyroute.storage.rollups import DAY, HOUR, LEVELS, MINUTE, QUARTER
from polyroute.storage.stats import LedgerStats
from polyroute.storage.upkeep import Upkeep, alone
from polyroute.storage.writer import RowWriter
from support.ledger_records import attempt, settled
from support.prepared_state import new_database

NOW = 1_790_000_000.0
NOTHING = Retention(minutes=None, quarters=None, hours=None)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Requests of each of the last ten days, each with content, a decision and two attempts."""
    database = new_database(tmp_path / "ledger.db")
    writer = RowWriter(database, Path())
    writer.write(
        [
            settled(
                f"r{days}", created_at=NOW - days * DAY - 60, input_text="in", output_text="out", decision="[]",
                attempts=[attempt(1, outcome="failed"), attempt(2)],
            )
            for days in range(10)
        ]
    )  # fmt: skip
    writer.close()
    return database


def ask(database: Database, statement: str) -> list[Any]:
    driver = database.connect()
    try:
        cursor = driver.execute(statement)
        return [] if statement.startswith("DELETE") else [row[0] if len(row) == 1 else row for row in cursor.fetchall()]
    finally:
        driver.close()


def prune(database: Database, retention: Retention, **options: Any) -> Pruned:
    return Pruning(database, NOW, pause=lambda _: None, **options).run(retention)


def levels(database: Database) -> dict[int, int]:
    counted = dict.fromkeys(LEVELS, 0)
    counted.update(dict(ask(database, "SELECT level, SUM(requests) FROM rollups GROUP BY level")))
    return counted


def test_old_requests_go_with_their_attempts_and_their_sums_stay(database: Database) -> None:
    before, stats = levels(database), LedgerStats(database).provider_stats()
    retention = Retention(rows=5, minutes=None, quarters=None, hours=None)
    expected = Pruned(requests=5, attempts=10)
    assert Pruning(database, NOW).preview(retention) == expected
    assert len(ask(database, "SELECT id FROM requests")) == 10
    assert prune(database, retention) == expected
    assert sorted(ask(database, "SELECT id FROM requests")) == [f"r{days}" for days in range(5)]
    assert ask(database, "SELECT COUNT(*) FROM attempts") == [10]
    assert levels(database) == before
    assert LedgerStats(database).provider_stats() == stats
    assert prune(database, retention) == Pruned()


def test_sums_of_pruned_requests_survive_a_count_anew(database: Database) -> None:
    prune(database, Retention(rows=4.5, minutes=None, quarters=None, hours=None))
    Recounting(database).run()
    assert levels(database) == dict.fromkeys(LEVELS, 10)


def test_content_and_decisions_go_before_their_requests(database: Database) -> None:
    retention = Retention(content=3, decisions=6, minutes=None, quarters=None, hours=None)
    expected = Pruned(contents=7, decisions=4)
    assert Pruning(database, NOW).preview(retention) == expected
    assert prune(database, retention) == expected
    assert sorted(ask(database, "SELECT id FROM requests WHERE input_text IS NOT NULL")) == ["r0", "r1", "r2"]
    assert ask(database, "SELECT COUNT(*) FROM requests WHERE output_text IS NOT NULL") == [3]
    assert ask(database, "SELECT COUNT(*) FROM requests WHERE decision IS NOT NULL") == [6]
    assert prune(database, retention) == Pruned()


def test_fine_sums_go_and_those_by_day_stay(database: Database) -> None:
    pruned = prune(database, Retention(minutes=2, quarters=4, hours=6))
    kept = levels(database)
    assert (kept[MINUTE], kept[QUARTER], kept[HOUR], kept[DAY]) == (2, 4, 6, 10)
    assert pruned.rollups == 2 * (8 + 6 + 4)  # the failed attempts have a series of their own
    assert pruned.requests == 0


def test_it_goes_on_in_batches_and_stops_when_it_is_told_to(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyroute.storage.pruning._BATCH", 2)
    pauses: list[float] = []
    answers = iter([True, True, False])
    pruning = Pruning(database, NOW, keep_on=lambda: next(answers), pause=pauses.append)
    assert pruning.run(Retention(rows=1, minutes=None, quarters=None, hours=None)).requests == 4
    assert len(pauses) == 2
    assert max(ask(database, "SELECT id FROM requests")) == "r5"  # the oldest first
    assert prune(database, Retention(content=0.5, minutes=None, quarters=None, hours=None)).contents == 5


def test_a_writer_gets_its_turn_while_rows_are_deleted(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyroute.storage.pruning._BATCH", 2)
    writer = RowWriter(database, Path())
    written: list[int] = []

    def write(_seconds: float) -> None:
        written.append(writer.write([settled(f"new{len(written)}", created_at=NOW)]))

    Pruning(database, NOW, pause=write).run(Retention(rows=2, minutes=None, quarters=None, hours=None))
    writer.close()
    assert sum(written) == len(written) >= 4
    assert ask(database, "SELECT COUNT(*) FROM requests") == [2 + len(written)]


def test_upkeep_counts_what_was_never_counted_and_then_deletes(database: Database) -> None:
    ask(database, "DELETE FROM rollups")
    ask(database, "DELETE FROM ledger_marks")
    upkeep = Upkeep(database, Retention(rows=5), clock=lambda: NOW)
    done = upkeep.run_once()
    assert done is not None
    assert done.requests == 5
    assert levels(database)[DAY] == 10
    assert levels(database)[MINUTE] == 2


def test_one_process_at_a_time_looks_after_a_database(database: Database) -> None:
    with alone(database) as first, alone(database) as second:
        assert (first, second) == (True, False)
        assert Upkeep(database, NOTHING).run_once() is None
    with alone(database) as mine:
        assert mine


def test_a_database_that_is_away_does_not_end_the_upkeep(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep = Upkeep(database, NOTHING, every=0.01, first=0.0)
    rounds: list[int] = []

    def fail() -> None:
        rounds.append(1)
        if len(rounds) == 3:
            upkeep._stop.set()
        raise OSError("away")

    monkeypatch.setattr(upkeep, "run_once", fail)
    upkeep.start()
    assert upkeep._thread is not None
    upkeep._thread.join(10)
    assert len(rounds) == 3
    assert "away" in caplog.text
    upkeep.close()


def test_costs_stay_exact(database: Database) -> None:
    prune(database, Retention(rows=0.5))
    (units,) = ask(database, f"SELECT SUM(cost_e10) FROM rollups WHERE level = {DAY}")
    assert Decimal(units).scaleb(-10) == 10 * Decimal("0.0000198")
