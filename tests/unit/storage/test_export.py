"""Rows on their way out: all of them, exact, in bounded pages, and a file that is whole or not there."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from polyroute.storage import export as exporting
from polyroute.storage.database import Database
from polyroute.storage.export import ExportError, columns_of, pages, stream, write_parquet
from polyroute.storage.writer import RowWriter
from support.command_line import run_here
from support.ledger_records import attempt, settled
from support.prepared_state import new_database

T = 1_790_000_000.0


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = new_database(tmp_path / "polyroute.db")
    writer = RowWriter(database, Path())
    writer.write(
        [
            settled(
                f"r{number:03}",
                created_at=T + number // 4,  # several at one moment
                cost_usd=None if number % 3 == 0 else Decimal("0.0000000001") * (number + 1),
                tags={"quote": 'a "b", c'},
                attempts=[attempt(1, "openai", outcome="failed", error_message="line\nbreak"), attempt(2)],
            )
            for number in range(25)
        ]
    )
    writer.close()
    return database


def text(database: Database, table: Any, form: Any, since: float = T, until: float = T + 100) -> str:
    return b"".join(stream(database, table, form, since, until)).decode()


@pytest.mark.parametrize("page", [1, 3, 4, 1000])
def test_every_row_of_the_time_comes_once_and_in_order(
    database: Database, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_PAGE", page)
    found = [row[0] for rows in pages(database, "requests", T, T + 100) for row in rows]
    assert found == [f"r{number:03}" for number in range(25)]
    tried = [row[:2] for rows in pages(database, "attempts", T, T + 100) for row in rows]
    assert tried == [(f"r{number:03}", at) for number in range(25) for at in (1, 2)]
    assert [row[0] for rows in pages(database, "requests", T + 1, T + 2) for row in rows] == [
        "r004",
        "r005",
        "r006",
        "r007",
    ]


def test_no_page_is_longer_than_it_may_be(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_PAGE", 4)
    assert max(len(rows) for rows in pages(database, "requests", T, T + 100)) == 4


def test_csv_is_read_back_as_it_was(database: Database) -> None:
    rows = list(csv.DictReader(io.StringIO(text(database, "requests", "csv"), newline="")))
    assert list(rows[0]) == [column.name for column in columns_of("requests")]
    assert rows[1]["cost_usd"] == "0.0000000002"
    assert rows[0]["cost_usd"] == ""
    assert json.loads(rows[1]["tags"]) == {"quote": 'a "b", c'}
    assert rows[0]["created_at"] == "2026-09-21T14:13:20.000000Z"
    assert rows[0]["stream"] == "false"
    tried = list(csv.DictReader(io.StringIO(text(database, "attempts", "csv"), newline="")))
    assert tried[0]["error_message"] == "line\nbreak"


def test_json_lines_are_read_back_as_they_were(database: Database) -> None:
    rows = [json.loads(line) for line in text(database, "requests", "jsonl").splitlines()]
    assert len(rows) == 25
    assert rows[1]["cost_usd"] == "0.0000000002"
    assert rows[0]["cost_usd"] is None
    assert rows[1]["tags"] == {"quote": 'a "b", c'}


def test_nothing_is_still_a_file_with_names(database: Database) -> None:
    assert text(database, "attempts", "csv", 0, 1).startswith("request_id,number,provider")
    assert text(database, "attempts", "jsonl", 0, 1) == ""


def test_parquet_has_exact_types(database: Database, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert write_parquet(database, "requests", T, T + 100, tmp_path / "r.parquet") == 25
    table = parquet.read_table(tmp_path / "r.parquet")
    assert str(table.schema.field("cost_usd").type) == "decimal128(20, 10)"
    rows = table.to_pylist()
    assert rows[1]["cost_usd"] == Decimal("0.0000000002")
    assert rows[0]["cost_usd"] is None
    assert rows[0]["created_at"] == datetime.fromtimestamp(T, UTC)
    assert json.loads(rows[0]["tags"]) == {"quote": 'a "b", c'}
    assert rows[0]["input_tokens"] == 12


def test_parquet_without_its_library_names_the_extra(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"polyroute\[export\]"):
        write_parquet(database, "requests", T, T + 100, tmp_path / "r.parquet")
    done = run_here("export", "requests", "--format", "parquet", "-o", "out.parquet", folder=tmp_path)
    assert done.returncode == 2
    assert "polyroute[export]" in done.stderr
    assert not [path for path in tmp_path.iterdir() if "parquet" in path.name]


def test_the_command_writes_a_whole_file(database: Database, tmp_path: Path) -> None:
    done = run_here(
        "export", "requests", "--since", "2026-09-21", "--until", "2026-09-22", "-o", "out.csv", folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert len(list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text())))) == 26


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["users", "-o", "x"], "requests and attempts"),
        (["requests", "-o", "x", "--format", "xml"], "csv, jsonl, parquet"),
        (["requests", "-o", "x", "--since", "soon"], "7d"),
        (["requests", "-o", "x", "--since", "2026-09-22", "--until", "2026-09-21"], "nothing lies between"),
        (["requests", "-o", "nowhere/x"], "nowhere/x cannot be written"),
        (["requests", "-o", "-", "--format", "parquet"], "--output FILE"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_the_fix(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = run_here("export", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "x").exists()


def test_prune_by_command(database: Database, tmp_path: Path) -> None:
    told = run_here("db", "prune", "--older-than", "1d", "--dry-run", folder=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "would delete: 25 requests with 50 attempts" in told.stdout
    done = run_here("db", "prune", "--older-than", "1d", folder=tmp_path)
    assert "deleted: 25 requests with 50 attempts" in done.stdout
    assert text(database, "requests", "jsonl") == ""
    assert "90d" in run_here("db", "prune", "--older-than", "ages", folder=tmp_path).stderr


def test_rollups_by_command(database: Database, tmp_path: Path) -> None:
    assert "Every request is counted" in run_here("db", "rollups", folder=tmp_path).stdout
    assert "25 requests were counted" in run_here("db", "rollups", "--rebuild", folder=tmp_path).stdout
