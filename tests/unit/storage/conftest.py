"""Tests of what lasts run on both databases: whoever asks for `database` or `database_url` runs twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from polyroute.storage.database import Database, open_database
from support.postgres_server import PostgresServer
from support.prepared_state import prepare


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database: a file that is not there yet, or a database whose schema is at head."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create()


@pytest.fixture
def database(database_url: str, tmp_path: Path) -> Iterator[Database]:
    """An empty ledger."""
    if database_url.startswith("sqlite:"):
        prepare(tmp_path / "ledger.db")
    database = open_database(database_url)
    yield database
    database.close()


@pytest.fixture
def either(database: Database) -> Database:
    """The same, by the name that tests of budgets know it."""
    return database
