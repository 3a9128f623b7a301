"""The ledger: every record arrives in the database once, also when the database or the disk is away for a while."""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
import sqlalchemy as sa

from polyroute.storage import schema
from polyroute.storage.database import Database
from polyroute.storage.journal import SEGMENT_BYTES, Journal
from polyroute.storage.ledger import JournaledLedger, JournalTerms
from polyroute.storage.ledger_writer import LedgerWriter
from polyroute.storage.models import ModelRow, sync_models
from polyroute.storage.writer import RowWriter
from support.eventually import eventually
from support.ledger_records import attempt, settled
from support.prepared_state import new_database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ledger.journal"


@pytest.fixture
def ledger(database: Database, folder: Path) -> Iterator[JournaledLedger]:
    ledger = JournaledLedger(database, folder, window=0.0)
    yield ledger
    ledger.close()


def rows(database: Database, statement: str | sa.Select[Any]) -> list[Any]:
    with database.engine.connect() as connection:
        return list(connection.execute(sa.text(statement) if isinstance(statement, str) else statement))


def test_a_record_arrives_with_every_field(database: Database, ledger: JournaledLedger) -> None:
    record = settled(
        tags={"team": "red"},
        drops=[("piapi/x", "no credential")],
        dropped_parameters=["logit_bias"],
        seconds=1.5,
        stream=True,
        ttft_ms=30.25,
        cost_origin="priced",
        attempts=[
            attempt(1, "openai", outcome="failed", error_kind="unavailable", http_status=503, error_detail="down"),
            attempt(2),
        ],
    )
    ledger.record(record)
    assert ledger.flush()
    (row,) = rows(database, sa.select(schema.requests))
    assert row.created_at.timestamp() == record.created_at
    assert row.cost_usd == Decimal("0.0000198")
    assert (row.tags, row.drops, row.dropped_parameters) == (
        {"team": "red"},
        [["piapi/x", "no credential"]],
        ["logit_bias"],
    )
    assert (row.stream, row.seconds, row.ttft_ms, row.cache_read_tokens) == (True, 1.5, 30.25, None)
    first, second = rows(database, sa.select(schema.attempts).order_by(schema.attempts.c.number))
    assert (first.provider, first.outcome, first.http_status, first.cost_usd) == ("openai", "failed", 503, None)
    assert (second.provider, second.outcome, second.operation, second.cost_usd) == (
        "aimlapi",
        "served",
        "chat",
        Decimal("0.0000198"),
    )


