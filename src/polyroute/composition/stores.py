"""What lies in the database and beside it: keys, prices, and what the workers of a machine tell each other."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from polyroute.catalog.prices import CatalogPrices
from polyroute.settings import Settings
from polyroute.storage.adopted import read_adopted
from polyroute.storage.database import Database, open_database
from polyroute.storage.exchange import StateFolder
from polyroute.storage.keys import load_pepper, pepper_path


def price_book(database: Database) -> CatalogPrices:
    """The price tables, condensed beside the database. The first use waits until they are read."""
    path = database.path
    kept = Path("polyroute.prices") if path is None else path.with_name(f"{path.name}.prices")
    return CatalogPrices(kept, adopted=partial(read_adopted, database))


def state_folder(settings: Settings, database: Database) -> StateFolder:
    """Where workers tell each other what they know: beside an SQLite database, else in the working directory."""
    beside = (
        Path("polyroute.state") if database.path is None else database.path.with_name(f"{database.path.stem}.state")
    )
    return StateFolder(settings.storage.state or beside)


def key_storage(settings: Settings) -> tuple[Database, bytes]:
    """Where keys are kept, and the secret that they are hashed under. Raises StorageError."""
    database = open_database(settings.storage.database)
    return database, read_pepper(settings, database)


def read_pepper(settings: Settings, database: Database) -> bytes:
    """The secret under which keys are hashed and links are signed: the configured one, else the one of this database."""
    configured = settings.auth.pepper
    return load_pepper(None if configured is None else configured.get_secret_value(), pepper_path(database))
