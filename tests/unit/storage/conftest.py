"""Both databases, for tests that hold on either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from polyroute.storage.database import Database, open_database


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A new database at head: one file, or one of a real server."""
    file = request.param == "sqlite"
    database = open_database(
        f"sqlite:///{tmp_path}/polyroute.db" if file else request.getfixturevalue("postgres").create()
    )
    yield database
    database.close()
