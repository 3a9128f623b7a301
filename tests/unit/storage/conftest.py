"""Both databases, for tests that hold on either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from polyroute.storage.database import Database, open_database


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A new database at head: one file, or one of a real server."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/polyroute.db"
    else:
        url = request.getfixturevalue("postgres").create()
    database = open_database(url)
    yield database
    database.close()
