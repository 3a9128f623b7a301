"""Bringing a schema to head with Alembic, once, however many workers start together."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from polyroute.storage.database import SCHEMA_HEAD, Database, StorageError
from polyroute.storage.engine import writing
from polyroute.storage.locks import exclusive
from polyroute.storage.schema import metadata

logger = logging.getLogger(__name__)

_ADVISORY_LOCK = 0x706F6C79  # any number that only we use


def alembic_config() -> Config:
    """Alembic's settings, without a file of its own."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def migrate(database: Database) -> None:
    """Create or upgrade the schema. Raises StorageError when the schema is newer than ours, not ours, or fails to upgrade."""
    with _alone(database):
        with database.engine.connect() as connection:
            before = _revision(connection)
        if before == SCHEMA_HEAD:  # another worker was first
            return
        backup = _back_up(database, before) if before is not None else None
        try:
            with writing(database.engine).begin() as connection:
                config = alembic_config()
                config.attributes["connection"] = connection
                command.upgrade(config, SCHEMA_HEAD)
        except Exception as error:
            raise StorageError(
                f"migrating the database from {before or 'nothing'} to {SCHEMA_HEAD} failed: "
                f"{str(error).splitlines()[0]}. {_way_back(database, backup)}"
            ) from error
    logger.info("database schema is at %s", SCHEMA_HEAD)


def _way_back(database: Database, backup: Path | None) -> str:
    """What to do after a migration that failed."""
    if database.path is None:
        return (
            "Nothing was changed: PostgreSQL migrates in one transaction, which was taken back. Go on with the version "
            "that ran before, or save the database with `pg_dump --format=custom --file=polyroute.dump` before you look "
            "into it (`pg_restore --clean --dbname=… polyroute.dump` goes back)"
        )
    if backup is None:
        return "The file was empty before: remove it to start anew"
    return f"The database as it was is in {backup}; to go back: cp {backup} {database.path}"


def _revision(connection: sa.Connection) -> str | None:
    """The revision of a schema that we may upgrade; None for an empty database."""
    tables = set(sa.inspect(connection).get_table_names())
    if "alembic_version" not in tables:
        strangers = tables & set(metadata.tables)
        if strangers:
            raise StorageError(
                f"the database has tables of another program ({', '.join(sorted(strangers))}) or a broken start: "
                "point storage.database at a new file or database"
            )
        return None
    found = [str(row[0]) for row in connection.exec_driver_sql("SELECT version_num FROM alembic_version")]
    if not found and not tables & set(metadata.tables):
        return None
    if len(found) != 1:
        raise StorageError(
            f"the database's schema version is broken (alembic_version holds {len(found)} rows, not 1): restore a backup"
        )
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if found[0] not in known:
        raise StorageError(
            f"the database's schema ({found[0]}) is newer than this program's ({SCHEMA_HEAD}): upgrade Polyroute, or "
            "restore the backup that the newer one made before it migrated"
        )
    return found[0]


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    if database.path is not None:
        with exclusive(database.path.with_name(database.path.name + ".lock")):
            yield
        return
    with database.engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_ADVISORY_LOCK})")
        try:
            yield
        finally:
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_ADVISORY_LOCK})")


def _back_up(database: Database, revision: str) -> Path | None:
    """Copy an SQLite database aside before it changes. PostgreSQL's migrations are one transaction and need no copy."""
    if database.path is None:
        return None
    target = database.path.with_name(f"{database.path.name}.before-{SCHEMA_HEAD}-was-{revision}")
    try:
        with closing(sqlite3.connect(database.path)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
    except sqlite3.Error as error:
        raise StorageError(
            f"the database {database.path} must be migrated from {revision} to {SCHEMA_HEAD}, but the backup {target} cannot "
            f"be made ({error}): make room on the disk, then start again. Nothing was changed"
        ) from error
    return target