def test_empty_collections_and_unknown_money_are_null_in_sql(database: Database, ledger: JournaledLedger) -> None:
    ledger.record(settled(cost_usd=None))
    ledger.flush()
    assert rows(
        database,
        "SELECT COUNT(*) FROM requests WHERE cost_usd IS NULL AND tags IS NULL AND drops IS NULL",
    ) == [(1,)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_moments_and_money_read_well_in_the_shell(database: Database, ledger: JournaledLedger) -> None:
    ledger.record(settled("a", cost_usd=Decimal("1E-7")))
    ledger.record(settled("b", cost_usd=Decimal("0.25")))
    ledger.flush()
    assert database.path is not None
    with sqlite3.connect(database.path) as shell:
        assert shell.execute("SELECT created_at FROM requests LIMIT 1").fetchone() == ("2026-09-21 14:13:20.123456",)
        assert shell.execute("SELECT SUM(cost_usd) FROM requests").fetchone() == (0.2500001,)
        assert shell.execute("SELECT date(created_at) FROM requests LIMIT 1").fetchone() == ("2026-09-21",)
    shell.close()


def operators_queries() -> list[str]:
    """The first three queries of the documentation, as they stand there."""
    text = (Path(__file__).resolve().parents[3] / "docs" / "operations.md").read_text()
    section = text[text.index("## Dashboards") :]
    block = section[section.index("```sql\n") + 7 : section.index("```\n\n", section.index("```sql\n"))]
    return [part.strip() for part in block.split(";") if part.strip()][:3]


def test_the_operators_queries_run_as_they_are_documented(database: Database, ledger: JournaledLedger) -> None:
    sync_models(
        database,
        [ModelRow(id="chat:text", name="text", provider="aimlapi", operation="chat", token_cost=Decimal("2.5"))],
    )
    ledger.record(settled("a"))
    ledger.record(settled("b", actual_provider="openai"))
    ledger.record(settled("c", status="FAILED", actual_provider="openai"))
    ledger.flush()
    by_provider, by_choice, by_label = operators_queries()
    assert [(*row[:3], float(row[3])) for row in rows(database, by_provider)] == [
        ("openai", 2, 1, 50.0),
        ("aimlapi", 1, 1, 100.0),
    ]
    assert rows(database, by_choice) == [("aimlapi", "openai", 2), ("aimlapi", "aimlapi", 1)]
    assert sorted((*row[:4], float(row[4])) for row in rows(database, by_label)) == [
        ("text", "aimlapi", "aimlapi", 1, 2.5),
        ("text", "aimlapi", "openai", 2, 2.5),
    ]


ISSUED = [
    """SELECT actual_provider, COUNT(*) AS total_requests, SUM(CASE WHEN status = 'COMPLETED' THEN 1 ELSE 0 END) AS successful,
       ROUND(100.0 * SUM(CASE WHEN status = 'COMPLETED' THEN 1 ELSE 0 END) / COUNT(*), 2) AS success_rate_pct
FROM requests WHERE actual_provider IS NOT NULL GROUP BY actual_provider ORDER BY total_requests DESC""",
    """SELECT m.provider AS user_selected_provider, r.actual_provider, COUNT(*) AS times_used
FROM requests r JOIN ai_models m ON r.model_id = m.id WHERE r.actual_provider IS NOT NULL
GROUP BY m.provider, r.actual_provider ORDER BY times_used DESC""",
    """SELECT m.name AS user_model, m.provider AS expected_provider, r.actual_provider, COUNT(*) AS requests, {label}
FROM requests r JOIN ai_models m ON r.model_id = m.id WHERE r.actual_provider IS NOT NULL
GROUP BY m.name, m.provider, r.actual_provider, m.token_cost""".format(label="m.token_cost AS model_credit_cost"),
]
"""As they were promised to operators, letter by letter."""


def test_the_documented_queries_are_the_promised_ones() -> None:
    documented = [
        "\n".join(line for line in query.splitlines() if not line.startswith("--")) for query in operators_queries()
    ]
    assert documented == ISSUED


def test_a_label_that_no_catalog_announced_is_added_by_its_first_use(
    database: Database, ledger: JournaledLedger
) -> None:
    name = "openai/gpt-5"
    ledger.record(settled(model_id=f"chat:{name}", requested_model=name, attempts=[attempt(provider="openai")]))
    ledger.flush()
    assert rows(database, "SELECT id, name, provider, operation, token_cost FROM ai_models") == [
        ("chat:openai/gpt-5", "openai/gpt-5", "openai", "chat", None)
    ]
    sync_models(database, [ModelRow(id=f"chat:{name}", name=name, provider="openrouter", operation="chat")])
    assert rows(database, "SELECT provider FROM ai_models") == [("openrouter",)]


def test_many_records_arrive_exactly_once(database: Database, ledger: JournaledLedger) -> None:
    for number in range(1500):
        ledger.record(settled(f"req_{number}"))
    assert ledger.flush()
    assert ledger.unwritten == 0
    assert rows(database, "SELECT COUNT(*), COUNT(DISTINCT id) FROM requests") == [(1500, 1500)]
    assert rows(database, "SELECT COUNT(*) FROM attempts") == [(1500,)]
    assert rows(database, "SELECT SUM(attempts) FROM attempt_totals") == [(1500,)]


def test_a_record_that_comes_twice_is_written_and_counted_once(database: Database, folder: Path) -> None:
    writer = RowWriter(database, folder)
    assert writer.write([settled("a"), settled("b")]) == 2
    assert writer.write([settled("b"), settled("c"), settled("c")]) == 1
    writer.close()
    assert rows(database, "SELECT id FROM requests ORDER BY id") == [("a",), ("b",), ("c",)]
    assert rows(database, "SELECT SUM(attempts) FROM attempt_totals") == [(3,)]


def test_closing_writes_everything_and_leaves_no_journal(database: Database, folder: Path) -> None:
    ledger = JournaledLedger(database, folder, window=60.0)
    ledger.record(settled())
    ledger.close()
    assert rows(database, "SELECT COUNT(*) FROM requests") == [(1,)]
    assert list(folder.glob("*.journal")) == []


def test_what_a_dead_process_left_is_written_up(database: Database, folder: Path) -> None:
    dead = Journal(folder)
    dead.append(settled("req_dead"))
    dead.close()
    ledger = JournaledLedger(database, folder, window=0.0)
    eventually(lambda: rows(database, "SELECT id FROM requests") == [("req_dead",)])
    ledger.close()


def test_a_ledger_that_only_records_leaves_the_writing_to_the_holder_of_the_pen(
    database: Database, folder: Path
) -> None:
    recording = JournaledLedger(database, folder, writes=False)
    writer = LedgerWriter(database, folder)
    recording.record(settled("a"))
    assert not recording.flush(timeout=0.05)
    assert writer.run_pass()
    assert recording.flush(timeout=0.05)
    recording.record(settled("b"))
    closing = threading.Thread(target=recording.close)
    closing.start()
    while closing.is_alive():
        writer.run_pass()
    writer.close()
    assert rows(database, "SELECT id FROM requests ORDER BY id") == [("a",), ("b",)]


def test_a_ledger_whose_writer_is_gone_writes_up_its_own_at_the_end(database: Database, folder: Path) -> None:
    recording = JournaledLedger(database, folder, writes=False)
    recording.record(settled("a"))
    recording.close()
    assert rows(database, "SELECT id FROM requests") == [("a",)]


def test_there_is_one_writer_at_a_time(database: Database, folder: Path) -> None:
    first, second = LedgerWriter(database, folder), LedgerWriter(database, folder)
    assert first.take_pen()
    assert not second.take_pen()
    first.close()
    assert second.take_pen()
    second.close()


class Outage:
    """Makes the writer fail as a database that is away does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on = True
        real = RowWriter.write

        def write(writer: RowWriter, records: Any) -> int:
            if self.on:
                raise sqlite3.OperationalError("unable to open database file")
            return real(writer, records)

        monkeypatch.setattr(RowWriter, "write", write)


def test_an_outage_loses_nothing_and_is_logged_once(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    outage = Outage(monkeypatch)
    ledger = JournaledLedger(database, folder, window=60.0)
    for number in range(10):
        ledger.record(settled(f"req_{number}", created_at=time.time() - 5))
        assert not ledger.flush(timeout=0.02)
    eventually(lambda: not ledger.flush(timeout=0.01) and ledger.health().rows == 10)
    seen = ledger.health()
    assert (seen.writer, seen.database, seen.error, seen.full) == (True, False, "unable to open database file", False)
    assert seen.bytes is not None
    assert 1000 < seen.bytes < seen.journal_bytes
    assert seen.oldest_seconds is not None
    assert 4 < seen.oldest_seconds < 60
    outage.on = False
    assert ledger.flush()
    eventually(lambda: not ledger.flush() or ledger.health().database)
    assert ledger.health().rows == 0
    assert rows(database, "SELECT COUNT(*) FROM requests") == [(10,)]
    ledger.close()
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "the database does not take requests",
        "the database takes requests again; the journal is written up",
    ]


def test_an_outage_that_outlives_the_process_is_made_good_by_the_next(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage(monkeypatch)
    ledger = JournaledLedger(database, folder, window=60.0)
    ledger.record(settled())
    ledger.close(timeout=0.05)
    outage.on = False
    JournaledLedger(database, folder).close()
    assert rows(database, "SELECT COUNT(*) FROM requests") == [(1,)]


@pytest.mark.parametrize("choice", ["refuse", "continue"])
def test_a_journal_that_is_full_refuses_calls_or_goes_on_unmetered_until_it_is_written_up(
    tmp_path: Path,
    folder: Path,
    choice: Literal["refuse", "continue"],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = Outage(monkeypatch)
    database = new_database(tmp_path / "ledger.db")
    terms = JournalTerms(limit=3 * SEGMENT_BYTES, when_full=choice)
    ledger = JournaledLedger(database, folder, window=0.01, terms=terms)
    told: list[str | None] = []
    unmetered: list[int] = []
    ledger.on_full, ledger.on_unmetered = told.append, lambda: unmetered.append(1)
    written = 0
    while not ledger.health().full:
        ledger.record(settled(f"req_{written}", input_text="x" * 20_000))
        written += 1
    assert ledger.health().journal_bytes > terms.limit
    if choice == "refuse":
        eventually(lambda: told)
        assert "full" in str(told[0])
        ledger.record(settled(f"req_{written}"))  # it was under way when the journal became full: it is written down
        written += 1
    else:
        ledger.record(settled("req_unmetered"))
        assert unmetered == [1]
        assert "UNMETERED" in caplog.text
    outage.on = False
    assert ledger.flush()
    eventually(lambda: not ledger.health().full)
    ledger.record(settled("req_after"))
    ledger.close()
    assert told[1:] == ([None] if choice == "refuse" else [])
    assert rows(database, "SELECT COUNT(*) FROM requests") == [(written + 1,)]
    database.close()


def test_a_full_disk_under_the_journal_does_not_lose_what_the_database_takes(
    database: Database, ledger: JournaledLedger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_journal: Journal, _record: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", full)
        ledger.record(settled("a"))
        ledger.record(settled("b"))
        assert ledger.flush()
    ledger.record(settled("c"))
    assert ledger.flush()
    assert rows(database, "SELECT id FROM requests ORDER BY id") == [("a",), ("b",), ("c",)]
    assert caplog.text.count("cannot be written") == 1
    assert "can be written again" in caplog.text


def test_a_record_that_the_database_refuses_holds_up_no_other(
    database: Database, ledger: JournaledLedger, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.record(settled("good"))
    ledger.record(settled("odd", input_tokens=2**63 + 1, latency_ms=float("nan")))
    ledger.record(settled("bad", created_at=1e20))
    ledger.record(settled("last"))
    assert ledger.flush()
    assert rows(database, "SELECT id, input_tokens, latency_ms FROM requests ORDER BY id") == [
        ("good", 12, 130.5),
        ("last", 12, 130.5),
        ("odd", None, 0.0),
    ]
    assert "bad" in caplog.text
    assert (folder / "rejected.corrupt").stat().st_size > 100


def test_damage_to_the_journal_in_use_costs_one_record_and_is_reported(
    database: Database, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = JournaledLedger(database, folder, window=60.0)
    for number in range(3):
        ledger.record(settled(f"req_{number}"))
    (path,) = folder.glob("*.journal")
    data = bytearray(path.read_bytes())
    data[data.index(b"req_1")] ^= 1
    path.write_bytes(data)
    assert ledger.flush()
    ledger.record(settled("req_3"))
    ledger.close()
    assert rows(database, "SELECT id FROM requests ORDER BY id") == [("req_0",), ("req_2",), ("req_3",)]
    assert "damaged" in caplog.text
    assert {kept.suffix for kept in folder.iterdir()} == {".corrupt", ".lock"}
