"""Decisions in the database: shared ones once, others with their request."""

from __future__ import annotations

from pathlib import Path

from polyroute.storage.database import Database
from polyroute.storage.decisions import LedgerDecisions
from polyroute.storage.ledger import JournaledLedger
from support.ledger_records import settled
from support.prepared_state import new_database


def test_a_shared_decision_is_stored_once_and_found_for_every_request_that_names_it(
    database: Database, tmp_path: Path
) -> None:
    ledger = JournaledLedger(database, tmp_path / "journal")
    ledger.record(settled("req_1", decision="0011", shared_decision='["shared"]'))
    ledger.record(settled("req_2", decision="0011"))
    ledger.record(settled("req_3", decision='["own"]'))
    ledger.record(settled("req_4"))
    ledger.record(settled("req_5", decision="0011", shared_decision='["shared"]'))  # another process tells it too
    ledger.record(settled("req_6", decision="lost"))
    ledger.close()
    reader = LedgerDecisions(database)
    found = [reader.decision(f"req_{number}") for number in range(1, 7)]
    assert [one.decision if one else "none" for one in found] == [
        b'["shared"]', b'["shared"]', b'["own"]', None, b'["shared"]', None,
    ]  # fmt: skip
    assert reader.decision("req_7") is None
    driver = database.connect()
    assert driver.execute("SELECT COUNT(*) FROM decisions").fetchone()[0] == 1
    driver.close()
    first = found[0]
    assert first is not None
    assert first.attempts[0].target == "aimlapi/gpt-4o-mini"
    assert first.created_at.startswith("2026-")


def test_decisions_outlive_a_crash_with_the_journal(tmp_path: Path) -> None:
    database = new_database(tmp_path / "a.db")
    died = JournaledLedger(database, tmp_path / "journal", window=3600.0)
    died.record(settled("req_1", decision="0011", shared_decision='["shared"]'))
    died.record(settled("req_2", decision="0011"))
    copies = {path.name: path.read_bytes() for path in (tmp_path / "journal").glob("*")}
    (tmp_path / "left").mkdir()
    for name, content in copies.items():
        (tmp_path / "left" / name).write_bytes(content)
    other = new_database(tmp_path / "b.db")
    JournaledLedger(other, tmp_path / "left").close()
    stored = LedgerDecisions(other).decision("req_2")
    assert stored is not None
    assert stored.decision == b'["shared"]'
    died.close()
    database.close()
    other.close()
