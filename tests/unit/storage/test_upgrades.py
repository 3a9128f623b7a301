"""Upgrades from every earlier schema, with rows in it, on both databases: nothing is lost, and the ledger works on."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command, op
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from polyroute.storage import schema
from polyroute.storage.database import SCHEMA_HEAD, Database, StorageError, known_database, open_database
from polyroute.storage.engine import writing
from polyroute.storage.keys import list_keys
from polyroute.storage.migrate import alembic_config
from polyroute.storage.stats import LedgerStats
from polyroute.storage.writer import RowWriter
from support.ledger_records import settled
from support.postgres_server import PostgresServer

_SCRIPTS = ScriptDirectory.from_config(alembic_config())
REVISIONS = [script.revision for script in reversed(list(_SCRIPTS.walk_revisions()))]

MADE = "art_" + "0f" * 20
FIRST_ROWS = (
    "INSERT INTO ai_models (id, name, provider, operation, token_cost) VALUES ('chat:text', 'text', 'aimlapi', 'chat', 1.5)",
    """INSERT INTO requests (id, created_at, operation, status, requested_model, dialect, stream, model_id, actual_provider,
    usage_estimated, cost_usd, latency_ms, http_status, simulated) VALUES ('req_old', '2026-01-02 03:04:05.000006', 'chat',
    'COMPLETED', 'text', 'openai_chat', false, 'chat:text', 'aimlapi', false, 0.0123, 5.0, 200, false)""",
    """INSERT INTO attempts (request_id, number, provider, model, operation, simulated, started_at, duration_ms, outcome)
    VALUES ('req_old', 1, 'aimlapi', 'gpt-4o', 'chat', false, '2026-01-02 03:04:05.000006', 4.0, 'served')""",
    "INSERT INTO attempt_totals VALUES ('2026-01-02', 'chat', 'aimlapi', 'served', '', false, 1, 1, 0.0123, 4.0)",
    """INSERT INTO keys (id, name, digest, prefix, created_at, operator)
    VALUES ('key_old', 'app', {digest}, 'pr-abc', '2026-01-02 03:04:05.000006', false)""",
)
ROWS_SINCE = {
    "0002": "INSERT INTO responses VALUES ('resp_old', 'key_old', '2099-01-02 03:04:05.000006', '{{}}', '[]')",
    "0003": "INSERT INTO decisions VALUES ('0011', '[\"why\"]')",
    "0004": "UPDATE keys SET requests_per_minute = 60",
    "0005": f"""INSERT INTO artifacts (id, sha256, blob, media_type, size, created_at, simulated, origin)
    VALUES ('{MADE}', 'aa', 'aa.1', 'image/png', 3, '2026-01-02 03:04:05.000006', false, 'job')""",
    "0009": f"""INSERT INTO jobs (id, key_id, task, model, surface, state, attempts, created_at, deadline, request, options,
    details, result, epoch, cancel_requested, abandoned, nudged) VALUES ('job_old', 'key_old', 'text_to_image', 'image',
    'jobs', 'succeeded', 1, '2026-01-02 03:04:05.000006', '2026-01-02 03:04:05.000006', '{{{{}}}}', '{{{{}}}}', '{{{{}}}}',
    '{{{{"artifacts": [{{{{"id": "{MADE}"}}}}, {{{{"id": "art_gone"}}}}]}}}}', 1, false, false, false)""",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with nothing in it."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/a.db"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.empty()
    database = known_database(url)
    yield database
    database.close()


def make_old(database: Database, revision: str) -> None:
    """A ledger as `revision` left it, with a row in each of its tables."""
    digest = "x'00ff'" if database.kind == "sqlite" else "'\\x00ff'"
    with writing(database.engine).begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in (*FIRST_ROWS, *(text for since, text in ROWS_SINCE.items() if since <= revision)):
            connection.exec_driver_sql(statement.format(digest=digest))
    database.engine.dispose()


def rows(database: Database, statement: str) -> list[Any]:
    with database.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(statement))]


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_ledger_of_each_earlier_schema_is_upgraded_with_all_its_rows(
    empty: Database, revision: str, tmp_path: Path
) -> None:
    make_old(empty, revision)
    database = open_database(empty.url)
    assert rows(database, "SELECT version_num FROM alembic_version") == [(SCHEMA_HEAD,)]
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    assert rows(database, "SELECT id, actual_provider FROM requests") == [("req_old", "aimlapi")]
    assert [(key.id, key.digest) for key in list_keys(database)] == [("key_old", b"\x00\xff")]
    if revision >= "0002":
        assert rows(database, "SELECT id, response FROM responses") == [("resp_old", "{}")]
    if revision >= "0003":
        assert rows(database, "SELECT decision FROM decisions") == [('["why"]',)]
    if "0009" <= revision < "0011":
        assert rows(database, "SELECT artifact_id, key_id FROM artifact_owners") == [(MADE, "key_old")]
    writer = RowWriter(database, tmp_path)
    assert writer.write([settled("req_old"), settled("req_new")]) == 1
    writer.close()
    [seen] = LedgerStats(database).provider_stats()
    assert (seen.requests, seen.successes) == (2, 2)
    assert float(seen.total_cost or 0) == pytest.approx(0.0123 + 0.0000198)
    database.close()


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_migration_that_fails_stops_the_start_and_names_the_way_back(
    empty: Database, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(empty, revision)
    head = _SCRIPTS.get_revision(SCHEMA_HEAD)
    assert head is not None
    source = Path(head.path).read_text(encoding="utf-8")

    def fail(*_arguments: object, **_options: object) -> None:
        raise sa.exc.OperationalError("ALTER TABLE", {}, Exception("the disk is on fire"))

    used = {name for name in ("add_column", "create_table", "create_index", "execute") if f"op.{name}(" in source}
    for name in used:
        monkeypatch.setattr(op, name, fail)
    with pytest.raises(StorageError, match=f"from {revision} to {SCHEMA_HEAD} failed.*on fire") as caught:
        open_database(empty.url)
    monkeypatch.undo()
    assert rows(empty, "SELECT version_num FROM alembic_version") == [(revision,)]
    if empty.path is None:
        assert "Nothing was changed" in str(caught.value)
        assert "pg_dump" in str(caught.value)
    else:
        found = re.search(r"to go back: cp (\S+) (\S+)", str(caught.value))
        assert found is not None
        with closing(sqlite3.connect(found[1])) as copy:
            assert copy.execute("SELECT id FROM requests").fetchall() == [("req_old",)]
    assert rows(empty, "SELECT id FROM requests") == [("req_old",)]
    open_database(empty.url).close()  # and the next start, when the cause is gone, makes it good


def test_a_backup_that_cannot_be_made_stops_the_migration(tmp_path: Path) -> None:
    database = known_database(f"sqlite:///{tmp_path}/a.db")
    make_old(database, REVISIONS[0])
    (tmp_path / f"a.db.before-{SCHEMA_HEAD}-was-{REVISIONS[0]}").mkdir()
    with pytest.raises(StorageError, match=r"backup .* cannot be made.*Nothing was changed"):
        open_database(database.url)
    assert rows(database, "SELECT version_num FROM alembic_version") == [(REVISIONS[0],)]
    database.close()
