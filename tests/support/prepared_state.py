"""What an earlier start would have left in a folder: an empty database at head, and the condensed price tables.

Making them takes a second of a processor, copying them none. Tests of first starts do without.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from polyroute.catalog.prices import CatalogPrices
from polyroute.storage.database import Database, open_database


@cache
def _made() -> Path:
    """The folder that copies are taken from; of this process, and removed with it."""
    folder = Path(tempfile.mkdtemp(prefix="polyroute-prepared-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    open_database(f"sqlite:///{folder}/db").close()
    CatalogPrices(folder / "prices").load()
    return folder


def prepare(database: Path) -> None:
    """Put an empty database there, and the price tables beside it, unless there is one."""
    if not database.exists():
        shutil.copyfile(_made() / "db", database)
        prepare_prices(database.with_name(f"{database.name}.prices"))


def prepare_prices(file: Path) -> None:
    """Put the price tables there."""
    shutil.copyfile(_made() / "prices", file)


def new_database(path: Path) -> Database:
    """An empty database at head in that file."""
    shutil.copyfile(_made() / "db", path)
    return open_database(f"sqlite:///{path}")
