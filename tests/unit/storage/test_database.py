"""Opening the database: made, migrated once, and refused with a way out when it is not ours to use."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from polyroute.storage import schema
from polyroute.storage.database import SCHEMA_HEAD, StorageError, display_url, known_database, open_database
from polyroute.storage.migrate import alembic_config
from polyroute.storage.rows import ATTEMPT_COLUMNS, KEY_COLUMNS, REQUEST_COLUMNS
from support.postgres_server import PostgresServer


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def spoil(url: str, statement: str) -> None:
    driver = known_database(url).connect()
    driver.execute(statement)
    driver.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/a.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.empty()


def test_the_known_head_is_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [SCHEMA_HEAD]


def test_the_migrations_make_the_schema_that_the_code_describes(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/a.db")
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    database.close()


def test_the_writers_columns_are_the_tables() -> None:
    assert {*REQUEST_COLUMNS} == {column.name for column in schema.requests.columns}
    assert {*ATTEMPT_COLUMNS} == {column.name for column in schema.attempts.columns}
    assert {*KEY_COLUMNS} == {column.name for column in schema.keys.columns}


def test_sqlite_is_set_for_concurrent_readers_and_a_patient_writer(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/a.db")
    driver = database.connect()
    found = {
        name: driver.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    }
    assert found == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 10_000}
    driver.close()


def test_a_start_at_head_imports_neither_sqlalchemy_nor_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    open_database(url).close()
    program = (
        "import sys; sys.path[:] = sys.argv[2].split('|')\n"
        "from polyroute.storage.database import open_database\n"
        "from polyroute.storage.ledger import JournaledLedger\n"
        "from polyroute.storage.keys import KeyDirectory\n"
        "from polyroute.storage.stats import LedgerStats\n"
        "database = open_database(sys.argv[1])\n"
        "JournaledLedger(database).close(); KeyDirectory(database, b'x' * 32); LedgerStats(database).provider_stats()\n"
        "print([name for name in ('sqlalchemy', 'alembic', 'genai_prices') if name in sys.modules])\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, url, "|".join(sys.path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.stdout == "[]\n", answer.stderr


def test_workers_that_start_together_migrate_once(empty_url: str) -> None:
    errors: list[StorageError] = []
    barrier = threading.Barrier(4)

    def start() -> None:
        barrier.wait()
        try:
            open_database(empty_url).close()
        except StorageError as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_newer_schema_is_refused(database_url: str) -> None:
    open_database(database_url).close()
    spoil(database_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageError, match=r"9999.*newer.*upgrade Polyroute"):
        open_database(database_url)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("ALTER TABLE requests DROP COLUMN drops", "drops.*restore a backup"),
        ("DROP TABLE attempts", "attempts.*restore a backup"),
        ("DELETE FROM alembic_version", "0 rows.*restore a backup"),
        ("INSERT INTO alembic_version VALUES ('0000')", "2 rows.*restore a backup"),
        ("DROP TABLE alembic_version", "tables of another program.*new file"),
    ],
)
def test_a_broken_schema_is_refused(database_url: str, damage: str, words: str) -> None:
    open_database(database_url).close()
    spoil(database_url, damage)
    with pytest.raises(StorageError, match=words):
        open_database(database_url)


def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"postgresql://u:\*\*\*@.*check that the server runs") as caught:
        open_database(f"postgresql://u:secret@localhost/d?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_text("dear diary, " * 100)
    with pytest.raises(StorageError, match="no SQLite file"):
        open_database(f"sqlite:///{path}")
    assert path.read_text().startswith("dear diary")


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "mysql://u:secret@h/d", "polyroute.db", "sqlite:///a.db?mode=ro", ""]
)
def test_other_addresses_are_refused_without_their_password(url: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_database(url)
    assert "sqlite:///polyroute.db" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_password_is_not_shown() -> None:
    assert display_url("postgresql://u:secret@host:5432/d") == "postgresql://u:***@host:5432/d"


def test_an_old_schema_is_copied_before_it_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    open_database(url).close()
    change(tmp_path / "a.db", "CREATE TABLE note (text TEXT)")
    monkeypatch.setattr("polyroute.storage.database.SCHEMA_HEAD", "9999")
    monkeypatch.setattr("polyroute.storage.migrate.SCHEMA_HEAD", "9999")
    with pytest.raises(StorageError) as caught:
        open_database(url)
    found = re.search(r"to go back: cp (\S+) ", str(caught.value))
    assert found is not None
    with closing(sqlite3.connect(found[1])) as copy:
        assert copy.execute("SELECT name FROM sqlite_master WHERE name = 'note'").fetchall() == [("note",)]
